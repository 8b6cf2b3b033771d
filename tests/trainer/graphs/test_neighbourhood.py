"""Edges as they are given become a graph; a part of it answers as the whole does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.trainer.graphs.making import random_features, random_graph

from autoglm_trainer.graphs.graph import make_graph
from autoglm_trainer.graphs.neighbourhood import around, everything
from autoglm_trainer.graphs.network import GraphNetwork, inputs_of
from autoglm_trainer.graphs.settings import GraphSettings

POINTS = [
    {"method": "gcn", "layers": 3, "norm": "layer"},
    {"method": "gcn", "edge_direction": "forward", "self_weight": 0.0},
    {"method": "gat", "heads": 2},
    {"method": "sage", "edge_direction": "backward", "normalisation": "mean"},
    {"method": "sage", "aggregation": "max", "layers": 1},
    {"method": "appnp", "hops": 3},
    {"method": "mlp"},
]


def test_doubled_edges_count_once_with_the_largest_weight_and_loops_not_at_all() -> None:
    source, target = np.array([0, 1, 0, 2, 2]), np.array([1, 0, 1, 2, 1])
    weight = np.array([1.0, 2.0, 3.0, 9.0, 0.5])
    both = make_graph(4, source, target, weight, direction="both")
    assert list(zip(both.source.tolist(), both.target.tolist(), both.weight.tolist(), strict=True)) == [
        (1, 0, 3.0),
        (0, 1, 3.0),
        (2, 1, 0.5),
        (1, 2, 0.5),
    ]
    assert both.degree.tolist() == [3.0, 3.5, 0.5, 0.0]
    forward = make_graph(4, source, target, weight, direction="forward")
    assert forward.counts.tolist() == [1, 2, 0, 0]
    backward = make_graph(4, source, target, weight, direction="backward")
    assert backward.counts.tolist() == [1, 1, 1, 0]
    begun = both.begun(2)
    assert (begun.source.tolist(), begun.first.tolist()) == ([1, 0], [0, 1, 2])


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point.values())))
def test_a_nodes_neighbourhood_answers_as_the_whole_graph(point: dict[str, object]) -> None:
    settings = GraphSettings.of(point)  # type: ignore[arg-type]
    graph, features = random_graph(direction=settings.edge_direction), random_features()
    torch.manual_seed(2)
    network = GraphNetwork(features, 3, settings).eval()
    network.scaling.learn(features.numbers)
    device = torch.device("cpu")
    whole = network(*inputs_of(everything(graph), features, device))
    for asked in ([4], [29, 0, 7]):
        seen = around(graph, torch.tensor(asked), hops=network.hops)
        assert seen.nodes[: len(asked)].tolist() == asked
        assert torch.allclose(network(*inputs_of(seen, features, device))[: len(asked)], whole[asked], atol=1e-5)


def test_a_sample_has_so_many_edges_a_node_and_keeps_sums_in_the_mean() -> None:
    graph, asked = random_graph(edges=200), torch.arange(28)
    heard = torch.zeros(28)
    rounds = 400
    torch.manual_seed(3)
    for _ in range(rounds):
        seen = around(graph, asked, hops=1, sample=3)
        counts = torch.bincount(seen.edges.target, minlength=len(asked))
        assert torch.equal(counts, graph.counts[:28].clamp(max=3))
        heard += torch.zeros(28).index_add(0, seen.edges.target, seen.edges.weight) / rounds
    assert torch.allclose(heard, graph.degree[:28], rtol=0.1)


def test_features_without_words_and_words_without_features_are_both_enough() -> None:
    graph = random_graph()
    for features in (random_features(words=0), random_features(numbers=0)):
        network = GraphNetwork(features, 3, GraphSettings.of({"method": "gcn"})).eval()
        assert network(*inputs_of(everything(graph), features, torch.device("cpu"))).isfinite().all()

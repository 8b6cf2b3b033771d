"""The layers answer as PyTorch Geometric's do, and ours alone as their definitions say."""

from __future__ import annotations

import pytest
import torch
from tests.trainer.graphs.making import random_graph
from torch import Tensor
from torch_geometric.nn import APPNP, GATConv, GCNConv, SAGEConv

from autoglm_trainer.graphs.graph import Graph
from autoglm_trainer.graphs.layers import Attention, Convolution, Edges, Propagation, Sage

INPUTS, OUTPUTS = 5, 4


@pytest.fixture
def seen() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(30, INPUTS)


def edges_of(graph: Graph) -> Edges:
    return Edges(graph.source, graph.target, graph.weight, graph.degree)


def index_of(graph: Graph) -> Tensor:
    return torch.stack([graph.source, graph.target])


def same(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("direction", ["both", "forward"])
@pytest.mark.parametrize("self_weight", [1.0, 0.0])
def test_a_convolution_is_that_of_pytorch_geometric(seen: Tensor, direction: str, self_weight: float) -> None:
    graph = random_graph(direction=direction)
    ours = Convolution(INPUTS, OUTPUTS, Propagation(self_weight=self_weight, normalisation="symmetric"))
    theirs = GCNConv(INPUTS, OUTPUTS, add_self_loops=self_weight > 0)
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.linear.weight.T)
        theirs.bias.copy_(ours.bias.uniform_())
    assert same(ours(seen, edges_of(graph)), theirs(seen, index_of(graph), graph.weight))


def test_attention_is_that_of_pytorch_geometric(seen: Tensor) -> None:
    graph = random_graph(weighted=False)
    for joined in (True, False):
        ours = Attention(INPUTS, OUTPUTS, heads=3, joined=joined, attention_dropout=0.0)
        theirs = GATConv(INPUTS, OUTPUTS, heads=3, concat=joined)
        with torch.no_grad():
            theirs.lin.weight.copy_(ours.linear.weight.T)
            theirs.att_src.copy_(ours.source.unsqueeze(0))
            theirs.att_dst.copy_(ours.target.unsqueeze(0))
            theirs.bias.copy_(ours.bias.uniform_())
        assert same(ours(seen, edges_of(graph)), theirs(seen, index_of(graph)))


def test_an_edge_of_weight_two_gets_the_attention_of_two_edges(seen: Tensor) -> None:
    layer = Attention(INPUTS, OUTPUTS, heads=2, joined=True, attention_dropout=0.0)
    two, one = torch.tensor([2.0]), torch.tensor([1.0, 1.0])
    degree = torch.zeros(30)
    heavy = layer(seen, Edges(torch.tensor([3]), torch.tensor([4]), two, degree))
    doubled = layer(seen, Edges(torch.tensor([3, 3]), torch.tensor([4, 4]), one, degree))
    assert same(heavy, doubled)


def test_the_mean_of_sage_is_that_of_pytorch_geometric(seen: Tensor) -> None:
    graph = random_graph(weighted=False)
    ours, theirs = Sage(INPUTS, OUTPUTS, aggregation="mean"), SAGEConv(INPUTS, OUTPUTS)
    with torch.no_grad():
        theirs.lin_l.weight.copy_(ours.neighbours.weight.T)
        theirs.lin_r.weight.copy_(ours.own.weight.T)
        assert ours.own.bias is not None
        theirs.lin_l.bias.copy_(ours.own.bias.uniform_())
    assert same(ours(seen, edges_of(graph)), theirs(seen, index_of(graph)))


def test_the_maximum_of_sage_is_the_largest_of_what_neighbours_say(seen: Tensor) -> None:
    graph = random_graph(weighted=False)
    layer = Sage(INPUTS, OUTPUTS, aggregation="max")
    said, own = layer.neighbours(seen), layer.own(seen)
    found = layer(seen, edges_of(graph))
    for node in range(len(graph)):
        heard = said[graph.source[graph.target == node]]
        assert same(found[node], own[node] + (heard.max(0).values if len(heard) else 0.0))


def test_propagation_ten_times_with_teleport_is_appnp_of_pytorch_geometric(seen: Tensor) -> None:
    graph, walk = random_graph(), Propagation(self_weight=1.0, normalisation="symmetric")
    found = seen
    for _ in range(10):
        found = 0.9 * walk(found, edges_of(graph)) + 0.1 * seen
    assert same(found, APPNP(K=10, alpha=0.1)(seen, index_of(graph), graph.weight))


def test_the_mean_of_a_node_and_its_neighbours_sums_to_one(seen: Tensor) -> None:
    graph = random_graph()
    ones = torch.ones(30, 1)
    assert same(Propagation(self_weight=1.0, normalisation="mean")(ones, edges_of(graph)), ones)
    alone = Propagation(self_weight=0.0, normalisation="mean")(ones, edges_of(graph))
    assert same(alone.squeeze(1), (graph.counts > 0).float())

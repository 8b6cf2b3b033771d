"""The part of a graph that some nodes' answers depend on, whole or sampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .graph import Graph, ragged
from .layers import Edges


@dataclass(frozen=True)
class Neighbourhood:
    """Nodes, those that are asked about first, (nodes,), and the edges among them by places in `nodes`."""

    nodes: Tensor
    edges: Edges


def everything(graph: Graph) -> Neighbourhood:
    """The whole graph."""
    return Neighbourhood(torch.arange(len(graph)), Edges(graph.source, graph.target, graph.weight, graph.degree))


def around(graph: Graph, asked: Tensor, *, hops: int, sample: int | None = None) -> Neighbourhood:
    """All that reaches the asked nodes in `hops` steps.

    With `sample` at most so many edges of each node, chosen by torch's own generator (Hamilton et al. 2017); they weigh
    as much as all of the node's do, so that sums stay what they are in the mean.
    """
    place = torch.full((len(graph),), -1)
    place[asked] = torch.arange(len(asked))
    nodes, frontier = [asked], asked
    ends, weights = [], []
    for _ in range(hops):
        chosen, owner, factor = _incoming(graph, frontier, sample)
        source = graph.source[chosen]
        fresh = torch.unique(source[place[source] < 0])
        place[fresh] = torch.arange(len(fresh)) + sum(map(len, nodes))
        nodes.append(fresh)
        ends.append((place[source], place[frontier[owner]]))
        weights.append(graph.weight[chosen] * factor)
        frontier = fresh
    found = torch.cat(nodes)
    nothing = torch.empty(0, dtype=torch.int64)
    return Neighbourhood(
        found,
        Edges(
            torch.cat([source for source, _ in ends] or [nothing]),
            torch.cat([target for _, target in ends] or [nothing]),
            torch.cat(weights or [torch.empty(0)]),
            graph.degree[found],
        ),
    )


def _incoming(graph: Graph, nodes: Tensor, sample: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Edges that bring `nodes` messages, the place in `nodes` of each, and what its weight is multiplied with."""
    counts = graph.counts[nodes]
    edges = ragged(graph.first[nodes], counts)
    owner = torch.repeat_interleave(torch.arange(len(nodes)), counts)
    if sample is None:
        return edges, owner, torch.ones(len(edges))
    # Edges in random order within each node; the first ones are the sample.
    shuffled = torch.randperm(len(edges))
    order = shuffled[owner[shuffled].argsort(stable=True)]
    rank = ragged(torch.zeros_like(counts), counts)
    kept = order[rank < sample]
    taken = counts.clamp(max=sample)
    return edges[kept], owner[kept], (counts / taken.clamp(min=1))[owner[kept]]

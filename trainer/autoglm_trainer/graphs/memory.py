"""How much memory training on a graph takes, before it is tried."""

from __future__ import annotations

import math

import torch

from autoglm_trainer.contract import MemoryEstimate
from autoglm_trainer.model.memory import limit_bytes

from .data import GraphData
from .network import GraphNetwork
from .settings import GraphSettings

_SINGLE = 4
# What a layer keeps of each of a node's numbers for the backward pass: as it was activated, and dropped out.
_KEPT = 3
# What is in use at once besides, of each number of an edge or node, and of a word: as it is taken, weighed, added up,
# the gradients of these, and what the allocator has not given back (measured: tests/trainer/graphs/test_training.py).
_PASSING, _PASSING_WORD = 5, 4


def estimated(
    data: GraphData, network: GraphNetwork, settings: GraphSettings, device: torch.device, *, resident: int
) -> MemoryEstimate:
    """Bytes at the peak of training: numbers that layers keep or pass, in 32 bits.

    16 bytes for each weight (itself, gradient, Adam's two means). With `batch_size` as many edges as a batch's sample
    can have, and as many nodes as these reach where they lead anywhere alike.
    """
    nodes, edges = _sizes(data, network, settings)
    words = len(data.features.words) * nodes // len(data.nodes.every)
    labels, looks = len(data.labels), settings.method not in ("appnp", "mlp")
    heads = settings.heads if settings.method == "gat" else 1
    widths = [settings.hidden * heads] * (settings.layers - 1) + [labels * heads]
    kept = sum(_KEPT * nodes * width for width in widths)
    if settings.method == "gat":
        # Attention is learned, hence what it weighs is kept for each edge.
        kept += sum((edges + nodes) * width for width in widths)
    passing = max(
        [_PASSING_WORD * words * widths[0], *(_PASSING * (edges * looks + nodes) * width for width in widths)]
    )
    walk = _PASSING * (edges + nodes) * labels if settings.method == "appnp" else 0
    weights = sum(value.numel() for value in network.parameters())
    on_gpu = device.type == "cuda"
    return MemoryEstimate(
        needed=resident + 4 * _SINGLE * weights + _SINGLE * (kept + max(passing, walk)),
        limit=limit_bytes(device),
        place="the GPU" if on_gpu else "the container",
    )


def _sizes(data: GraphData, network: GraphNetwork, settings: GraphSettings) -> tuple[int, int]:
    """Nodes and edges that a step looks at."""
    graph = data.graph(settings.edge_direction)
    if not settings.batch_size:
        return len(graph), len(graph.source)
    asked = min(settings.batch_size, len(data.rows("train")))
    edges = min(len(graph.source), asked * sum(settings.neighbours**hop for hop in range(1, network.hops + 1)))
    return round(-math.expm1(-(asked + edges) / len(graph)) * len(graph)), edges

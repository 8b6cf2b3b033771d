"""How much memory training on a graph takes, before it is tried."""

from __future__ import annotations

import torch

from autoglm_trainer.contract import MemoryEstimate
from autoglm_trainer.model.memory import limit_bytes

from .data import GraphData
from .network import GraphNetwork
from .settings import GraphSettings

_SINGLE = 4
# What each layer keeps of a node: its input, dropped out; its output; both of the activation; and a gradient at a time.
_PER_NODE = 5
# What it keeps of an edge: the message before and after it is weighed, and the gradient of one of them at a time.
_PER_EDGE = 3


def estimated(
    data: GraphData, network: GraphNetwork, settings: GraphSettings, device: torch.device, *, resident: int
) -> MemoryEstimate:
    """Bytes at the peak of training: numbers that layers keep for each node, edge and word, in 32 bits.

    16 bytes for each weight (itself, gradient, Adam's two means). With `batch_size` no more nodes and edges than a
    batch's sample can have, and at most all.
    """
    graph = data.graph(settings.edge_direction)
    nodes, edges = len(graph), len(graph.source)
    if settings.batch_size:
        reach = sum(settings.neighbours**hop for hop in range(1, network.hops + 1))
        edges = min(edges, settings.batch_size * reach)
        nodes = min(nodes, settings.batch_size + edges)
    words = len(data.features.words) * nodes // max(1, len(graph))
    width = max(settings.hidden * (settings.heads if settings.method == "gat" else 1), len(data.labels))
    passes = settings.layers + (settings.hops if settings.method == "appnp" else 0)
    kept = passes * width * (_PER_NODE * nodes + _PER_EDGE * edges) + _PER_EDGE * words * width
    weights = sum(value.numel() for value in network.parameters())
    on_gpu = device.type == "cuda"
    return MemoryEstimate(
        needed=resident + 4 * _SINGLE * weights + _SINGLE * kept,
        limit=limit_bytes(device),
        place="the GPU" if on_gpu else "the container",
    )

"""Small random graphs."""

from __future__ import annotations

import numpy as np
import torch

from autoglm_trainer.graphs.graph import Features, Graph, bag, make_graph


def random_graph(
    nodes: int = 30, edges: int = 80, *, seed: int = 0, direction: str = "both", weighted: bool = True
) -> Graph:
    """With doubled edges, loops, and nodes that have no edge."""
    draw = np.random.default_rng(seed)
    source, target = draw.integers(0, nodes - 2, (2, edges))
    weight = draw.uniform(0.5, 2.0, edges) if weighted else np.ones(edges)
    return make_graph(nodes, source, target, weight, direction=direction)


def random_features(nodes: int = 30, *, numbers: int = 2, words: int = 12, seed: int = 0) -> Features:
    """Some nodes have no word."""
    draw = np.random.default_rng(seed)
    own = (
        [[f"w{word}" for word in draw.integers(0, words, draw.integers(0, 5))] for _ in range(nodes)]
        if words
        else [[]] * nodes
    )
    first, held, vocabulary = bag(own, seen=nodes)
    columns = tuple(f"n{place}" for place in range(numbers))
    drawn = torch.from_numpy(draw.normal(3, 2, (nodes, numbers)).astype(np.float32))
    return Features(torch.from_numpy(first), torch.from_numpy(held), drawn, vocabulary, columns)

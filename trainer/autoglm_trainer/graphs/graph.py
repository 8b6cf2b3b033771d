"""A graph in memory: for each node the edges that bring it messages, and what the node itself is known by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoglm_trainer.metrics import Floats, Ints


@dataclass(frozen=True)
class Graph:
    """Nodes are numbers from 0; the messages that reach node `i` come from `source[first[i] : first[i + 1]]`.

    Attributes:
        first: (nodes + 1,), int64.
        source: (edges,), int64, increasing within each node.
        weight: (edges,), float32, above 0.
    """

    first: Tensor
    source: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.first) - 1

    @cached_property
    def counts(self) -> Tensor:
        """How many edges bring each node messages, (nodes,)."""
        return self.first.diff()

    @cached_property
    def target(self) -> Tensor:
        """The node that each edge brings its message to, (edges,)."""
        return torch.repeat_interleave(torch.arange(len(self)), self.counts)

    @cached_property
    def degree(self) -> Tensor:
        """The sum of their weights, (nodes,), float32."""
        # Summed in 64 bits: a server that sums otherwise must come to the same.
        return torch.zeros(len(self), dtype=torch.float64).index_add(0, self.target, self.weight.double()).float()

    def begun(self, nodes: int) -> Graph:
        """The first `nodes` nodes, and the edges among them."""
        if nodes == len(self):
            return self
        kept = (self.source < nodes) & (self.target < nodes)
        counts = torch.bincount(self.target[kept], minlength=len(self))[:nodes]
        return Graph(_starts(counts), self.source[kept], self.weight[kept])


def make_graph(nodes: int, source: Ints, target: Ints, weight: Floats, *, direction: str) -> Graph:
    """A graph from edges as they were given.

    An edge that stands there several times counts once, with its largest weight. Edges from a node to itself are left
    out: every layer looks at the node itself anyway.

    Args:
        nodes: how many there are.
        source: (edges,).
        target: (edges,).
        weight: (edges,), above 0.
        direction: `forward`: messages go from source to target; `backward`: the other way; `both`.
    """
    other = source != target
    source, target, weight = source[other], target[other], weight[other]
    if direction == "both":
        source, target = np.concatenate([source, target]), np.concatenate([target, source])
        weight = np.concatenate([weight, weight])
    elif direction == "backward":
        source, target = target, source
    key = target * nodes + source
    order = np.lexsort((-weight, key))
    _, unique = np.unique(key[order], return_index=True)
    kept = order[unique]
    counts = torch.from_numpy(np.bincount(target[kept], minlength=nodes))
    return Graph(_starts(counts), torch.from_numpy(source[kept]), torch.from_numpy(weight[kept].astype(np.float32)))


def _starts(counts: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])


@dataclass(frozen=True)
class Features:
    """What nodes are known by: words that each has or has not, and numbers.

    Attributes:
        first: (nodes + 1,), int64; node `i` has the words `words[first[i] : first[i + 1]]`.
        words: (…,), int64, places in `vocabulary`.
        numbers: (nodes, columns), float32.
        vocabulary: sorted.
        columns: names of the numbers, `name[2]` for the third of a list.
    """

    first: Tensor
    words: Tensor
    numbers: Tensor
    vocabulary: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many numbers a network sees of a node."""
        return len(self.vocabulary) + len(self.columns)

    def of(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nodes' words, as the place in `nodes` (words,) and the word of each (words,); and their numbers."""
        counts = self.first.diff()[nodes]
        row = torch.repeat_interleave(torch.arange(len(nodes)), counts)
        return row, self.words[ragged(self.first[nodes], counts)], self.numbers[nodes]


def ragged(starts: Tensor, counts: Tensor) -> Tensor:
    """`counts[i]` places from `starts[i]` on, for each `i`, one after another."""
    before = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(starts - before, counts)


def bag(words: Sequence[Sequence[str]], *, seen: int) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """`first`, `words` and `vocabulary` of `Features`; a word that a node has twice counts once.

    Words that none of the first `seen` nodes has are left out: nothing was learned of them.
    """
    vocabulary = tuple(sorted({word for own in words[:seen] for word in own}))
    places = {word: place for place, word in enumerate(vocabulary)}
    found = [sorted({places[word] for word in own if word in places}) for own in words]
    first = np.cumsum([0, *map(len, found)], dtype=np.int64)
    return first, np.array([place for own in found for place in own], dtype=np.int64), vocabulary

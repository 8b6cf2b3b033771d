"""A study's graph in memory, and what each of its labelled nodes is for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autoglm_api.manifest import DataDigests
from autoglm_trainer.metrics import Ints
from autoglm_trainer.rows.edges import GivenEdges
from autoglm_trainer.rows.node import Node
from autoglm_trainer.rows.nodes import Nodes

from .graph import Features, Graph, bag, make_graph


@dataclass(frozen=True)
class GraphData:
    """Nodes, edges and labels; graphs of each direction are made once.

    Attributes:
        labels: sorted; a label's place in it is the model's output index.
        place: a node's name → its number.
    """

    nodes: Nodes
    edges: GivenEdges
    features: Features
    labels: tuple[str, ...]
    place: Mapping[str, int]
    _graphs: dict[str, Graph] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, nodes: Nodes, edges: GivenEdges) -> GraphData:
        """Put names into numbers."""
        first, words, vocabulary = bag([node.words for node in nodes.every], seen=nodes.seen)
        numbers = np.array([node.numbers for node in nodes.every], dtype=np.float32).reshape(len(nodes.every), -1)
        features = Features(
            torch.from_numpy(first), torch.from_numpy(words), torch.from_numpy(numbers), vocabulary, nodes.columns
        )
        labels = tuple(sorted({node.label for node in nodes.splits.train}))
        return cls(nodes, edges, features, labels, {node.name: place for place, node in enumerate(nodes.every)})

    def graph(self, direction: str) -> Graph:
        """All nodes, with messages going in that direction."""
        if direction not in self._graphs:
            edges = self.edges
            self._graphs[direction] = make_graph(
                len(self.nodes.every), edges.source, edges.target, edges.weight, direction=direction
            )
        return self._graphs[direction]

    def rows(self, split: str) -> tuple[Node, ...]:
        """The labelled nodes of a split."""
        return self.nodes.splits.by_name[split].rows

    def places(self, split: str) -> Tensor:
        """Their numbers, (rows,)."""
        return torch.tensor([self.place[node.name] for node in self.rows(split)])

    def targets(self, split: str) -> Ints:
        """Their labels' places, (rows,)."""
        index = {label: place for place, label in enumerate(self.labels)}
        return np.array([index[node.label] for node in self.rows(split)], dtype=np.int64)

    @property
    def signature(self) -> str:
        """What a network's inputs and outputs stand for; a saved model of another one does not fit."""
        return _sha256([self.labels, self.features.columns, self.features.vocabulary])

    @property
    def digests(self) -> DataDigests:
        """Of each split's nodes and of the edges, which every answer depends on; training sees all nodes' features."""
        learned = {node.name for node in self.nodes.splits.train}
        seen = self.nodes.every[: self.nodes.seen]
        train = [[*node.content[:-1], node.label if node.name in learned else ""] for node in seen]
        contents: dict[str, Iterable[object]] = {"train": train}
        for split in self.nodes.splits.counts:
            contents.setdefault(split, [node.content for node in self.rows(split)])
        return DataDigests(**{split: f"sha256:{_sha256([self.edges.digest, *of])}" for split, of in contents.items()})


def _sha256(parts: Iterable[object]) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(json.dumps(part, ensure_ascii=False).encode() + b"\n")
    return state.hexdigest()

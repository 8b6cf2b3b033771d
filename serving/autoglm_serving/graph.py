"""The graph that a model knows, and the part of it that a node's answer depends on. numpy alone, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from .errors import UnusableModelError

KNOWN, NAMES = "graph.safetensors", "nodes.json"
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
_ARRAYS = ("first", "source", "weight", "words_first", "words", "numbers")


@dataclass(frozen=True)
class KnownGraph:
    """Nodes by number; the messages that reach node `i` come from `source[first[i] : first[i + 1]]`.

    Attributes:
        words_first, words: node `i` has the words `words[words_first[i] : words_first[i + 1]]`.
        numbers: (nodes, columns).
        degree: (nodes,), the weights that reach each node.
        node, word: name → number. columns: names of the numbers.
    """

    first: Ints
    source: Ints
    weight: Singles
    words_first: Ints
    words: Ints
    numbers: Singles
    degree: Singles
    node: Mapping[str, int]
    word: Mapping[str, int]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.first) - 1


@dataclass(frozen=True)
class Newcomer:
    """A node that the graph does not have: what it is known by, and whose neighbour it would be.

    Attributes:
        words: numbers of words, each once.
        numbers: (columns,).
        neighbours: numbers of nodes, each once. weights: of the edges to them.
    """

    words: Ints
    numbers: Singles
    neighbours: Ints
    weights: Singles


def load_graph(folder: Path) -> KnownGraph:
    """Read `graph.safetensors` and `nodes.json`.

    Raises:
        UnusableModelError: they are not there, or do not fit each other.
    """
    for name in (KNOWN, NAMES):
        if not (folder / name).is_file():
            raise UnusableModelError(f"the model has no {name}")
    try:
        arrays = load_file(folder / KNOWN)
        names = json.loads((folder / NAMES).read_bytes())
        nodes, words, columns = (tuple(names[kind]) for kind in ("nodes", "words", "numbers"))
        first, source, weight, words_first, held, numbers = (arrays[name] for name in _ARRAYS)
    except Exception as error:
        raise UnusableModelError(f"{KNOWN} or {NAMES} cannot be read: {error!r}") from error
    if not len(first) - 1 == len(words_first) - 1 == len(numbers) == len(nodes) or numbers.shape[1] != len(columns):
        raise UnusableModelError(f"{KNOWN} and {NAMES} are of different graphs")
    target = np.repeat(np.arange(len(nodes)), np.diff(first))
    # Summed in 64 bits, as in training.
    degree = np.bincount(target, weights=weight, minlength=len(nodes)).astype(np.float32)
    return KnownGraph(
        *(first, source, weight, words_first, held, numbers, degree),
        node={name: place for place, name in enumerate(nodes)},
        word={name: place for place, name in enumerate(words)},
        columns=columns,
    )


def around(graph: KnownGraph, asked: Sequence[int], hops: int) -> dict[str, NDArray[np.generic]]:
    """All that reaches the asked nodes in `hops` steps, as the network takes it; the asked nodes come first."""
    nodes, source, target, weight = _reached(graph, np.array(asked, dtype=np.int64), hops)
    return _inputs(graph, nodes, source, target, weight, graph.degree[nodes])


def around_newcomer(graph: KnownGraph, new: Newcomer, hops: int, *, both: bool) -> dict[str, NDArray[np.generic]]:
    """The same of one new node, the first, as if it stood in the graph with an edge to each of its neighbours.

    With `both` its neighbours hear of it, too, which changes what they say.
    """
    count = len(new.neighbours) if hops else 0
    nodes, source, target, weight = _reached(graph, new.neighbours[:count], max(hops - 1, 0))
    itself, neighbours = np.zeros(count, dtype=np.int64), np.arange(count)
    degree = np.concatenate([[new.weights[:count].sum()], graph.degree[nodes]]).astype(np.float32)
    ends = [(neighbours + 1, itself, new.weights[:count])]
    if both:
        degree[1 : count + 1] += new.weights[:count]
        ends.append((itself, neighbours + 1, new.weights[:count]))
    own = _inputs(
        graph,
        nodes,
        np.concatenate([source + 1, *(end[0] for end in ends)]),
        np.concatenate([target + 1, *(end[1] for end in ends)]),
        np.concatenate([weight, *(end[2] for end in ends)]),
        degree,
    )
    return {
        **own,
        "row": np.concatenate([np.zeros(len(new.words), dtype=np.int64), own["row"] + 1]),
        "word": np.concatenate([new.words, own["word"]]),
        "numbers": np.concatenate([new.numbers[None], own["numbers"]]),
    }


def _reached(graph: KnownGraph, asked: Ints, hops: int) -> tuple[Ints, Ints, Ints, Singles]:
    """Nodes, the asked ones first, and the edges among them: source, target (places in the nodes), weight."""
    place = np.full(len(graph), -1, dtype=np.int64)
    place[asked] = np.arange(len(asked))
    nodes, frontier, found = [asked], asked, len(asked)
    sources, targets, weights = [], [], []
    for _ in range(hops):
        counts = np.diff(graph.first)[frontier]
        edges = _ragged(graph.first[frontier], counts)
        source = graph.source[edges]
        fresh = np.unique(source[place[source] < 0])
        place[fresh] = np.arange(len(fresh)) + found
        found += len(fresh)
        nodes.append(fresh)
        sources.append(place[source])
        targets.append(np.repeat(place[frontier], counts))
        weights.append(graph.weight[edges])
        frontier = fresh
    nothing = np.empty(0, dtype=np.int64)
    return (
        np.concatenate(nodes),
        np.concatenate([nothing, *sources]),
        np.concatenate([nothing, *targets]),
        np.concatenate([nothing.astype(np.float32), *weights]),
    )


def _inputs(
    graph: KnownGraph, nodes: Ints, source: Ints, target: Ints, weight: Singles, degree: Singles
) -> dict[str, NDArray[np.generic]]:
    counts = np.diff(graph.words_first)[nodes]
    return {
        "row": np.repeat(np.arange(len(nodes)), counts),
        "word": graph.words[_ragged(graph.words_first[nodes], counts)],
        "numbers": graph.numbers[nodes],
        "source": source,
        "target": target,
        "weight": weight,
        "degree": degree,
    }


def _ragged(starts: Ints, counts: Ints) -> Ints:
    """`counts[i]` places from `starts[i]` on, for each `i`, one after another."""
    before = np.cumsum(counts) - counts
    return np.asarray(np.arange(int(counts.sum())) + np.repeat(starts - before, counts))

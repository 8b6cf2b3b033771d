"""`node-classification`: the label of a node that the graph has, or of one that it would have.

A new node is answered as if it stood in the graph: its neighbours hear of it too, where edges are read both ways. New
nodes know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TextPrediction
from autoglm_api.tables.cells import LARGEST, quoted
from autoglm_serving.encoder import GRAPH, load_session
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.graph import Newcomer, around, around_newcomer, load_graph
from autoglm_serving.requests import Refused, kind_of

MAX_NEIGHBOURS = 10_000
MAX_FEATURES = 100_000
# Known nodes that go through the network together: they share much of their neighbourhoods, and this bounds memory.
BATCH = 64
_NAME = {"type": ["string", "integer"]}
_NAMES = {"type": "array", "items": _NAME, "maxItems": MAX_FEATURES}
_FIELDS = ("words", "features", "neighbours", "weights")


class NodeClassifier:
    """Safe to call from several threads: nothing is kept between calls."""

    item: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {**_NAME, "description": "a node of the graph, by its name"},
            {
                "type": "object",
                "required": ["node"],
                "additionalProperties": False,
                "properties": {"node": _NAME},
            },
            {
                "type": "object",
                "description": "a node that the graph does not have",
                "additionalProperties": False,
                "properties": {
                    "words": {
                        **_NAMES,
                        "description": "what it has; words that the model does not know are passed over",
                    },
                    "features": {
                        "description": "its numbers, by column or as a list in the columns' order",
                        "anyOf": [
                            {"type": "object", "additionalProperties": {"type": "number"}},
                            {"type": "array", "items": {"type": "number"}, "maxItems": MAX_FEATURES},
                        ],
                    },
                    "neighbours": {"type": "array", "items": _NAME, "maxItems": MAX_NEIGHBOURS},
                    "weights": {
                        "description": "of the edges to the neighbours, in their order; left out, all 1",
                        "type": "array",
                        "items": {"type": "number", "exclusiveMinimum": 0},
                        "maxItems": MAX_NEIGHBOURS,
                    },
                },
            },
        ]
    }
    answer: ClassVar[dict[str, Any]] = TextPrediction.model_json_schema()

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        try:
            self._hops, self._both = int(manifest.settings["hops"]), bool(manifest.settings["both_directions"])
        except (KeyError, ValueError) as error:
            raise UnusableModelError(f"the manifest's settings lack or misstate {error}") from error
        self.labels = manifest.labels
        self._graph = load_graph(folder)
        self._session = load_session(folder / GRAPH, threads)
        self._inputs = tuple(known.name for known in self._session.get_inputs())
        if set(self._inputs) != set(manifest.inputs):
            raise UnusableModelError(f"{GRAPH} takes {list(self._inputs)}, the manifest says {list(manifest.inputs)}")

    def parse(self, item: object, where: str) -> int | Newcomer:
        """A known node's number, or a new node."""
        if not isinstance(item, Mapping):
            return self._known(item, where)
        if "node" in item:
            others = [name for name in item if name != "node"]
            if others:
                raise Refused(422, "BadItem", f"{where} has {str(others[0])[:100]!r} beside node; send that alone")
            return self._known(item["node"], f"{where}.node")
        unknown = [name for name in item if name not in _FIELDS]
        if unknown:
            raise Refused(422, "BadItem", f"{where} has an unknown field {str(unknown[0])[:100]!r}")
        if not item:
            raise Refused(422, "NoData", f"{where} is empty; send node, or words, features and neighbours of a new one")
        neighbours, weights = self._neighbours(item, where)
        words = {self._graph.word[word] for word in _names(item, "words", where) if word in self._graph.word}
        return Newcomer(
            words=np.array(sorted(words), dtype=np.int64),
            numbers=self._numbers(item.get("features"), f"{where}.features"),
            neighbours=neighbours,
            weights=weights,
        )

    def _known(self, name: object, where: str) -> int:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise Refused(422, "BadItem", f"{where} must be a node's name or an object, got {kind_of(name)}")
        found = self._graph.node.get(str(name))
        if found is None:
            told = f"{where} is {str(name)[:100]!r}, which the graph does not have"
            raise Refused(422, "UnknownNode", f"{told}; ask of a new node with its features and neighbours")
        return found

    def _neighbours(self, item: Mapping[str, Any], where: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        names = _names(item, "neighbours", where, at_most=MAX_NEIGHBOURS)
        weights = item.get("weights", [1.0] * len(names))
        if not isinstance(weights, list) or len(weights) != len(names):
            raise Refused(422, "BadItem", f"{where}.weights must be a list of {len(names)} numbers, one a neighbour")
        found: dict[int, float] = {}
        for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
            node = self._known(name, f"{where}.neighbours[{place}]")
            weight = _number(weight, f"{where}.weights[{place}]")
            if weight <= 0:
                raise Refused(422, "BadItem", f"{where}.weights[{place}] must be above 0, got {weight:g}")
            found[node] = max(weight, found.get(node, 0.0))
        return np.array([*found], dtype=np.int64), np.array([*found.values()], dtype=np.float32)

    def _numbers(self, given: object, where: str) -> NDArray[np.float32]:
        columns = self._graph.columns
        if isinstance(given, Mapping):
            lacking = [column for column in columns if column not in given]
            unknown = [str(name) for name in given if name not in columns]
            if lacking or unknown:
                told = f"lacks {lacking[0][:100]!r}" if lacking else f"has an unknown column {unknown[0][:100]!r}"
                raise Refused(
                    422, "BadItem", f"{where} {told}; the model's columns: {', '.join(columns[:20]) or 'none'}"
                )
            given = [given[column] for column in columns]
        given = [] if given is None else given
        if not isinstance(given, list) or len(given) != len(columns):
            got = f"{len(given)}" if isinstance(given, list) else kind_of(given)
            wanted = (
                f"{len(columns)} numbers ({', '.join(columns[:20])})" if columns else "left out: the model reads words"
            )
            raise Refused(422, "BadItem", f"{where} must be {wanted}, got {got}")
        return np.array([_number(value, f"{where}[{at}]") for at, value in enumerate(given)], dtype=np.float32)

    def predict(self, items: Sequence[int | Newcomer]) -> list[dict[str, Any]]:
        """One prediction an item, in order."""
        found: dict[int, NDArray[np.float64]] = {}
        known = [(index, item) for index, item in enumerate(items) if not isinstance(item, Newcomer)]
        for start in range(0, len(known), BATCH):
            part = known[start : start + BATCH]
            asked = sorted({node for _, node in part})
            answers = dict(zip(asked, self._run(around(self._graph, asked, self._hops), len(asked)), strict=True))
            found.update((index, answers[node]) for index, node in part)
        for index, item in enumerate(items):
            if isinstance(item, Newcomer):
                seen = around_newcomer(self._graph, item, self._hops, both=self._both)
                found[index] = self._run(seen, 1)[0]
        return [self._prediction(found[index]) for index in range(len(items))]

    def _run(self, seen: Mapping[str, NDArray[np.generic]], asked: int) -> NDArray[np.float64]:
        """Probabilities of the first nodes, (asked, labels)."""
        try:
            (answers,) = self._session.run(["probabilities"], {name: seen[name] for name in self._inputs})
        except Exception as error:
            raise UnusableModelError(f"{GRAPH} failed: {error}") from error
        if answers.shape != (len(seen["degree"]), len(self.labels)):
            raise UnusableModelError(f"{GRAPH} answers {answers.shape} for {len(self.labels)} labels")
        chosen = answers[:asked].astype(np.float64)
        if not np.isfinite(chosen).all():
            raise UnusableModelError(f"{GRAPH} answers with numbers that are not finite")
        return np.asarray(chosen)

    def _prediction(self, probabilities: NDArray[np.float64]) -> dict[str, Any]:
        scores = {label: float(score) for label, score in zip(self.labels, probabilities, strict=True)}
        best = int(probabilities.argmax())
        return TextPrediction(label=self.labels[best], score=float(probabilities[best]), scores=scores).model_dump()

    def samples(self) -> list[int | Newcomer]:
        """A known node, and a new one beside it."""
        beside = Newcomer(
            words=np.empty(0, dtype=np.int64),
            numbers=np.zeros(len(self._graph.columns), dtype=np.float32),
            neighbours=np.zeros(1, dtype=np.int64),
            weights=np.ones(1, dtype=np.float32),
        )
        return [0, beside]


def _names(item: Mapping[str, Any], field: str, where: str, *, at_most: int = MAX_FEATURES) -> list[str]:
    """A list of names as texts; empty where there is none."""
    given = item.get(field, [])
    if not isinstance(given, list):
        raise Refused(422, "BadItem", f"{where}.{field} must be a list, got {kind_of(given)}")
    if len(given) > at_most:
        raise Refused(422, "TooManyItems", f"{where}.{field} has {len(given)} entries; at most {at_most}")
    for place, name in enumerate(given):
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise Refused(422, "BadItem", f"{where}.{field}[{place}] must be a text or a number, got {kind_of(name)}")
    return [str(name) for name in given]


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(422, "BadItem", f"{where} must be a number, got {kind_of(value)}")
    # Compared before it becomes a float, which a whole number of JSON may be too large for; NaN is not below either.
    if not abs(value) <= LARGEST:
        raise Refused(422, "BadItem", f"{where} must be at most {LARGEST:g}, got {quoted(value)}")
    return float(value)

"""A tag for each word of each sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoglm_api.bio import OUTSIDE, Entity, entities, likeliest
from autoglm_trainer.contract import Matrix, Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.entities import count_sentence, measure, scores
from autoglm_trainer.rows.tagged import Sentence

_NOTHING = "(none)"


@dataclass(frozen=True)
class EntityPredictions:
    """Sentence by sentence the words with their true tags, and what the model makes of them.

    Attributes:
        labels: O, then B- and I- of each type.
        probabilities: (words of all sentences, labels).
        unread: (words of all sentences,): those of which the tokenizer keeps nothing. They are answered with O, and
            cost in cross-entropy what a guess costs.
    """

    labels: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    probabilities: Floats
    unread: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sentences)

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """Entity-level F1, precision and recall, token accuracy, cross-entropy."""
        return measure(self._counts if rows is None else self._counts[rows])

    @cached_property
    def answers(self) -> tuple[list[str], ...]:
        """The tags of each sentence, as the server gives them."""
        return tuple([self.labels[tag] for tag in self._answered[words]] for words in self._slices)

    @cached_property
    def _answered(self) -> Ints:
        """(words of all sentences,): places of their tags."""
        told = self.probabilities.copy()
        told[self.unread] = np.array(self.labels) == OUTSIDE
        return np.concatenate([likeliest(told[words], self.labels) for words in self._slices])

    @cached_property
    def _slices(self) -> list[slice]:
        ends = np.cumsum([len(sentence.words) for sentence in self.sentences])
        return [slice(int(end) - len(row.words), int(end)) for end, row in zip(ends, self.sentences, strict=True)]

    @cached_property
    def _counts(self) -> Floats:
        """(sentences, 6), as `metrics.entities.measure` takes them."""
        index = {label: place for place, label in enumerate(self.labels)}
        truth = np.array([index[tag] for sentence in self.sentences for tag in sentence.tags])
        of_truth = self.probabilities[np.arange(len(truth)), truth]
        of_truth = np.where(self.unread, 1 / len(self.labels), of_truth)
        losses = -np.log(np.clip(of_truth, 1e-12, 1.0))
        rows = zip(self.sentences, self.answers, self._slices, strict=True)
        return np.array(
            [(*count_sentence(sentence.tags, tags), losses[words].sum()) for sentence, tags, words in rows],
            dtype=np.float64,
        )

    def _wrong(self) -> list[int]:
        found = zip(self.sentences, self.answers, strict=True)
        return [row for row, (sentence, tags) in enumerate(found) if list(sentence.tags) != tags]

    def wrong(self) -> int:
        """Sentences whose entities are not exactly the true ones."""
        return len(self._wrong())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Sentences with wrong entities, the most confident wrong word first."""
        sure = {row: self._confidence(row) for row in self._wrong()}
        worst = sorted(sure, key=lambda row: (-sure[row], row))[:limit]
        return [
            Mistake(
                item=" ".join(self.sentences[row].words),
                truth=_spoken(self.sentences[row].words, self.sentences[row].tags),
                answer=_spoken(self.sentences[row].words, self.answers[row]),
                confidence=sure[row],
            )
            for row in worst
        ]

    def _confidence(self, row: int) -> float:
        """The highest probability of a wrong tag in a sentence."""
        of_tags = self.probabilities[np.arange(len(self._answered)), self._answered]
        highest = np.where(self.unread, 0.0, of_tags)[self._slices[row]]
        pairs = zip(self.sentences[row].tags, self.answers[row], highest, strict=True)
        return max(float(sure) for truth, answer, sure in pairs if truth != answer)

    def sections(self) -> list[Section]:
        """Each entity type's figures, and which are taken for which."""
        types = [label.removeprefix("B-") for label in self.labels if label.startswith("B-")]
        true, answered, found, wrong_ends = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        taken = Counter[tuple[str, str]]()
        for sentence, tags in zip(self.sentences, self.answers, strict=True):
            ours, theirs = entities(sentence.tags), entities(tags)
            true.update(entity.type for entity in ours)
            answered.update(entity.type for entity in theirs)
            found.update(entity.type for entity in set(ours) & set(theirs))
            for truth, answer in _pairs(ours, theirs):
                taken[truth.type if truth else _NOTHING, answer.type if answer else _NOTHING] += 1
                if truth and answer and truth != answer and truth.type == answer.type:
                    wrong_ends[truth.type] += 1
        rows: list[tuple[str | float, ...]] = []
        for kind in types:
            of_type = scores(found[kind], answered[kind], true[kind])
            figures = [round(of_type[name], 3) for name in ("precision", "recall", "f1")]
            rows.append((kind, *figures, true[kind], answered[kind], found[kind], wrong_ends[kind]))
        labels = (*types, _NOTHING)
        counts = tuple(tuple(taken[truth, answer] for answer in labels) for truth in labels)
        return [
            Table(f"Each entity type{self._unread_note()}", _TABLE_NOTE, _HEADER, tuple(rows)),
            Matrix("Which types are taken for which", _MATRIX_NOTE, labels, counts),
        ]

    def _unread_note(self) -> str:
        unread = int(self.unread.sum())
        return f" ({unread} words are unknown to the tokenizer and answered with O)" if unread else ""


_HEADER = ("type", "precision", "recall", "F1", "entities", "answered", "right", "right type, wrong ends")
_TABLE_NOTE = "An entity is right if its type and all its words are."
_MATRIX_NOTE = (
    "Rows are the true types, columns the answers. An entity counts beside the one that shares most of its words,"
    f" exactly or not; {_NOTHING} where there is none."
)


def _pairs(ours: Sequence[Entity], theirs: Sequence[Entity]) -> list[tuple[Entity | None, Entity | None]]:
    """Each true entity beside the answer that shares most of its words, and the answers that are left over."""
    pairs: list[tuple[Entity | None, Entity | None]] = []
    left = list(theirs)
    for truth in ours:
        best = max(left, key=lambda answer: _shared(truth, answer), default=None)
        if best is None or _shared(truth, best) <= 0:
            pairs.append((truth, None))
        else:
            left.remove(best)
            pairs.append((truth, best))
    return [*pairs, *((None, answer) for answer in left)]


def _shared(one: Entity, other: Entity) -> int:
    return min(one.end, other.end) - max(one.start, other.start)


def _spoken(words: Sequence[str], tags: Sequence[str]) -> str:
    return "; ".join(f"{found.type}: {' '.join(words[found.start : found.end])}" for found in entities(tags)) or "none"

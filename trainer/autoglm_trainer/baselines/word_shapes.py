"""The plain baseline of token classification: each word's own look and that of its neighbours, no language model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.tagged import Sentence, TaggedSentences

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_SHAPES = ((re.compile(r"[A-ZÀ-ÖØ-Þ]+"), "X"), (re.compile(r"[a-zß-öø-ÿ]+"), "x"), (re.compile(r"\d+"), "9"))
_WINDOW = (-2, -1, 1, 2)


def fit_baseline(data: TaggedSentences) -> Pipeline:
    """Logistic regression on words, their shapes, beginnings and ends, and their neighbours."""
    # A second of every worker's start, for what only the report needs.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    index = {label: place for place, label in enumerate(data.labels)}
    targets = [index[tag] for row in data.splits.train for tag in row.tags]
    pipeline = make_pipeline(
        CountVectorizer(analyzer=list, binary=True, dtype=np.float64),
        LogisticRegression(max_iter=100, tol=1e-3),
    )
    return pipeline.fit(list(_features(data.splits.train)), targets)


def baseline_probabilities(pipeline: Pipeline, rows: Rows[Sentence], labels: int) -> Floats:
    """Probabilities (words, labels)."""
    found = np.zeros((sum(len(row.words) for row in rows), labels))
    answers = pipeline.predict_proba(list(_features(rows)))
    found[:, pipeline.classes_] = answers
    return found


def _features(rows: Rows[Sentence]) -> Iterator[list[str]]:
    for row in rows:
        own = [list(_own(word)) for word in row.words]
        for place in range(len(row.words)):
            yield [*own[place], *_around(row.words, place)]


def _own(word: str) -> Iterator[str]:
    lower = word.lower()
    yield "every word"
    yield f"word={lower}"
    yield f"shape={shape(word)}"
    for length in (1, 2, 3, 4):
        yield f"begins={lower[:length]}"
        yield f"ends={lower[-length:]}"


def _around(words: Sequence[str], place: int) -> Iterator[str]:
    for offset in _WINDOW:
        there = place + offset
        word = words[there] if 0 <= there < len(words) else "<none>"
        yield f"{offset}:word={word.lower()}"
        if abs(offset) == 1:
            yield f"{offset}:shape={shape(word)}"


def shape(word: str) -> str:
    """Capitals as X, small letters as x, digits as 9, runs of them once: `McDonald's` is XxXx'x."""
    for pattern, sign in _SHAPES:
        word = pattern.sub(sign, word)
    return word[:10]

"""The plain baseline of text classification: what any tuned model must beat to be worth its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.texts import LabelledText, LabelledTexts

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline

# Texts with fewer spaces than this per character are of a script without word breaks.
_SPACES = 0.05


def fit_baseline(data: LabelledTexts) -> Pipeline:
    """TF-IDF and logistic regression."""
    # A second of every worker's start, for what only the report needs.
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    texts = [row.text for row in data.splits.train]
    vectorizer = vectorizer_of(texts)
    classifier = LogisticRegression(C=10.0, max_iter=1_000)
    if data.several:
        pipeline = make_pipeline(vectorizer, OneVsRestClassifier(classifier))
        return pipeline.fit(texts, np.array(data.indicators(data.splits.train)))
    return make_pipeline(vectorizer, classifier).fit(texts, data.targets(data.splits.train))


def vectorizer_of(texts: Sequence[str]) -> TfidfVectorizer:
    """TF-IDF of words and word pairs; of characters, where words are not spaced."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    text = "".join(texts)
    if sum(character.isspace() for character in text) >= _SPACES * len(text):
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)


def baseline_probabilities(pipeline: Pipeline, rows: Rows[LabelledText]) -> Floats:
    """Probabilities (rows, labels)."""
    return np.asarray(pipeline.predict_proba([row.text for row in rows]), dtype=np.float64)

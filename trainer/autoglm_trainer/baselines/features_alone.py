"""The plain baseline of node classification: what a node's own features tell, without any edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.rows.node import Node


def answer_by_features(known: Sequence[Node], asked: Sequence[Node]) -> Floats:
    """Probabilities (asked, labels) of the sorted labels: logistic regression on words and standardised numbers."""
    # A second of every worker's start, for what only the report needs.
    from scipy.sparse import hstack
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    vectorizer, scaler = DictVectorizer(), StandardScaler()

    def seen(nodes: Sequence[Node], *, learn: bool) -> object:
        words = [dict.fromkeys(node.words, 1 / max(1, len(set(node.words)))) for node in nodes]
        numbers = np.array([node.numbers for node in nodes], dtype=np.float64).reshape(len(nodes), -1)
        counted = vectorizer.fit_transform(words) if learn else vectorizer.transform(words)
        if not numbers.shape[1]:
            return counted
        scaled = scaler.fit_transform(numbers) if learn else scaler.transform(numbers)
        return hstack([counted, scaled]).tocsr()

    # Shares of words are small numbers; the usual penalty would leave nothing of their weights.
    model = LogisticRegression(C=100.0, max_iter=1_000)
    model.fit(seen(known, learn=True), [node.label for node in known])
    return np.asarray(model.predict_proba(seen(asked, learn=False)), dtype=np.float64)

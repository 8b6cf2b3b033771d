"""Logistic regression for classes, ridge regression for numbers, on scaled features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph

from .learner import Lesson

_ITERATIONS = 2_000
# A class with this bias has probability 0.
_NEVER = -1e9


class Linear:
    """One weight a feature; solved, not trained step by step."""

    def learn(self, lesson: Lesson) -> LearnedLinear:
        """Solve."""
        from sklearn.linear_model import LogisticRegression, Ridge

        values = lesson.features.of(lesson.features.scaled, lesson.cells).astype(np.float64)
        strength = lesson.settings.linear_c
        known = np.unique(lesson.truth)
        if lesson.classes and len(known) == 1:  # a fold may lack the only row of a class
            weights = np.zeros((values.shape[1], lesson.classes))
            bias = np.where(np.arange(lesson.classes) == known[0], 0.0, _NEVER)
        elif lesson.classes:
            model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
            model.fit(values, lesson.truth, sample_weight=lesson.weights)
            weights, bias = _of_classes(model.coef_, model.intercept_, model.classes_.astype(int), lesson.classes)
        else:
            model = Ridge(alpha=1 / strength).fit(values, lesson.truth, sample_weight=lesson.weights)
            weights, bias = model.coef_.reshape(-1, 1), np.atleast_1d(model.intercept_)
        lesson.course.heartbeat()
        return LearnedLinear(weights, bias, lesson.features, is_classifier=bool(lesson.classes))


@dataclass(frozen=True)
class LearnedLinear:
    """Weights (features, outputs) and bias (outputs,)."""

    weights: Floats
    bias: Floats
    features: Features
    is_classifier: bool

    def answer(self, cells: Cells) -> Floats:
        """See `Learned`."""
        outputs = self.features.of(self.features.scaled, cells).astype(np.float64) @ self.weights + self.bias
        if not self.is_classifier:
            return np.asarray(outputs)
        powers = np.exp(outputs - outputs.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def add_to(self, graph: Graph, features: Features) -> str:
        """See `Learned`."""
        output = graph.add("Gemm", features.scaled, graph.constant(self.weights), graph.constant(self.bias))
        return graph.add("Softmax", output, axis=1) if self.is_classifier else output


def _of_classes(weights: Floats, bias: Floats, known: Floats, classes: int) -> tuple[Floats, Floats]:
    """Of each class; of two the first has weight 0, and one that a fold does not know has probability 0."""
    if len(known) == 2:
        weights, bias = np.stack([np.zeros_like(weights[0]), weights[0]]), np.array([0.0, bias[0]])
    whole, biases = np.zeros((classes, weights.shape[1])), np.full(classes, _NEVER)
    whole[known], biases[known] = weights, bias
    return whole.T, biases

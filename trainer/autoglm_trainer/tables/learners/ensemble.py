"""All learners together, weighted by how well they answer rows that they were not trained on.

Source of the weights: Caruana et al. 2004, "Ensemble Selection from Libraries of Models": the model that helps most is
added again and again, so how often it was added is its weight; no model that does not help has any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoglm_api.catalog.tabular import MEMBERS
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph

from .held_out import HeldOut
from .learner import Learned, Lesson, get_learner

ROUNDS = 25


class Ensemble:
    """Each member is trained on all folds but one and answers that one, in turn; then on all rows."""

    def learn(self, lesson: Lesson) -> LearnedEnsemble:
        """Find the weights, then train the members that have one."""
        return self.learn_held_out(lesson)[0]

    def learn_held_out(self, lesson: Lesson) -> tuple[LearnedEnsemble, HeldOut]:
        """The same, and what the members answered for rows that they had not seen."""
        held_out = HeldOut(lesson, {member.name: get_learner(member.name) for member in MEMBERS})
        held_out.fill()
        weights = _weights(held_out, held_out.rows)
        members = ((weight, member.name) for weight, member in zip(weights, MEMBERS, strict=True) if weight > 0)
        return LearnedEnsemble(tuple((weight, held_out.whole(name)) for weight, name in members)), held_out


def answers_by_other_folds(held_out: HeldOut) -> Floats:
    """For each held-out row what the members answer, weighted by how well they answer the other folds; (rows, outputs).

    Rows that are not held out have no answer of use.
    """
    lesson, rows = held_out.lesson, held_out.rows
    mixed: Floats = np.zeros(lesson.targets.shape)
    for fold in held_out.folds:
        weights = _weights(held_out, rows[lesson.folds[rows] != fold])
        asked = lesson.folds == fold
        mixed[asked] = sum(
            weight * held_out.answers[member.name][asked] for weight, member in zip(weights, MEMBERS, strict=True)
        )
    return mixed


def _weights(held_out: HeldOut, judged: Ints) -> list[float]:
    """Of the members by some held-out rows; alike where there are none, as where all are of one moment."""
    if not len(judged):
        return [1 / len(MEMBERS)] * len(MEMBERS)
    lesson = held_out.lesson
    answers = [held_out.answers[member.name][judged] for member in MEMBERS]
    return greedy_weights(answers, lesson.targets[judged], lesson.weights[judged], classes=lesson.classes)


@dataclass(frozen=True)
class LearnedEnsemble:
    """Members, each with its weight; the weights' sum is 1."""

    members: tuple[tuple[float, Learned], ...]

    def answer(self, cells: Cells) -> Floats:
        """See `Learned`."""
        return np.asarray(sum(weight * member.answer(cells) for weight, member in self.members))

    def add_to(self, graph: Graph, features: Features) -> str:
        """See `Learned`."""
        parts = [
            graph.add("Mul", member.add_to(graph, features), graph.constant(weight)) for weight, member in self.members
        ]
        return graph.add("Sum", *parts)


def greedy_weights(answers: list[Floats], targets: Floats, weights: Floats, *, classes: int) -> list[float]:
    """A weight for each of several models, 0 … 1, together 1.

    Args:
        answers: of each model, (rows, outputs).
        targets: (rows, outputs).
        weights: of the rows.
        classes: 0 = numbers, judged by their squared error; otherwise by cross-entropy.
    """
    counts: Ints = np.zeros(len(answers), dtype=np.int64)
    total: Floats = np.zeros_like(targets)
    best = (np.inf, counts)
    for _ in range(ROUNDS):
        size = counts.sum() + 1
        losses = [_loss((total + each) / size, targets, weights, classes=classes) for each in answers]
        chosen = int(np.argmin(losses))
        total = total + answers[chosen]
        counts = counts + (np.arange(len(answers)) == chosen)
        if losses[chosen] < best[0]:
            best = (losses[chosen], counts)
    return [float(weight) for weight in best[1] / best[1].sum()]


def _loss(answers: Floats, targets: Floats, weights: Floats, *, classes: int) -> float:
    if not classes:
        return float(np.average((answers - targets)[:, 0] ** 2, weights=weights))
    of_truth = np.clip((answers * targets).sum(1), 1e-12, 1)
    return float(np.average(-np.log(of_truth), weights=weights))

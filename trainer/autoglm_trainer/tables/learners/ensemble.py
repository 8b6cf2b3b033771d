"""All learners together, weighted by how well they answer rows that they were not trained on.

Source of the weights: Caruana et al. 2004, "Ensemble Selection from Libraries of Models": the model that helps most is
added again and again, so how often it was added is its weight; no model that does not help has any.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from autoglm_api.catalog.tabular import MEMBERS
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph

from .learner import Learned, Lesson

ROUNDS = 25
_ANSWERS = "answers.safetensors"


class Ensemble:
    """Each member is trained on all folds but one and answers that one, in turn; then on all rows."""

    def learn(self, lesson: Lesson) -> LearnedEnsemble:
        """Find the weights, then train the members that have one."""
        from . import get_learner

        held_out = _HeldOut(lesson)
        for member in MEMBERS:
            for fold in held_out.folds:
                held_out.answer(member.name, fold)
        weights = held_out.weights()
        course = lesson.course.quiet()
        everything = np.arange(len(lesson))
        members = tuple(
            (weight, get_learner(member.name).learn(lesson.of(everything, course, lesson.seed)))
            for member, weight in zip(MEMBERS, weights, strict=True)
            if weight > 0
        )
        return LearnedEnsemble(members)


@dataclass
class _HeldOut:
    """What each member answers for rows that it has not seen; what a checkpoint brings is not done again."""

    lesson: Lesson
    answers: dict[str, Floats] = field(default_factory=dict)
    done: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.lesson.course.resume_from is not None:
            self.answers = load_file(self.lesson.course.resume_from / _ANSWERS)
            self.done = {
                (name, fold) for name, found in self.answers.items() for fold in self.folds if self._whole(found, fold)
            }

    @property
    def folds(self) -> list[int]:
        """Those that are held out; by time the first one is only learned from."""
        known = sorted(set(self.lesson.folds.tolist()) - {-1})
        return known[1:] if self.lesson.in_turn else known

    def answer(self, name: str, fold: int) -> None:
        """Train a member without a fold, and have it answer the fold's rows."""
        from . import get_learner

        if (name, fold) in self.done:
            return
        lesson = self.lesson
        learned_from = lesson.folds < fold if lesson.in_turn else lesson.folds != fold
        seed = random.Random(f"{lesson.seed}/{name}/{fold}").getrandbits(31)
        part = lesson.of(np.flatnonzero(learned_from), lesson.course.quiet(), seed)
        answers = get_learner(name).learn(part).answer(lesson.cells[lesson.folds == fold])
        whole = self.answers.setdefault(name, np.full(lesson.targets.shape, np.nan))
        whole[lesson.folds == fold] = answers
        self.done.add((name, fold))
        lesson.course.checkpoint(0, self._write)

    def weights(self) -> list[float]:
        """Of the members; alike where all training rows are of one moment, so that none can be held out."""
        if not self.folds:
            return [1 / len(MEMBERS)] * len(MEMBERS)
        lesson = self.lesson
        judged = np.flatnonzero(lesson.folds >= self.folds[0])
        answers = [self.answers[member.name][judged] for member in MEMBERS]
        return greedy_weights(answers, lesson.targets[judged], lesson.weights[judged], classes=lesson.classes)

    def _whole(self, found: Floats, fold: int) -> bool:
        return not np.isnan(found[self.lesson.folds == fold]).any()

    def _write(self, folder: Path) -> None:
        save_file(self.answers, folder / _ANSWERS)


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

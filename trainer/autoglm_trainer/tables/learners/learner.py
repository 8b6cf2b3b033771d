"""What a learner is given, and what it must answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from autoglm_trainer.contract import TrialControl
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph
from autoglm_trainer.tables.settings import TableSettings

# A step is a tenth of a trial's training, whatever trains.
STEPS = 10


@dataclass(frozen=True)
class Course:
    """How far a training has come, as the worker hears of it.

    Attributes:
        control: the worker's side.
        value: answers to the watched rows → the metric.
        watched: cells of the rows that reports are made of.
        told: whether reports are made.
        kept: whether checkpoints are.
    """

    control: TrialControl
    value: Callable[[Floats], float]
    watched: Cells
    told: bool = True
    kept: bool = True

    @property
    def resume_from(self) -> Path | None:
        """What an earlier attempt wrote."""
        return self.control.resume_from if self.kept else None

    def heartbeat(self) -> None:
        """Something has been done; ends the training if it must end."""
        self.control.heartbeat()

    def report(self, step: int, answers: Callable[[Cells], Floats]) -> None:
        """`step` tenths are over; `answers` is asked for the watched rows."""
        if self.told:
            self.control.report(step, self.value(answers(self.watched)))

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Offer a checkpoint."""
        if self.kept:
            self.control.checkpoint(step, write)

    def quiet(self) -> Course:
        """The same for a part of a training that nobody watches."""
        return replace(self, told=False, kept=False)


@dataclass(frozen=True)
class Lesson:
    """Training rows and all that is known of them.

    Attributes:
        cells: (rows, parts).
        targets: (rows, classes) of 0 and 1; or the number, of mean 0 and variance 1, as (rows, 1).
        classes: how many there are; 0 = a number is to be told.
        weights: (rows,); their mean is 1.
        folds: for each row the part that it is held out with when weights are sought, -1 = never.
        in_turn: parts are in time's order: of each, only earlier ones may be learned from.
    """

    features: Features
    cells: Cells
    targets: Floats
    classes: int
    weights: Floats
    folds: Ints
    in_turn: bool
    settings: TableSettings
    course: Course
    seed: int

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def truth(self) -> Floats | Ints:
        """Class indices, or numbers; (rows,)."""
        return self.targets.argmax(1) if self.classes else self.targets[:, 0]

    @property
    def threads(self) -> int:
        """How many a learner may use."""
        return torch.get_num_threads()

    def of(self, rows: Ints, course: Course, seed: int) -> Lesson:
        """Of some rows only."""
        return replace(
            self,
            cells=self.cells[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            folds=self.folds[rows],
            course=course,
            seed=seed,
        )


class Learned(Protocol):
    """A trained learner."""

    def answer(self, cells: Cells) -> Floats:
        """Probabilities (rows, classes), or numbers (rows, 1), as the learner's own library has them."""

    def add_to(self, graph: Graph, features: Features) -> str:
        """Add the nodes that answer the same; the name of their output."""


class Learner(Protocol):
    """A way to learn; it holds nothing between lessons."""

    def learn(self, lesson: Lesson) -> Learned:
        """Train; the same lesson gives the same model, resumed or not.

        Raises:
            TrialPruned, Interrupted: from the course's control, let through.
        """


def in_classes(found: Floats, known: Ints, classes: int) -> Floats:
    """Probabilities of the classes that a fold had, as probabilities of all of them."""
    if found.shape[1] == classes:
        return found
    whole = np.zeros((len(found), classes))
    whole[:, known] = found
    return whole

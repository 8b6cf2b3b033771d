"""What a learner is given, and what it must answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from autoglm_api.catalog.tabular import LEARNERS
from autoglm_api.plugins import resolve
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
        resumed: whether it is what an earlier attempt was stopped in.
        step: of a part of a training, the last report before it.
        before: of a part, writes what the parts before it have answered.
    """

    control: TrialControl
    value: Callable[[Floats], float]
    watched: Cells
    told: bool = True
    resumed: bool = True
    step: int | None = None
    before: Callable[[Path], None] = field(default=lambda _: None)

    @property
    def resume_from(self) -> Path | None:
        """What an earlier attempt wrote."""
        return self.control.resume_from if self.resumed else None

    def heartbeat(self) -> None:
        """Something has been done; ends the training if it must end."""
        self.control.heartbeat()

    def report(self, step: int, answers: Callable[[Cells], Floats]) -> None:
        """`step` tenths are over; `answers` is asked for the watched rows."""
        if self.told:
            self.control.report(step, self.value(answers(self.watched)))

    def tell(self, step: int, value: float) -> None:
        """The answers to all folds so far are worth `value`."""
        if self.told:
            self.control.report(step, value)

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Offer a checkpoint."""

        def everything(folder: Path) -> None:
            self.before(folder)
            write(folder)

        self.control.checkpoint(step if self.step is None else self.step, everything)

    def part(self, before: Callable[[Path], None], *, step: int, resumed: bool) -> Course:
        """The same for a part of a training, which makes no reports of its own."""
        return replace(self, told=False, before=before, step=step, resumed=resumed)


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
        make: features as some of the rows alone would have them, by their numbers.
    """

    features: Features
    make: Callable[[Ints], Features]
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

    def of(self, rows: Ints) -> Lesson:
        """Of some rows only; nothing in it comes from others."""
        return replace(
            self,
            features=self.make(rows),
            cells=self.cells[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            folds=self.folds[rows],
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


def get_learner(name: str) -> Learner:
    """The learner called `name`, one that the catalog declares."""
    learner: Learner = resolve(LEARNERS[name].trainer)()
    return learner


def in_classes(found: Floats, known: Ints, classes: int) -> Floats:
    """Probabilities of the classes that a fold had, as probabilities of all of them."""
    if found.shape[1] == classes:
        return found
    whole = np.zeros((len(found), classes))
    whole[:, known] = found
    return whole

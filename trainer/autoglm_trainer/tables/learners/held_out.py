"""What learners answer for training rows that they have not seen: fold by fold, gone on with where it was stopped.

Source: Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions".
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from autoglm_trainer.metrics import Floats, Ints

from .learner import Course, Learned, Learner, Lesson

_ANSWERS, _PART = "answers.safetensors", "part.json"
# The part of a training that is no fold: the model itself, of all rows.
_WHOLE = -1


@dataclass
class HeldOut:
    """Answers of some learners, each for the rows of a fold by what it learned from the others.

    Attributes:
        learners: by name.
        answers: of each learner, (rows, outputs).
        done: learner and fold, as far as they are answered.
        reported: the last report.
    """

    lesson: Lesson
    learners: Mapping[str, Learner]
    answers: dict[str, Floats] = field(default_factory=dict)
    done: set[tuple[str, int]] = field(default_factory=set)
    reported: int = 0
    _stopped: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        folder = self.lesson.course.resume_from
        if folder is None:
            self.answers = {name: np.zeros(self.lesson.targets.shape) for name in self.learners}
            return
        self.answers = load_file(folder / _ANSWERS)
        noted = json.loads((folder / _PART).read_text(encoding="utf-8"))
        self.done = {(name, fold) for name, fold in noted["done"]}
        self.reported, self._stopped = noted["reported"], (noted["learner"], noted["fold"])

    @property
    def folds(self) -> list[int]:
        """Those that are held out; by time the first one is only learned from. None if all rows belong together."""
        known = sorted(set(self.lesson.folds.tolist()) - {-1})
        return known[1:] if self.lesson.in_turn or len(known) == 1 else known

    @property
    def rows(self) -> Ints:
        """Rows that every learner has answered."""
        whole = [fold for fold in self.folds if all((name, fold) in self.done for name in self.learners)]
        return np.flatnonzero(np.isin(self.lesson.folds, whole))

    def fill(self, told: Callable[[], float | None] = lambda: None) -> None:
        """Have every fold answered by every learner, and report what `told` makes of the answers so far, if anything.

        The first fold alone is not reported: by so few rows chance would decide which trial is given up.

        Raises:
            TrialPruned, Interrupted: from the course's control, let through.
        """
        for step, fold in enumerate(self.folds):
            left = [name for name in self.learners if (name, fold) not in self.done]
            if left:
                self._answer(left, fold)
            value = told() if step > self.reported else None
            self.reported = max(step, self.reported)
            if value is not None:
                self.lesson.course.tell(step, value)

    def _answer(self, names: list[str], fold: int) -> None:
        lesson, asked = self.lesson, self.lesson.folds == fold
        part = lesson.of(np.flatnonzero(lesson.folds < fold if lesson.in_turn else ~asked))
        for name in names:
            seed = random.Random(f"{lesson.seed}/{name}/{fold}").getrandbits(31)
            learned = self.learners[name].learn(replace(part, course=self._course(name, fold), seed=seed))
            self.answers[name][asked] = learned.answer(lesson.cells[asked])
            self.done.add((name, fold))

    def whole(self, name: str) -> Learned:
        """What a learner learns from all rows."""
        return self.learners[name].learn(replace(self.lesson, course=self._course(name, _WHOLE)))

    def _course(self, name: str, fold: int) -> Course:
        """The course of one part; its checkpoints hold what was answered before."""

        def write(folder: Path) -> None:
            save_file(self.answers, folder / _ANSWERS)
            noted = {"learner": name, "fold": fold, "done": sorted(self.done), "reported": self.reported}
            (folder / _PART).write_text(json.dumps(noted), encoding="utf-8")

        return self.lesson.course.part(write, step=self.reported, resumed=self._stopped == (name, fold))

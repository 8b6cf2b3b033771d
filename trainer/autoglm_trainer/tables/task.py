"""A task on a table: typed once, learned from in many ways; what is trained is a graph, and is asked as one."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from autoglm_api.base import Scalar
from autoglm_api.manifest import DataDigests
from autoglm_trainer.contract import Predictions, Section, SplitName, TrialControl
from autoglm_trainer.errors import DataError, ExportError
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.predictions.scored import Decision

from .answers import Answers, Truth
from .baseline import forest_probabilities, ridge_values
from .features import Choices, Features, make_features
from .folds import folds_of
from .graph import Session
from .learners import Course, HeldOut, Learned, Lesson, get_learner
from .learners.ensemble import Ensemble, answers_by_other_folds
from .model import CHECKED_ROWS, GRAPH, HELD_OUT, LATENCY, SETTINGS, FittedTable, HeldOutAnswers
from .settings import TableSettings
from .table import Shown, Table

# Reports while training look at this many validation rows.
REPORT_ROWS = 1_000
# Up to so many training rows these judge a trial, too: validation rows alone would be so few that the best of many
# trials is a lucky one.
FEW_ROWS = 5_000
# Numbers of the libraries are doubles, the graph's are not; a split right at a cell's value may fall either way.
TOLERANCE = 1e-3


@dataclass
class LoadedTable:
    """Rows in memory; meets `contract.LoadedTask`.

    Attributes:
        metric: the objective's.
        seed: deals training rows out into folds, the same for all trials, so that these can be compared.
    """

    table: Table
    answers: Answers
    metric: str
    seed: int
    _features: dict[Choices, Features] = field(default_factory=dict, repr=False)

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.table.rows.splits.digests

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""
        return "test" in self.row_counts

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return self.table.rows.splits.counts

    @property
    def baseline_name(self) -> str:
        """What the baseline is."""
        return "random forest" if self.answers.labels else "ridge regression"

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.answers.declaration.metrics[self.metric] == "Maximize"

    def overlap(self, split: SplitName) -> int:
        """How many rows of `split` also stand in the training rows, or belong to a group that does."""
        self.check_split(split)
        return self.table.rows.splits.overlap(split)

    def check_split(self, split: str) -> None:
        """Refuse a split without rows.

        Raises:
            DataError: the study names none.
        """
        if split not in self.row_counts:
            raise DataError(f"data.{split}: the study names no {split} rows; add data.{split}.source")

    def baseline(self, split: SplitName) -> Predictions:
        """A plain random forest, or a ridge regression."""
        self.check_split(split)
        targets = self.answers.targets()
        plain = forest_probabilities if self.answers.labels else ridge_values
        outputs = self.answers.scaled(plain(self.table, targets, split))
        usual = self.settings({})
        decision = self.answers.decide(usual, self.answers.truth[split], outputs, self.metric)
        return self.predictions(split, outputs, decision)

    def settings(self, parameters: Mapping[str, Scalar]) -> TableSettings:
        """Every knob at a point."""
        return TableSettings.of(self.answers.declaration, parameters)

    def features(self, settings: TableSettings) -> Features:
        """The features at a point; made once for each choice."""
        if settings.choices not in self._features:
            made = make_features(self.table.schema, self.table.cells["train"], self.answers.targets(), settings.choices)
            self._features[settings.choices] = made
        return self._features[settings.choices]

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedTable:
        """Train at `parameters`, and have the graph answer from then on.

        Raises:
            ExportError: the graph answers differently from what was trained.
        """
        settings = self.settings(parameters)
        features = self.features(settings)
        learned, held_out = self._learn(settings, self._lesson(settings, features, control))
        graph = features.graph.copy()
        output = self.answers.finish(graph, learned.add_to(graph, features))
        model = graph.model(output, self.answers.output)
        self._check(model, learned)
        truth, outputs = self.judged(held_out, Session(model).run(self.table.cells["validation"]))
        decision = self.answers.decide(settings, truth, outputs, self.metric)
        return FittedTable(self, settings, model, decision, held_out)

    def _learn(self, settings: TableSettings, lesson: Lesson) -> tuple[Learned, HeldOutAnswers | None]:
        """On a small table also what the training rows say of the point, each held out once."""
        learner, judged = get_learner(settings.method), self.judges(settings)
        if isinstance(learner, Ensemble):
            ensemble, held_out = learner.learn_held_out(lesson)
            outputs = self.answers.scaled(answers_by_other_folds(held_out))
            return ensemble, HeldOutAnswers(held_out.rows, outputs[held_out.rows]) if judged else None
        if not judged:
            return learner.learn(lesson), None
        held_out = HeldOut(lesson, {settings.method: learner})

        def answered() -> HeldOutAnswers:
            rows = held_out.rows
            return HeldOutAnswers(rows, self.answers.scaled(held_out.answers[settings.method][rows]))

        def worth() -> float | None:
            known = answered()
            value = self._value(settings, self.answers.truth["train"][known.rows], known.outputs)
            return value if self.metric != LATENCY and math.isfinite(value) else None

        held_out.fill(worth)
        return held_out.whole(settings.method), answered()

    def judges(self, settings: TableSettings) -> bool:
        """Whether training rows judge a trial, too."""
        return settings.judged_by == "folds" and self.row_counts["train"] <= FEW_ROWS

    def judged(
        self, held_out: HeldOutAnswers | None, outputs: Floats, split: str = "validation"
    ) -> tuple[Truth, Floats]:
        """Truth and outputs of all rows that judge: those of `split`, and training rows beside validation rows."""
        truth = self.answers.truth
        if split != "validation" or held_out is None:
            return truth[split], outputs
        return np.concatenate([truth["train"][held_out.rows], truth[split]]), np.concatenate(
            [held_out.outputs, outputs]
        )

    def _value(self, settings: TableSettings, truth: Truth, outputs: Floats) -> float:
        decision = self.answers.decide(settings, truth, outputs, self.metric)
        return self.answers.predictions(truth, outputs, decision).measure().get(self.metric, math.nan)

    def _lesson(self, settings: TableSettings, features: Features, control: TrialControl) -> Lesson:
        cells, targets, classes = self.table.cells["train"], self.answers.targets(), len(self.answers.labels)
        watched = self._watched()

        def value(outputs: Floats) -> float:
            return self._value(settings, self.answers.truth["validation"][watched], self.answers.scaled(outputs))

        def make(rows: Ints) -> Features:
            return make_features(self.table.schema, cells[rows], targets[rows], settings.choices)

        folds, in_turn = folds_of(self.table, settings.folds, seed=self.seed, classes=classes)
        return Lesson(
            features=features,
            make=make,
            cells=cells,
            targets=targets,
            classes=classes,
            weights=self.answers.weights(settings),
            folds=folds,
            in_turn=in_turn,
            settings=settings,
            course=Course(control, value, self.table.cells["validation"][watched], told=self.metric != LATENCY),
            seed=random.Random(control.seed).getrandbits(31),
        )

    def _watched(self) -> Ints:
        """Every k-th validation row: a fixed sample that does not depend on how the source is ordered."""
        count = self.row_counts["validation"]
        return np.arange(0, count, -(-count // REPORT_ROWS))

    def _check(self, model: bytes, learned: Learned) -> None:
        cells = self.table.cells["validation"][:CHECKED_ROWS]
        ours, theirs = Session(model).run(cells), self.answers.scaled(learned.answer(cells))
        difference = float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max(initial=0.0))
        # Written so that a NaN fails too; a network that has run away is a matter of its metrics.
        if np.isfinite(theirs).all() and not difference <= TOLERANCE:
            raise ExportError(
                f"the exported graph answers differently: its numbers differ by up to {difference:.2g} (allowed"
                f" {TOLERANCE:g}); please report this with the study's parameters"
            )

    def predictions(
        self, split: str, outputs: Floats, decision: Decision, model: FittedTable | None = None
    ) -> Predictions:
        """Outputs of a split's rows beside their truth."""
        shown = Shown(self.table, self.table.rows.splits.by_name[split])

        def why() -> Sequence[Section]:
            return [] if model is None else model.sections(split)

        return self.answers.predictions(self.answers.truth[split], outputs, decision, shown, why)

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedTable:
        """The model that `save` wrote.

        Raises:
            DataError: the rows have other classes or columns now.
        """
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        for what, known in (("classes", list(self.answers.labels)), ("columns", list(self.table.schema.parts))):
            if written[what] != known:
                raise DataError(
                    f"data.train: the {what} are now {known[:20]}, the saved model has {written[what][:20]};"
                    " the rows changed while the study ran, start a new study"
                )
        settings = self.settings({**written["parameters"], **parameters})
        held_out = None
        if (folder / HELD_OUT).is_file():
            held_out = HeldOutAnswers(**load_file(folder / HELD_OUT))
        return FittedTable(self, settings, (folder / GRAPH).read_bytes(), Decision(**written["decision"]), held_out)

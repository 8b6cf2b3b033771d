"""What the worker asks of a task, and what a task may ask of the worker. Everything else is either side's own affair.

A task is loaded once per process; base model, tokenizer, tokens and frozen features stay in memory between
trials. Then, for each trial: `fit` (reports, checkpoints, may be stopped) → `evaluate` → `save`. At the end, once:
`restore` → `predict` → `export` → `on_complete`, if it has that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from tokenizers import Tokenizer

from autoglm_api.attempts import Export
from autoglm_api.base import Scalar
from autoglm_api.locations import Location
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run

from .metrics import Ints

SplitName = Literal["validation", "test"]


@dataclass(frozen=True)
class Places:
    """Where a task finds its inputs, with the credentials that belong to each.

    Attributes:
        data: URI → location, for sources of rows (`autoglm_api.locations.locate_rows`).
        model: the same for the base model's folder.
        model_credentials: keys of the model's Secret (`HF_TOKEN`).
        scratch: a writable folder for downloads.
    """

    data: Callable[[str], Location]
    model: Callable[[str], Location]
    model_credentials: Mapping[str, str]
    scratch: Path


class TrialControl(Protocol):
    """The worker's side of one attempt, handed to `fit`."""

    @property
    def seed(self) -> int:
        """Seeds everything random in this attempt; equal for all attempts of one logical trial."""

    @property
    def resume_from(self) -> Path | None:
        """A folder that an earlier attempt's `write` filled, or None for a fresh start."""

    def report(self, step: int, value: float) -> None:
        """Report the objective metric on validation rows after `step` (counted from 1, increasing).

        A step is the same share of the rows in every trial (text classification: half an epoch), so pruners may
        compare trials. A trial without a course to watch (a closed-form head) reports nothing.

        Raises:
            TrialPruned: the pruner has given this trial up.
            Interrupted: a deadline, timeout, SIGTERM or lost lease ends the attempt; let it pass through.
        """

    def heartbeat(self) -> None:
        """Call at least once per optimiser step; cheap. Raises `Interrupted` like `report`."""

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Offer a checkpoint; `write` is called with an empty folder only if one is due.

        `step` is the last *reported* step, 0 before the first, so a resumed attempt reports `step + 1` next. It is
        offered after every optimiser step, hence several times with the same `step`; the newest replaces the others.
        """


class FittedModel(Protocol):
    """A trained model. It stays usable after later calls of `fit`; switching back and forth costs a copy of weights."""

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics of the task on `split`; values may be NaN, never missing.

        Those on validation rows are what a trial is judged by. A task may add training rows that are answered by models
        which have not seen them (tables do, while they are small).

        Raises:
            DataError: there is no such split.
        """

    def save(self, folder: Path) -> None:
        """Write the weights (safetensors and JSON only), enough for `LoadedTask.restore`."""

    def export(self, folder: Path) -> ExportDescription:
        """Write weights (ONNX, or safetensors where texts are written) and tokenizer files for the server.

        They are checked against this model's own predictions.

        Raises:
            ExportError: what was exported answers differently.
        """

    def predict(self, split: SplitName) -> Predictions:
        """What this model says of each row of `split`, for the report."""


@dataclass(frozen=True)
class ExportDescription:
    """What the manifest must say of the exported files beyond their digests.

    Attributes:
        labels: the model's classes by index; empty where a task has none.
        max_length: tokens that an item may have; 0 where nothing is tokens.
        inputs: names of the graph's inputs; empty where there is no graph.
        settings: what the server must know besides (windows, thresholds).
        tokenizer: as the server gets it, but for padding; None = the base model's, cut to `max_length`.
    """

    labels: tuple[str, ...]
    max_length: int
    inputs: tuple[str, ...]
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None


@dataclass(frozen=True)
class Mistake:
    """A wrongly answered row, in words; `picture`: a small PNG as a data URI."""

    item: str
    truth: str
    answer: str
    confidence: float | None = None
    picture: str | None = None


@dataclass(frozen=True)
class Matrix:
    """A section of the report: counts (labels, labels), rows are the truth, columns the answer."""

    title: str
    note: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Table:
    """A section of the report: cells are words or numbers; the first column names the row."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True)
class Curves:
    """A section of the report: lines, name → (x values, y values), each of one length.

    Attributes:
        dots: names of those that are drawn as points.
    """

    title: str
    note: str
    x_label: str
    y_label: str
    lines: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    dots: tuple[str, ...] = ()


Section = Matrix | Table | Curves


class Predictions(Protocol):
    """What a model says of the rows of one split, beside the truth."""

    def __len__(self) -> int:
        """Rows."""

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """The task's metrics, but for latency, over `rows` (indices, with repetition: a bootstrap); None = all."""

    def wrong(self) -> int | None:
        """How many rows are not answered exactly right; None where nobody expects an answer to be."""

    def mistakes(self, limit: int) -> list[Mistake]:
        """Wrong answers that teach most, worst first."""

    def sections(self) -> list[Section]:
        """What the report shows of where the model is wrong."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What a trial will need, about, beside what there is; all that this process, and those that train with it, hold.

    Attributes:
        needed: bytes.
        limit: bytes.
        place: `the GPU`, `the container`.
    """

    needed: int
    limit: int
    place: str


@runtime_checkable
class Estimates(Protocol):
    """A loaded task that knows before a trial what memory it will take; a trial that cannot fit is not begun."""

    def estimate(self, parameters: Mapping[str, Scalar]) -> MemoryEstimate | None:
        """What `fit` will need at `parameters`; None where it cannot be told."""


@runtime_checkable
class Completes(Protocol):
    """A loaded task with something to do when its study is over; most have nothing."""

    def on_complete(self, export: Export) -> None:
        """Called by the export when the model's files are all there; again if the study is exported again.

        An error here is logged and changes nothing: the model stands.
        """


@runtime_checkable
class Compares(Protocol):
    """A loaded task with more to compare the winner with than its default configuration and a baseline."""

    def rivals(self, parameters: Mapping[str, Scalar]) -> Mapping[str, Mapping[str, Scalar]]:
        """For a winner at `parameters`: name → the point that the report trains beside it, on the same rows."""


@runtime_checkable
class ShowsData(Protocol):
    """A loaded task that has something to show of its rows."""

    def data_sections(self) -> list[Section]:
        """What the report shows of the rows: what cleaning did, labels in doubt."""


@runtime_checkable
class Refits(Protocol):
    """A loaded task that can train on training and validation rows together, when nothing is left to choose."""

    def refit(self, parameters: Mapping[str, Scalar], control: TrialControl, *, reports: int | None) -> FittedModel:
        """As `fit`, with the validation rows after the training rows; nothing is reported.

        Args:
            parameters: the winner's point. How long it trains is the point's affair, but for patience.
            control: as for `fit`.
            reports: end where `fit` would report so often, with the weights as they are then; None = at the end.

        Raises:
            Infeasible: as `fit`.
        """


@runtime_checkable
class Derives(Protocol):
    """A loaded task that makes something of its own of points that leave it open, such as a text bred from the best."""

    def derive(
        self,
        parameters: Mapping[str, Scalar],
        *,
        best: Sequence[Mapping[str, Scalar]],
        tried: Sequence[Mapping[str, Scalar]],
        seed: int,
    ) -> Mapping[str, Scalar]:
        """Values that take the place of some of `parameters`; noted with the trial, so all attempts get the same.

        Args:
            parameters: the point.
            best: whole points of the best trials so far, best first.
            tried: whole points of all trials that have begun.
            seed: the attempt's own.
        """


class LoadedTask(Protocol):
    """A task with model and data in memory."""

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""

    def overlap(self, split: SplitName) -> int:
        """How many rows of `split` also stand in the training rows: figures on them flatter."""

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedModel:
        """Train at one point of the space; parameters left out take the task's defaults.

        Raises:
            TrialPruned, Interrupted: from `control`; the task can `fit` again afterwards.
            Infeasible: a GPU's memory ran out twice.
        """

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedModel:
        """The model that `save` wrote to `folder`, answering exactly as it did.

        Raises:
            DataError: the labels of the training rows have changed since.
        """

    @property
    def baseline_name(self) -> str:
        """What the baseline is, in two or three words."""

    def baseline(self, split: SplitName) -> Predictions:
        """What a plain method without a language model answers, fitted on the training rows."""


class Task(Protocol):
    """One kind of problem; declared in `autoglm_api.catalog`, or by a plug-in."""

    def load(self, run: Run, places: Places) -> LoadedTask:
        """Read and check model and data; everything that can be refused is refused here.

        Raises:
            SpecError: the model cannot be used (no weights, pickled weights, unknown architecture, offline hub).
            DataError: the rows cannot be used (missing, empty, wrongly encoded, one class, label only in test).
        """

"""A task on a tuned language model: one backbone in memory, shared by all trials, their weights put in and out."""

from __future__ import annotations

import copy
import gc
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typing_extensions import TypeVar

from autoglm_api.base import Scalar
from autoglm_api.manifest import DataDigests
from autoglm_trainer.contract import ExportDescription, MemoryEstimate, Predictions, Section, SplitName, TrialControl
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.methods import Fitting, Kept, Method, get_method
from autoglm_trainer.metrics import Floats, latency_p95_ms
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.features import Features
from autoglm_trainer.model.graph import (
    HALF_TOLERANCE,
    TOLERANCE,
    check_graph,
    write_graph,
    write_tokenizer,
    write_weights,
)
from autoglm_trainer.model.memory import resident_bytes
from autoglm_trainer.model.network import Network, numbers
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.model.prompted import Guided
from autoglm_trainer.rows.cleaning import change_tables
from autoglm_trainer.tokens.examples import INFERENCE_BATCH, Examples, by_length, collate

from .estimate import estimate_memory
from .lessons import Lessons
from .problem import Doubts, Learning, Problem
from .ranks import Following, Order, Ranks, Verdict

WEIGHTS, SETTINGS = "weights.safetensors", "settings.json"
LATENCY = "latency_p95_ms"
# Reports while training look at this many validation rows; the trial's own value is measured on all of them.
REPORT_ROWS = 1_000
_CHECKED_EXAMPLES = 32

P = TypeVar("P", bound=Learning, default=Problem)
B = TypeVar("B", bound=Pretrained, default=BaseModel)


@dataclass
class LoadedTuned(Generic[P, B]):
    """Model and rows in memory; meets `contract.LoadedTask`.

    Attributes:
        metric: the objective's.
        time_every_model: whether the study judges models by their latency. Otherwise a network's latency is measured
            once, since it does not depend on its weights.
        ranks: who trains together with this process.
        current: the model whose weights the shared backbone holds.
        resident: bytes that the process holds without a trial, of the device's memory.
    """

    problem: P
    base: B
    metric: str
    time_every_model: bool = False
    ranks: Ranks = field(default_factory=Ranks)
    current: FittedTuned | None = None
    latencies: dict[tuple[object, ...], float] = field(default_factory=dict)
    features: Kept = field(init=False)
    resident: int = field(init=False)

    def __post_init__(self) -> None:
        self.features = self.kept_features()
        self.resident = self.base.nbytes if self.base.device.type == "cuda" else resident_bytes()

    def kept_features(self) -> Kept:
        """Features of the frozen backbone, none computed yet; here of a language model."""
        assert isinstance(self.base, BaseModel), "another kind of model has another kind of features"
        return Features(self.base)

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.problem.splits.digests

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""
        return "test" in self.problem.splits.counts

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return self.problem.splits.counts

    @property
    def baseline_name(self) -> str:
        """What the baseline is."""
        return self.problem.baseline_name

    def overlap(self, split: SplitName) -> int:
        """How many rows of `split` also stand in the training rows."""
        self.check_split(split)
        return self.problem.splits.overlap(split)

    def baseline(self, split: SplitName) -> Predictions:
        """What a plain method answers."""
        self.check_split(split)
        return self.problem.baseline(split)

    def data_sections(self) -> list[Section]:
        """What cleaning did to the training rows, and labels in doubt."""
        changes = change_tables(self.problem.splits.changes)
        return [*changes, *self.problem.doubts()] if isinstance(self.problem, Doubts) else changes

    def check_split(self, split: str) -> None:
        """Refuse a split without rows.

        Raises:
            DataError: the study names none.
        """
        if split not in self.problem.splits.counts:
            raise DataError(f"data.{split}: the study names no {split} rows; add data.{split}.source")

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedTuned:
        """Train at `parameters`; a GPU that runs out of memory with half a batch too makes the point infeasible."""
        return self._within_memory(self.problem.settings(parameters), partial(self._fit, control=control))

    def refit(self, parameters: Mapping[str, Scalar], control: TrialControl, *, reports: int | None) -> FittedTuned:
        """Train at `parameters` on training and validation rows; see `contract.Refits`."""
        settings = replace(self.problem.settings(parameters), patience=0)
        return self._within_memory(settings, partial(self._fit, control=control, blind=True, reports=reports))

    def _within_memory(self, settings: Any, fit: Callable[[Any], FittedTuned]) -> FittedTuned:
        try:
            return fit(settings)
        except torch.OutOfMemoryError:
            self._free()
        smaller = replace(settings, accumulation=min(2 * settings.accumulation, settings.batch_size))
        try:
            return fit(smaller)
        except torch.OutOfMemoryError as error:
            self._free()
            raise Infeasible(
                f"the GPU's memory is too small for method {settings.method} with batch_size {settings.batch_size}"
                f" and {settings.extent}, in {smaller.accumulation} parts too"
            ) from error

    def _fit(
        self, settings: Any, control: TrialControl, *, blind: bool = False, reports: int | None = None
    ) -> FittedTuned:
        """`blind`: the validation rows are learned from too, so nothing is measured on them."""
        torch.manual_seed(control.seed)
        self.current = None
        method = get_method(settings.method)
        fitted = self.fitted(settings, self.network(method, settings), {})
        self.current = fitted
        method.fit(
            Fitting(
                network=fitted.network,
                settings=settings,
                base=self.base,
                features=self.features,
                examples=self._lessons(settings, blind=blind),
                criterion=lambda examples: self.problem.criterion(examples, settings),
                control=control,
                evaluate=lambda trained: math.nan if blind else fitted.measure_now(self.metric, trained=trained),
                maximize=self.problem.declaration.metrics[self.metric] == "Maximize",
                ranks=self.ranks,
                reports=reports,
            )
        )
        fitted.weights = fitted.network.trained_weights()
        return fitted

    def _lessons(self, settings: Any, *, blind: bool) -> Lessons:
        train = self.problem.examples("train", settings)
        return train.joined(self.problem.examples("validation", settings)) if blind else train

    def estimate(self, parameters: Mapping[str, Scalar]) -> MemoryEstimate | None:
        """What `fit` will need; None where the model's config does not tell its sizes."""
        self.current = None
        self.base.undo()
        return estimate_memory(self.problem, self.base, self.problem.settings(parameters), self.resident, self.ranks)

    def follow(self, order: Order) -> None:
        """Train as rank 0 of data parallel training does; the model is its alone."""
        settings = replace(self.problem.settings(order.parameters), accumulation=order.accumulation)
        resume_from = Path(order.resume_from) if order.resume_from else None
        self.ranks.verdict = None
        try:
            self._fit(settings, Following(order.seed, resume_from))
        except torch.OutOfMemoryError:
            if self.ranks.verdict != Verdict.OUT_OF_MEMORY:
                raise  # rank 0 does not know of it and must learn it by this one's end
            self._free()

    def fitted(self, settings: Any, network: Network | None, weights: dict[str, Tensor]) -> FittedTuned:
        """A model of this task; without a network it makes one from `weights` when it is needed."""
        return FittedTuned(self, settings, network, weights)

    def network(self, method: Method, settings: Any) -> Network:
        """A fresh network around the shared backbone."""
        return method.build(self.base, settings, self.problem.head(self.base, settings))

    def _free(self) -> None:
        self.current = None
        self.base.undo()
        gc.collect()
        torch.cuda.empty_cache()

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedTuned:
        """The model that `save` wrote.

        Raises:
            DataError: the rows have other labels now.
        """
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if tuple(written["labels"]) != self.problem.labels:
            raise DataError(
                f"data.train: the labels are now {list(self.problem.labels)[:20]}, the saved model has"
                f" {written['labels'][:20]}; the rows changed while the study ran, start a new study"
            )
        settings = self.problem.settings({**written["parameters"], **parameters})
        fitted = self.fitted(settings, None, load_file(folder / WEIGHTS))
        fitted.activate()
        return fitted


@dataclass
class FittedTuned:
    """A trained model. Another one may have taken the shared backbone since; then its weights are put back first."""

    task: LoadedTuned[Any, Any]
    settings: Any
    _network: Network | None
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _logits: dict[str, tuple[Floats, ...]] = field(default_factory=dict, repr=False)

    @property
    def problem(self) -> Problem:
        """The task's own part."""
        problem: Problem = self.task.problem
        return problem

    @property
    def network(self) -> Network:
        """The network with this model's weights."""
        self.activate()
        assert self._network is not None, "an active model has a network"
        return self._network

    @property
    def sizes(self) -> dict[str, int]:
        """How many parameters were trained, and how many there are in all."""
        trained = sum(value.numel() for value in self.weights.values())
        return {"trained": trained, "total": sum(map(numbers, self.network.parameters()))}

    def activate(self) -> None:
        """Take the shared backbone."""
        if self.task.current is self:
            return
        self.task.current = self
        self._network = self.task.network(get_method(self.settings.method), self.settings)
        self._network.load_trained(self.weights)

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`; see `latency` for the one that is no matter of answers."""
        return {**self.predict(split).measure(), LATENCY: self.latency(split)}

    def measure_now(self, metric: str, *, trained: bool) -> float:
        """`metric` on up to 1,000 validation rows with the weights as they are at this moment of training.

        With `trained` the weights stay, and this is the trial's own value: on all rows, which are not passed again.
        """
        if metric == LATENCY:
            return self.latency("validation")
        if trained:
            return self.predict("validation").measure()[metric]
        count = self.task.row_counts["validation"]
        # Every k-th row: a fixed sample that does not depend on how the source is ordered by label.
        rows = range(0, count, -(-count // REPORT_ROWS))
        examples = self._examples("validation")
        chosen = examples.take(examples.of(rows))
        logits = self._compute(chosen)
        return self.problem.predictions("validation", self.settings, rows, chosen, logits).measure()[metric]

    def predict(self, split: SplitName) -> Predictions:
        """What the model says of each row."""
        self.task.check_split(split)
        rows = range(self.task.row_counts[split])
        return self.problem.predictions(split, self.settings, rows, self._examples(split), self.logits(split))

    def logits(self, split: str) -> tuple[Floats, ...]:
        """Logits (answers, outputs) of each example of `split`; computed once."""
        if split not in self._logits:
            self._logits[split] = tuple(self._compute(self._examples(split)))
        return self._logits[split]

    def _examples(self, split: str) -> Examples:
        return self.problem.examples(split, self.settings)

    def _compute(self, examples: Examples) -> Sequence[Floats]:
        network, base = self.network.eval(), self.task.base
        with torch.no_grad():
            if get_method(self.settings.method).frozen_backbone:
                features = self.task.features.of(examples, network.head.pooling, heartbeat=lambda: None)
                logits = network.head.output(features.to(base.device)).double().cpu()
                return [piece.numpy() for piece in torch.split(logits, examples.sizes)]
            found: dict[int, Floats] = {}
            for rows in by_length(examples.tokens, INFERENCE_BATCH):
                batch = collate(examples.take(rows), pad_id=base.pad_id, device=base.device)
                logits = network.answers(batch).double().cpu()
                pieces = torch.split(logits, [examples.sizes[row] for row in rows])
                found.update(zip(rows, (piece.numpy() for piece in pieces), strict=True))
            return [found[row] for row in range(len(examples))]

    def latency(self, split: str) -> float:
        """95th percentile in milliseconds of one example at a time through the network, tokens to logits.

        Trials that differ in weights alone share one measurement, unless the study judges by it.
        """
        longest = max(map(len, self._examples(split).tokens))
        backbone = self.network.backbone
        guided = (type(backbone), backbone.length) if isinstance(backbone, Guided) else None
        network = (split, longest, next(backbone.parameters()).dtype, guided)
        if self.task.time_every_model or network not in self.task.latencies:
            self.task.latencies[network] = self._served_time(split)
        return self.task.latencies[network]

    def _served_time(self, split: str) -> float:
        """`_time`; NaN where a GPU can hold the weights in 4 bits alone: the model that serves has them whole."""
        try:
            return self._time(split)
        except torch.OutOfMemoryError:
            return math.nan

    def _time(self, split: str) -> float:
        network, base, examples = self.network.eval(), self.task.base, self._examples(split)
        if isinstance(network.backbone, Guided):
            network = Network(network.backbone.folded(), network.head)

        def forward(row: int) -> None:
            batch = collate(examples.take([row]), pad_id=base.pad_id, device=base.device)
            network(batch.input_ids, batch.attention_mask).cpu()

        # Adapters are merged before they serve, so they are not part of what is measured.
        with torch.no_grad(), base.without_adapters():
            return latency_p95_ms(forward, len(examples))

    def save(self, folder: Path) -> None:
        """Write what was trained; the base model is not part of it."""
        save_file({name: value.cpu() for name, value in self.weights.items()}, folder / WEIGHTS)
        written = {"parameters": dict(self.settings.point), "labels": list(self.task.problem.labels)}
        (folder / SETTINGS).write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")

    def export(self, folder: Path) -> ExportDescription:
        """Write graph, tokenizer and merged weights, and check the graph's answers; see `graph.py`."""
        base, problem = self.task.base, self.problem
        described, activation = problem.describe(base, self.settings), problem.activation(self.settings)
        merged = self._merged()
        write_graph(merged, folder, max_length=described.max_length, activation=activation)
        tokenizer = described.tokenizer or base.tokenizer_for(described.max_length)
        write_tokenizer(tokenizer, folder, pad_id=base.pad_id, pad_token=base.pad_token)
        settings = {"max_length": described.max_length, **described.settings}
        write_weights(merged, folder, labels=described.labels, settings=settings)
        examples = self._examples("validation")
        checked = examples.take(range(min(_CHECKED_EXAMPLES, len(examples))))
        logits = map(torch.from_numpy, self.logits("validation")[: len(checked)])
        expected = [np.asarray(activation(each).numpy(), dtype=np.float64) for each in logits]
        tolerance = TOLERANCE if base.is_float32 else HALF_TOLERANCE
        check_graph(folder, checked, expected, pad_id=base.pad_id, tolerance=tolerance)
        return described

    def _merged(self) -> Network:
        """A copy in float32 on the CPU with whatever can be folded into the backbone folded in."""
        merged = copy.deepcopy(self.network).cpu().float().eval()
        merged.backbone = get_method(self.settings.method).merged(merged.backbone)
        return merged.requires_grad_(requires_grad=False)

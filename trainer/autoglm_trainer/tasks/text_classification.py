"""`text-classification`: one label for each text."""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from peft import LoraModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from autoglm_api.base import Scalar
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_trainer.baselines import baseline_probabilities, fit_baseline
from autoglm_trainer.classifier import Classifier, collate
from autoglm_trainer.contract import ExportDescription, Places, Predictions, SplitName, TrialControl
from autoglm_trainer.data import Dataset, Rows, load_dataset
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.features import INFERENCE_BATCH, Corpus, by_length
from autoglm_trainer.graph import (
    HALF_TOLERANCE,
    INPUTS,
    TOLERANCE,
    check_graph,
    write_graph,
    write_tokenizer,
    write_weights,
)
from autoglm_trainer.methods import Fitting, get_method
from autoglm_trainer.metrics import Floats, latency_p95_ms, measure
from autoglm_trainer.models import load_model
from autoglm_trainer.settings import Settings

WEIGHTS, SETTINGS = "weights.safetensors", "settings.json"
LATENCY = "latency_p95_ms"
# Reports while training look at this many validation rows; the trial's own value is measured on all of them.
REPORT_ROWS = 1_000
_CHECKED_ROWS = 32


class TextClassification:
    """The task."""

    name = "text-classification"

    def load(self, run: Run, places: Places) -> LoadedTextClassification:
        """Read rows, then the model; see `contract.Task`."""
        data = load_dataset(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places)
        splits = {"train": data.train, "validation": data.validation}
        corpus = Corpus(base, {**splits, "test": data.test} if data.test else splits)
        corpus.check()
        judged = {run.objective.metric, *(constraint.metric for constraint in run.constraints)}
        return LoadedTextClassification(data, corpus, run.objective.metric, time_every_model=LATENCY in judged)


@dataclass
class LoadedTextClassification:
    """Model and rows in memory.

    Attributes:
        metric: the objective's.
        time_every_model: whether the study judges models by their latency. Otherwise a network's latency is measured
            once, since it does not depend on its weights.
        current: the model whose weights the shared backbone holds.
    """

    data: Dataset
    corpus: Corpus
    metric: str
    time_every_model: bool = False
    current: FittedTextClassifier | None = None
    latencies: dict[tuple[str, int, torch.dtype], float] = field(default_factory=dict)

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.data.digests

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""
        return self.data.test is not None

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return {split: len(rows) for split, rows in self.corpus.splits.items()}

    def overlap(self, split: SplitName) -> int:
        """How many texts of `split` also stand in the training rows."""
        known = set(self.data.train.texts)
        return sum(text in known for text in self.rows(split).texts)

    def rows(self, split: str) -> Rows:
        """The rows of `split`.

        Raises:
            DataError: there are none.
        """
        if split not in self.corpus.splits:
            raise DataError(f"data.{split}: the study names no {split} rows; add data.{split}.source")
        return self.corpus.splits[split]

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedTextClassifier:
        """Train at `parameters`; a GPU that runs out of memory twice makes the point infeasible."""
        settings = Settings.of(parameters)
        try:
            return self._fit(settings, control)
        except torch.OutOfMemoryError:
            self._free()
        try:
            return self._fit(settings, control)
        except torch.OutOfMemoryError as error:
            self._free()
            raise Infeasible(
                f"the GPU's memory is too small for method {settings.method} with batch_size {settings.batch_size}"
                f" and max_length {settings.max_length}"
            ) from error

    def _fit(self, settings: Settings, control: TrialControl) -> FittedTextClassifier:
        torch.manual_seed(control.seed)
        self.current = None
        method = get_method(settings.method)
        fitted = FittedTextClassifier(self, settings, method.build(self.corpus, settings, len(self.data.labels)))
        self.current = fitted
        method.fit(
            Fitting(
                classifier=fitted.classifier,
                settings=settings,
                corpus=self.corpus,
                targets=tuple(self.data.targets(self.data.train)),
                control=control,
                evaluate=lambda trained: fitted.measure_now(self.metric, trained=trained),
            )
        )
        fitted.weights = fitted.classifier.trained_weights()
        return fitted

    def _free(self) -> None:
        self.current = None
        self.corpus.base.clean()
        gc.collect()
        torch.cuda.empty_cache()

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedTextClassifier:
        """The model that `save` wrote.

        Raises:
            DataError: the rows have other labels now.
        """
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if tuple(written["labels"]) != self.data.labels:
            raise DataError(
                f"data.train: the labels are now {list(self.data.labels)[:20]}, the saved model has"
                f" {written['labels'][:20]}; the rows changed while the study ran, start a new study"
            )
        settings = Settings.of({**written["parameters"], **parameters})
        fitted = FittedTextClassifier(self, settings, None, load_file(folder / WEIGHTS))
        fitted.activate()
        return fitted

    def baseline(self, split: SplitName) -> Predictions:
        """TF-IDF and logistic regression."""
        return self.predictions(split, baseline_probabilities(fit_baseline(self.data), self.rows(split)))

    def predictions(self, split: str, probabilities: Floats) -> Predictions:
        """`probabilities` (rows, labels) beside the rows they are of."""
        rows = self.rows(split)
        return Predictions(
            labels=self.data.labels,
            truth=tuple(self.data.targets(rows)),
            probabilities=tuple(map(tuple, probabilities.tolist())),
            texts=rows.texts,
        )


@dataclass
class FittedTextClassifier:
    """A trained model. Another one may have taken the shared backbone since; then its weights are put back first."""

    task: LoadedTextClassification
    settings: Settings
    _classifier: Classifier | None
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _probabilities: dict[str, Floats] = field(default_factory=dict, repr=False)

    @property
    def classifier(self) -> Classifier:
        """The network with this model's weights."""
        self.activate()
        assert self._classifier is not None, "an active model has a network"
        return self._classifier

    @property
    def max_length(self) -> int:
        """Tokens a text, cut to what the model can take."""
        return min(self.settings.max_length, self.task.corpus.base.max_tokens)

    def activate(self) -> None:
        """Take the shared backbone."""
        if self.task.current is self:
            return
        self.task.current = self
        method = get_method(self.settings.method)
        self._classifier = method.build(self.task.corpus, self.settings, len(self.task.data.labels))
        self._classifier.load_trained(self.weights)

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`; see `latency` for the one that is no matter of answers."""
        rows = self.task.rows(split)
        truth = np.array(self.task.data.targets(rows))
        measured = measure(self.probabilities(split), truth)
        return {**measured, LATENCY: self.latency(split)}

    def measure_now(self, metric: str, *, trained: bool) -> float:
        """`metric` on up to 1,000 validation rows with the weights as they are at this moment of training.

        With `trained` the weights stay, and this is the trial's own value: on all rows, which are not passed again.
        """
        if metric == LATENCY:
            return self.latency("validation")
        rows = self.task.rows("validation")
        if trained:
            return measure(self.probabilities("validation"), np.array(self.task.data.targets(rows)))[metric]
        # Every k-th row: a fixed sample that does not depend on how the source is ordered by label.
        chosen = list(range(0, len(rows), -(-len(rows) // REPORT_ROWS)))
        truth = np.array(self.task.data.targets(rows))[chosen]
        return measure(self._compute("validation", chosen), truth)[metric]

    def probabilities(self, split: str) -> Floats:
        """Probabilities (rows, labels) of all rows of `split`; computed once."""
        if split not in self._probabilities:
            self._probabilities[split] = self._compute(split, list(range(len(self.task.rows(split)))))
        return self._probabilities[split]

    def _compute(self, split: str, chosen: list[int]) -> Floats:
        classifier = self.classifier.eval()
        corpus = self.task.corpus
        with torch.no_grad():
            if get_method(self.settings.method).frozen_backbone:
                features = corpus.features(
                    split, max_length=self.settings.max_length, pooling=self.settings.pooling, heartbeat=lambda: None
                )
                logits = classifier.head(features[chosen].to(corpus.base.device))
            else:
                tokens = corpus.tokens(split, self.settings.max_length)
                wanted = tuple(tokens[row] for row in chosen)
                logits = torch.empty(len(chosen), len(self.task.data.labels), device=corpus.base.device)
                for rows in by_length(wanted, INFERENCE_BATCH):
                    batch = collate([wanted[row] for row in rows], pad_id=corpus.base.pad_id, device=corpus.base.device)
                    logits[rows] = classifier(batch.input_ids, batch.attention_mask)
            probabilities: Floats = logits.double().softmax(-1).cpu().numpy()
            return probabilities

    def latency(self, split: str) -> float:
        """95th percentile in milliseconds of one text at a time through the network, tokens to logits.

        Trials that differ in weights alone share one measurement, unless the study judges by it.
        """
        longest = max(map(len, self.task.corpus.tokens(split, self.settings.max_length)))
        network = (split, longest, next(self.classifier.backbone.parameters()).dtype)
        if self.task.time_every_model or network not in self.task.latencies:
            self.task.latencies[network] = self._time(split)
        return self.task.latencies[network]

    def _time(self, split: str) -> float:
        classifier, corpus = self.classifier.eval(), self.task.corpus
        tokens = corpus.tokens(split, self.settings.max_length)

        def forward(row: int) -> None:
            batch = collate([tokens[row]], pad_id=corpus.base.pad_id, device=corpus.base.device)
            classifier(batch.input_ids, batch.attention_mask).cpu()

        # Adapters are merged before they serve, so they are not part of what is measured.
        with torch.no_grad(), corpus.base.without_adapters():
            return latency_p95_ms(forward, len(tokens))

    def save(self, folder: Path) -> None:
        """Write what was trained; the base model is not part of it."""
        save_file({name: value.cpu() for name, value in self.weights.items()}, folder / WEIGHTS)
        written = {"parameters": self.settings.to_dict(), "labels": list(self.task.data.labels)}
        (folder / SETTINGS).write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")

    def export(self, folder: Path) -> ExportDescription:
        """Write graph, tokenizer and merged weights, and check them row by row; see `graph.py`."""
        base, labels = self.task.corpus.base, self.task.data.labels
        merged = self._merged()
        write_graph(merged, folder, max_length=self.max_length)
        write_tokenizer(
            base.tokenizer, folder, max_length=self.max_length, pad_id=base.pad_id, pad_token=base.pad_token
        )
        write_weights(merged, folder, labels=labels, max_length=self.max_length)
        checked = list(range(min(_CHECKED_ROWS, len(self.task.data.validation))))
        texts = [self.task.data.validation.texts[row] for row in checked]
        tolerance = TOLERANCE if base.is_float32 else HALF_TOLERANCE
        check_graph(folder, texts, self._compute("validation", checked), tolerance=tolerance)
        return ExportDescription(labels=labels, max_length=self.max_length, inputs=INPUTS)

    def _merged(self) -> Classifier:
        """A copy in float32 on the CPU with the adapters merged into the backbone."""
        merged = copy.deepcopy(self.classifier).cpu().float().eval()
        if isinstance(merged.backbone, LoraModel):
            merged.backbone = merged.backbone.merge_and_unload()
        return merged.requires_grad_(requires_grad=False)

    def predict(self, split: SplitName) -> Predictions:
        """Row by row, for the report."""
        return self.task.predictions(split, self.probabilities(split))

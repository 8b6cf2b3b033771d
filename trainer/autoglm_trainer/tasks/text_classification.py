"""`text-classification`: one label for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from autoglm_api.base import Scalar
from autoglm_api.catalog.text_classification import TEXT_CLASSIFICATION
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_trainer.baselines import baseline_probabilities, fit_baseline
from autoglm_trainer.contract import ExportDescription, Places
from autoglm_trainer.data import Dataset, load_dataset
from autoglm_trainer.examples import Examples
from autoglm_trainer.graph import INPUTS, Activation
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.models import BaseModel, load_model
from autoglm_trainer.network import PooledHead
from autoglm_trainer.predictions.classes import ClassPredictions
from autoglm_trainer.settings import Settings
from autoglm_trainer.tokens import Corpus
from autoglm_trainer.tuned import LATENCY, LoadedTuned


@dataclass(frozen=True)
class TextSettings(Settings):
    """The task's own knobs.

    Attributes:
        pooling: `mean`, `first` or `last` of the hidden states, padding left out.
    """

    pooling: str


class TextClassification:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedTuned:
        """Read rows, then the model; see `contract.Task`."""
        data = load_dataset(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places)
        splits = {"train": data.train, "validation": data.validation}
        corpus = Corpus(base, {**splits, "test": data.test} if data.test else splits)
        corpus.check()
        judged = {run.objective.metric, *(constraint.metric for constraint in run.constraints)}
        return LoadedTuned(LabelledTexts(data, corpus), base, run.objective.metric, time_every_model=LATENCY in judged)


@dataclass
class LabelledTexts:
    """Texts and their labels; meets `problem.Problem`."""

    data: Dataset
    corpus: Corpus
    declaration = TEXT_CLASSIFICATION
    baseline_name = "TF-IDF"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return self.data.labels

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.data.digests

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return {split: len(rows) for split, rows in self.corpus.splits.items()}

    def overlap(self, split: str) -> int:
        """How many texts of `split` also stand in the training rows."""
        known = set(self.data.train.texts)
        return sum(text in known for text in self.corpus.splits[split].texts)

    def settings(self, parameters: Mapping[str, Scalar]) -> TextSettings:
        """Every knob at a point."""
        return TextSettings.of(self.declaration, parameters)

    def head(self, base: BaseModel, settings: TextSettings) -> PooledHead:
        """Pooling and one linear layer."""
        return PooledHead(base.hidden_size, len(self.labels), dropout=settings.dropout, pooling=settings.pooling)

    def examples(self, split: str, settings: TextSettings) -> Examples:
        """One example a text."""
        tokens = self.corpus.tokens(split, settings.max_length)
        return Examples(
            key=(split, max(map(len, tokens))),
            tokens=tokens,
            items=tuple(range(len(tokens))),
            targets=tuple((target,) for target in self.data.targets(self.corpus.splits[split])),
        )

    def criterion(self, examples: Examples, settings: TextSettings) -> Loss:
        """Cross-entropy."""
        targets = torch.tensor([target for (target,) in examples.targets])
        return lambda logits: nn.functional.cross_entropy(
            logits, targets.to(logits.device), label_smoothing=settings.label_smoothing
        )

    def predictions(
        self, split: str, settings: TextSettings, rows: Sequence[int], examples: Examples, logits: Sequence[Floats]
    ) -> ClassPredictions:
        """Softmax of the logits beside the rows that they are of."""
        return self._predictions(split, rows, _softmax(np.concatenate(logits)))

    def baseline(self, split: str) -> ClassPredictions:
        """TF-IDF and logistic regression."""
        rows = self.corpus.splits[split]
        return self._predictions(split, range(len(rows)), baseline_probabilities(fit_baseline(self.data), rows))

    def _predictions(self, split: str, chosen: Sequence[int], probabilities: Floats) -> ClassPredictions:
        rows = self.corpus.splits[split]
        return ClassPredictions(
            labels=self.labels,
            truth=np.array(self.data.targets(rows))[list(chosen)],
            probabilities=probabilities,
            texts=tuple(rows.texts[row] for row in chosen),
        )

    def activation(self, settings: TextSettings) -> Activation:
        """The graph answers probabilities."""
        return Activation.SOFTMAX

    def describe(self, base: BaseModel, settings: TextSettings) -> ExportDescription:
        """Labels and length."""
        return ExportDescription(
            labels=self.labels, max_length=min(settings.max_length, base.max_tokens), inputs=INPUTS
        )


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

"""`text-classification`: one label for each text, or any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from autoglm_api.base import Scalar
from autoglm_api.catalog.text_classification import TEXT_CLASSIFICATION
from autoglm_api.run import Run
from autoglm_trainer.baselines.suspects import suspect_tables
from autoglm_trainer.baselines.tfidf import baseline_probabilities, fit_baseline
from autoglm_trainer.contract import ExportDescription, Places, Section
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.base import BaseModel, load_model
from autoglm_trainer.model.graph import INPUTS, Activation
from autoglm_trainer.model.network import LayerGatedPooledHead, PooledHead
from autoglm_trainer.predictions.classes import ClassPredictions
from autoglm_trainer.predictions.labels import LabelPredictions
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.rows.texts import LabelledText, LabelledTexts, load_texts
from autoglm_trainer.tokens.corpus import Corpus, windowed
from autoglm_trainer.tokens.examples import Examples
from autoglm_trainer.tuning.settings import Settings
from autoglm_trainer.tuning.task import LATENCY, LoadedTuned


@dataclass(frozen=True)
class TextSettings(Settings):
    """The task's own knobs.

    Attributes:
        pooling: `mean`, `first` or `last` of the hidden states, padding left out.
        gate: `none` or `layers`; a method that is not trained by gradient has none.
        long_texts: `cut` at `max_length`, or read in `windows` whose probabilities are averaged.
        class_weight: `balanced` weighs rows by the inverse frequency of their label.
        prior_shift: how far answers are moved from frequent to rare labels: while training, logits get so much times
            the log frequency of their label added, which answers then lack (the loss of Menon et al. 2021, "Long-tail
            learning via logit adjustment"). One label a text only.
        threshold: a label is given from this probability on. Several labels a text only.
    """

    pooling: str
    gate: str
    long_texts: str
    class_weight: str
    prior_shift: float
    threshold: float


class TextClassification:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedTuned:
        """Read rows, then the model; see `contract.Task`."""
        data = load_texts(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places)
        corpus = Corpus(base, data.splits)
        corpus.check()
        problem = ClassifiedTexts(data, corpus)
        return LoadedTuned(problem, base, run.objective.metric, time_every_model=LATENCY in run.judged)


@dataclass
class ClassifiedTexts:
    """Texts and their labels; meets `problem.Problem`."""

    data: LabelledTexts
    corpus: Corpus
    declaration = TEXT_CLASSIFICATION
    baseline_name = "TF-IDF"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return self.data.labels

    def doubts(self) -> list[Section]:
        """Labels that TF-IDF doubts; of texts with one label each."""
        return [] if self.data.several else suspect_tables(self.data.splits.train)

    @property
    def splits(self) -> Splits[LabelledText]:
        """The rows."""
        return self.data.splits

    def settings(self, parameters: Mapping[str, Scalar]) -> TextSettings:
        """Every knob at a point."""
        return TextSettings.of(self.declaration, parameters)

    def head(self, base: BaseModel, settings: TextSettings) -> PooledHead:
        """Pooling and one linear layer, behind the gate."""
        size, outputs, dropout, pooling = base.hidden_size, len(self.labels), settings.dropout, settings.pooling
        if settings.gate == "layers" and self.declaration.knobs["gate"].matters(settings.method):
            return LayerGatedPooledHead(size, outputs, dropout=dropout, pooling=pooling, layers=base.layers)
        return PooledHead(size, outputs, dropout=dropout, pooling=pooling)

    def examples(self, split: str, settings: TextSettings) -> Examples:
        """One example a text, or one a window."""
        if settings.long_texts == "windows":
            tokens, items = self.corpus.windows(split, min(settings.max_length, self.corpus.base.max_tokens))
        else:
            tokens = self.corpus.tokens(split, settings.max_length)
            items = tuple(range(len(tokens)))
        targets = self._targets(split)
        return Examples(
            key=(split, max(map(len, tokens)), len(tokens)),
            tokens=tokens,
            items=items,
            targets=tuple(targets[item] for item in items),
        )

    def _targets(self, split: str) -> list[tuple[int, ...]]:
        rows = self.splits.by_name[split]
        return self.data.indicators(rows) if self.data.several else [(each,) for each in self.data.targets(rows)]

    def criterion(self, examples: Examples, settings: TextSettings) -> Loss:
        """Cross-entropy; with several labels a text the mean of the labels' own."""
        targets = torch.tensor(examples.targets)
        weight = self._weights() if settings.class_weight == "balanced" else None
        if self.data.several:

            def binary(logits: Tensor) -> Tensor:
                return nn.functional.binary_cross_entropy_with_logits(
                    logits,
                    targets.to(logits).lerp(torch.tensor(0.5).to(logits), settings.label_smoothing),
                    pos_weight=None if weight is None else weight.to(logits),
                )

            return binary
        shift = torch.from_numpy(settings.prior_shift * np.log(self._frequency()))
        return lambda logits: nn.functional.cross_entropy(
            logits + shift.to(logits),
            targets.squeeze(1).to(logits.device),
            weight=None if weight is None else weight.to(logits),
            label_smoothing=settings.label_smoothing,
        )

    def _weights(self) -> Tensor:
        """Of each label; with several labels a text, of having it against not having it."""
        frequency = self._frequency()
        return torch.from_numpy((1 - frequency) / frequency if self.data.several else 1 / (len(frequency) * frequency))

    def _frequency(self) -> Floats:
        """Share of the training rows that have each label, (labels,)."""
        return np.asarray(np.mean(self.data.indicators(self.splits.train), axis=0, dtype=np.float64))

    def predictions(
        self, split: str, settings: TextSettings, rows: Sequence[int], examples: Examples, logits: Sequence[Floats]
    ) -> ClassPredictions | LabelPredictions:
        """Probabilities beside the rows that they are of; the mean of a row's windows."""
        stacked = np.concatenate(logits)
        each = 1 / (1 + np.exp(-stacked)) if self.data.several else _softmax(stacked)
        place = {row: index for index, row in enumerate(rows)}
        index = np.array([place[item] for item in examples.items])
        total = np.zeros((len(rows), each.shape[1]))
        np.add.at(total, index, each)
        return self._predictions(split, rows, total / np.bincount(index)[:, None], settings.threshold)

    def baseline(self, split: str) -> ClassPredictions | LabelPredictions:
        """TF-IDF and logistic regression."""
        rows = self.splits.by_name[split]
        return self._predictions(split, range(len(rows)), baseline_probabilities(fit_baseline(self.data), rows), 0.5)

    def _predictions(
        self, split: str, chosen: Sequence[int], probabilities: Floats, threshold: float
    ) -> ClassPredictions | LabelPredictions:
        rows = self.splits.by_name[split]
        texts = tuple(rows.rows[row].text for row in chosen)
        if self.data.several:
            indicators = np.array(self.data.indicators(rows))[list(chosen)]
            return LabelPredictions(self.labels, indicators, probabilities, texts, threshold)
        return ClassPredictions(self.labels, np.array(self.data.targets(rows))[list(chosen)], probabilities, texts)

    def activation(self, settings: TextSettings) -> Activation:
        """The graph answers probabilities."""
        return Activation.SIGMOID if self.data.several else Activation.SOFTMAX

    def describe(self, base: BaseModel, settings: TextSettings) -> ExportDescription:
        """Labels, length and, where they matter, threshold and windows."""
        length = min(settings.max_length, base.max_tokens)
        told: dict[str, Scalar] = {"threshold": settings.threshold} if self.data.several else {}
        windows = settings.long_texts == "windows"
        return ExportDescription(
            labels=self.labels,
            max_length=length,
            inputs=INPUTS,
            settings={**told, **({"windows": True} if windows else {})},
            tokenizer=windowed(base.tokenizer, length) if windows else None,
        )


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

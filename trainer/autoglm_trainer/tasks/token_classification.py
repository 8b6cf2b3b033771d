"""`token-classification`: a tag for each word, hence the names and other things that a sentence speaks of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from autoglm_api.base import Scalar
from autoglm_api.bio import OUTSIDE
from autoglm_api.catalog.token_classification import TOKEN_CLASSIFICATION
from autoglm_api.run import Run
from autoglm_api.words import SubWord
from autoglm_trainer.baselines.word_shapes import baseline_probabilities, fit_baseline
from autoglm_trainer.contract import ExportDescription, Places
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.base import BaseModel, load_model
from autoglm_trainer.model.graph import INPUTS, Activation
from autoglm_trainer.model.network import LayerGatedHead, TokenGatedHead, TokenHead
from autoglm_trainer.predictions.entities import EntityPredictions
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.rows.tagged import Sentence, TaggedSentences, load_tagged
from autoglm_trainer.tokens.examples import Examples
from autoglm_trainer.tokens.sentences import SentenceCorpus, Windows
from autoglm_trainer.tuning.settings import Settings
from autoglm_trainer.tuning.task import LATENCY, LoadedTuned


@dataclass(frozen=True)
class TagSettings(Settings):
    """The task's own knobs.

    Attributes:
        entity_weight: how much more a word inside an entity counts in training than one outside.
        gate: `none`, `layers` or `tokens`; a method that is not trained by gradient has none.
        subword: `first` or `last` of a word's tokens answers for it.
    """

    entity_weight: float
    gate: str
    subword: str


class TokenClassification:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedTuned:
        """Read sentences, then the model; see `contract.Task`."""
        data = load_tagged(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places)
        corpus = SentenceCorpus(base, data.splits)
        corpus.check()
        return LoadedTuned(
            TaggedWords(data, corpus), base, run.objective.metric, time_every_model=LATENCY in run.judged
        )


@dataclass
class TaggedWords:
    """Sentences whose words carry tags; meets `problem.Problem`."""

    data: TaggedSentences
    corpus: SentenceCorpus
    declaration = TOKEN_CLASSIFICATION
    baseline_name = "word shapes"

    @property
    def labels(self) -> tuple[str, ...]:
        """O, then B- and I- of each type."""
        return self.data.labels

    @property
    def splits(self) -> Splits[Sentence]:
        """The rows."""
        return self.data.splits

    def settings(self, parameters: Mapping[str, Scalar]) -> TagSettings:
        """Every knob at a point."""
        return TagSettings.of(self.declaration, parameters)

    def head(self, base: BaseModel, settings: TagSettings) -> TokenHead:
        """One linear layer on each token, behind the gate."""
        gate = settings.gate if self.declaration.knobs["gate"].matters(settings.method) else "none"
        size, outputs, dropout = base.hidden_size, len(self.labels), settings.dropout
        if gate == "layers":
            return LayerGatedHead(size, outputs, dropout=dropout, layers=base.layers)
        return (TokenGatedHead if gate == "tokens" else TokenHead)(size, outputs, dropout=dropout)

    def _windows(self, split: str, settings: TagSettings) -> Windows:
        return self.corpus.windows(split, settings.max_length, cast("SubWord", settings.subword))

    def examples(self, split: str, settings: TagSettings) -> Examples:
        """One example a window; each word is answered in one of them."""
        windows = self._windows(split, settings)
        index = {label: place for place, label in enumerate(self.labels)}
        rows = self.splits.by_name[split].rows
        return Examples(
            key=(split, windows.length, settings.subword),
            tokens=windows.tokens,
            items=windows.items,
            targets=tuple(
                tuple(index[rows[item].tags[word]] for word in words)
                for item, words in zip(windows.items, windows.words, strict=True)
            ),
            positions=windows.positions,
        )

    def criterion(self, examples: Examples, settings: TagSettings) -> Loss:
        """Cross-entropy, words of entities weighted."""
        targets = torch.tensor([tag for tags in examples.targets for tag in tags], dtype=torch.int64)
        weights = torch.tensor([1.0 if label == OUTSIDE else settings.entity_weight for label in self.labels])
        return lambda logits: nn.functional.cross_entropy(
            logits,
            targets.to(logits.device),
            weight=weights.to(logits.device, logits.dtype),
            label_smoothing=settings.label_smoothing,
        )

    def predictions(
        self, split: str, settings: TagSettings, rows: Sequence[int], examples: Examples, logits: Sequence[Floats]
    ) -> EntityPredictions:
        """Softmax of the logits beside the words that they are of."""
        windows, chosen = self._windows(split, settings), set(rows)
        found: dict[int, list[tuple[tuple[int, ...], Floats]]] = defaultdict(list)
        answers = iter(logits)
        for item, words in zip(windows.items, windows.words, strict=True):
            if item in chosen:
                found[item].append((words, next(answers)))
        sentences = tuple(self.splits.by_name[split].rows[row] for row in rows)
        starts = np.cumsum([0, *(len(sentence.words) for sentence in sentences)])
        probabilities = np.zeros((starts[-1], len(self.labels)))
        unread = np.ones(starts[-1], dtype=np.bool_)
        for row, start in zip(rows, starts[:-1], strict=True):
            for words, own in found[row]:
                places = start + np.array(words, dtype=np.int64)
                probabilities[places], unread[places] = _softmax(own), False
        return EntityPredictions(self.labels, sentences, probabilities, unread)

    def baseline(self, split: str) -> EntityPredictions:
        """Logistic regression on word shapes."""
        rows = self.splits.by_name[split]
        probabilities = baseline_probabilities(fit_baseline(self.data), rows, len(self.labels))
        return EntityPredictions(self.labels, rows.rows, probabilities, np.zeros(len(probabilities), dtype=np.bool_))

    def activation(self, settings: TagSettings) -> Activation:
        """The graph answers probabilities."""
        return Activation.SOFTMAX

    def describe(self, base: BaseModel, settings: TagSettings) -> ExportDescription:
        """Labels, how words become tokens, and the tokenizer that cuts into windows as in training."""
        return ExportDescription(
            labels=self.labels,
            max_length=min(settings.max_length, base.max_tokens),
            inputs=INPUTS,
            settings={"subword": settings.subword, "spaces": self.corpus.spaces},
            tokenizer=self.corpus.tokenizer(settings.max_length),
        )


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

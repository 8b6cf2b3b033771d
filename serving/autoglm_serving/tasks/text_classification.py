"""`text-classification`: the label of a text, or all that it has, and the probability of every label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT, SeveralLabels, TextPrediction
from autoglm_serving.encoder import Encoder
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text


@dataclass(frozen=True)
class Windows:
    """A text as tokens: one window, or all of a long text where the model reads it so."""

    encodings: tuple[Encoding, ...]


class TextClassifier:
    """Predicts labels. The graph's output is probabilities if that is its name, logits of one label otherwise."""

    item: ClassVar[dict[str, Any]] = TEXT
    answer: ClassVar[dict[str, Any]] = {
        "anyOf": [TextPrediction.model_json_schema(), SeveralLabels.model_json_schema()]
    }

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        self.labels = manifest.labels
        threshold = manifest.settings.get("threshold")
        self._threshold = None if threshold is None else float(threshold)
        self._windows = bool(manifest.settings.get("windows", False))
        self._encoder = Encoder(folder, manifest, threads=threads)

    def parse(self, item: object, where: str) -> Windows:
        """A text as tokens, cut as in training."""
        encoding = self._encoder.tokenizer.encode(check_text(item, where))
        if not encoding.ids:
            raise Refused(422, "NoTokens", f"{where} has nothing that the model's tokenizer knows")
        return self._read(encoding)

    def _read(self, encoding: Encoding) -> Windows:
        return Windows((encoding, *encoding.overflowing) if self._windows else (encoding,))

    def predict(self, items: Sequence[Windows]) -> list[dict[str, Any]]:
        """One prediction a text, in order; the mean of its windows."""
        answers = self._encoder.run([window for item in items for window in item.encodings], len(self.labels))
        if any(answer.ndim != 1 for answer in answers):
            raise UnusableModelError("the graph answers each token; this task needs one answer a text")
        each = iter(answers if self._encoder.output == "probabilities" else map(softmax, answers))
        return [self._prediction(np.mean([next(each) for _ in item.encodings], axis=0)) for item in items]

    def _prediction(self, probabilities: NDArray[np.float64]) -> dict[str, Any]:
        scores = {label: float(score) for label, score in zip(self.labels, probabilities, strict=True)}
        if self._threshold is not None:
            given = [label for label, score in scores.items() if score >= self._threshold]
            return SeveralLabels(labels=given, scores=scores).model_dump()
        best = int(probabilities.argmax())
        return TextPrediction(label=self.labels[best], score=float(probabilities[best]), scores=scores).model_dump()

    def samples(self) -> list[Windows]:
        """One word, and as many as fit."""
        words = self._encoder.words()
        encodings = self._encoder.tokenizer.encode_batch([words[-1], " ".join(words), " ".join(words)])
        if not all(encoding.ids for encoding in encodings):
            raise UnusableModelError("tokenizer.json keeps nothing of its own words")
        return [self._read(encoding) for encoding in encodings]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits (…, outputs) to probabilities of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

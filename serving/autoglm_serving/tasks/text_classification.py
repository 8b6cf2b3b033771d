"""`text-classification`: the label of a text and the probability of every label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT, TextPrediction
from autoglm_serving.encoder import Encoder
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text


class TextClassifier:
    """Predicts labels. The graph's output is probabilities if that is its name, logits otherwise."""

    item: ClassVar[dict[str, Any]] = TEXT
    answer: ClassVar[dict[str, Any]] = TextPrediction.model_json_schema()

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        self.labels = manifest.labels
        self._encoder = Encoder(folder, manifest, threads=threads)

    def parse(self, item: object, where: str) -> Encoding:
        """A text as tokens, cut as in training."""
        encoding = self._encoder.tokenizer.encode(check_text(item, where))
        if not encoding.ids:
            raise Refused(422, "NoTokens", f"{where} has nothing that the model's tokenizer knows")
        return encoding

    def predict(self, items: Sequence[Encoding]) -> list[dict[str, Any]]:
        """One prediction a text, in order."""
        answers = self._encoder.run(items, len(self.labels))
        if any(answer.ndim != 1 for answer in answers):
            raise UnusableModelError("the graph answers each token; this task needs one answer a text")
        return [self._prediction(answer) for answer in answers]

    def _prediction(self, answer: NDArray[np.float64]) -> dict[str, Any]:
        probabilities = answer if self._encoder.output == "probabilities" else softmax(answer)
        best = int(probabilities.argmax())
        scores = {label: float(score) for label, score in zip(self.labels, probabilities, strict=True)}
        return TextPrediction(label=self.labels[best], score=float(probabilities[best]), scores=scores).model_dump()

    def samples(self) -> list[Encoding]:
        """One word, and as many as fit."""
        words = self._encoder.words()
        encodings = self._encoder.tokenizer.encode_batch([words[-1], " ".join(words), " ".join(words)])
        if not all(encoding.ids for encoding in encodings):
            raise UnusableModelError("tokenizer.json keeps nothing of its own words")
        return list(encodings)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits (…, outputs) to probabilities of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

"""A loaded model: tokenizer, ONNX session and labels. From texts to predictions, without a word about HTTP.

The graph takes the manifest's `inputs` as int64 `(batch, tokens)` and its first output is `(batch, labels)`: logits,
or probabilities if that is the output's name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TextPrediction

from .errors import UnusableModelError

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
# Texts that go through the graph together: bounds memory, and texts of like length waste little padding.
BATCH = 32
_PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>")
_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class NoTokensError(ValueError):
    """A text of which the tokenizer keeps nothing; `index` is its place in the list."""

    def __init__(self, index: int) -> None:
        super().__init__(f"data[{index}] has nothing that the model's tokenizer knows")
        self.index = index


class TextClassifier:
    """Predicts labels; safe to call from several threads, and the same request always gets the same answer."""

    task = "text-classification"

    def __init__(self, folder: Path, manifest: Manifest, digest: str, *, threads: int) -> None:
        """Load from a checked folder.

        Raises:
            UnusableModelError: another task, no tokenizer or graph, or a graph that takes or gives something else.
        """
        if manifest.task != self.task:
            raise UnusableModelError(f"the model's task is {manifest.task!r}; this server answers {self.task!r}")
        self.manifest, self.digest = manifest, digest
        # The tokenizer's own pool reads this when it starts; more threads than cores only queue up.
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        self._tokenizer, self._padding = _load_tokenizer(folder / TOKENIZER, manifest.max_length)
        self._session = _load_session(folder / GRAPH, threads)
        self._inputs = tuple(known.name for known in self._session.get_inputs())
        unknown = [name for name in self._inputs if name not in _FIELDS]
        if unknown or set(self._inputs) != set(manifest.inputs):
            raise UnusableModelError(f"{GRAPH} takes {list(self._inputs)}, the manifest says {list(manifest.inputs)}")
        self._output = self._session.get_outputs()[0].name

    def warm_up(self) -> None:
        """Run a short and a long batch, so that the first request pays for nothing and a broken graph never serves.

        Raises:
            UnusableModelError: the graph fails, or answers with another shape or with no numbers.
        """
        vocabulary = self._tokenizer.get_vocab()
        words = sorted(vocabulary, key=vocabulary.__getitem__)[-self.manifest.max_length :]
        try:
            self.predict(words[-1:])
            self.predict([" ".join(words)] * 2)
        except NoTokensError as error:
            raise UnusableModelError(f"{TOKENIZER} keeps nothing of its own words") from error

    def predict(self, texts: Sequence[str]) -> list[TextPrediction]:
        """One prediction a text, in order.

        Raises:
            NoTokensError: a text leaves no token.
            UnusableModelError: the graph fails or answers with no numbers.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        for index, encoding in enumerate(encodings):
            if not encoding.ids:
                raise NoTokensError(index)
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        answers: dict[int, TextPrediction] = {}
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            probabilities = self._run([encodings[index] for index in indices])
            answers.update(zip(indices, map(self._prediction, probabilities), strict=True))
        return [answers[index] for index in range(len(texts))]

    def _run(self, encodings: list[Encoding]) -> NDArray[np.float64]:
        """Probabilities, (batch, labels)."""
        longest = max(len(encoding.ids) for encoding in encodings)
        for encoding in encodings:
            encoding.pad(longest, **self._padding)
        feeds = {
            name: np.array([getattr(encoding, _FIELDS[name]) for encoding in encodings], dtype=np.int64)
            for name in self._inputs
        }
        try:
            (scores,) = self._session.run([self._output], feeds)
        except Exception as error:
            raise UnusableModelError(f"{GRAPH} failed: {error}") from error
        if scores.shape != (len(encodings), len(self.manifest.labels)):
            raise UnusableModelError(
                f"{GRAPH} answers {scores.shape} for {len(encodings)} texts and {len(self.manifest.labels)} labels"
            )
        scores = scores.astype(np.float64)
        if not np.isfinite(scores).all():
            raise UnusableModelError(f"{GRAPH} answers with numbers that are not finite")
        return scores if self._output == "probabilities" else _softmax(scores)

    def _prediction(self, probabilities: NDArray[np.float64]) -> TextPrediction:
        labels = self.manifest.labels
        best = int(probabilities.argmax())
        scores = {label: float(score) for label, score in zip(labels, probabilities, strict=True)}
        return TextPrediction(label=labels[best], score=float(probabilities[best]), scores=scores)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _load_tokenizer(path: Path, max_length: int) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, cutting at `max_length`, and how to pad; the file's own pad token and sides are kept."""
    if not path.is_file():
        raise UnusableModelError(f"the model has no {TOKENIZER}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise UnusableModelError(f"{TOKENIZER} cannot be read: {error}") from error
    truncation, padding = tokenizer.truncation or {}, tokenizer.padding or {}
    tokenizer.enable_truncation(max_length, direction=truncation.get("direction", "right"))
    # Padding is done batch by batch, after sorting by length.
    tokenizer.no_padding()
    pad_token = padding.get("pad_token") or next(
        (token for token in _PAD_TOKENS if tokenizer.token_to_id(token) is not None), _PAD_TOKENS[0]
    )
    return tokenizer, {
        "direction": padding.get("direction", "right"),
        "pad_id": padding.get("pad_id", tokenizer.token_to_id(pad_token) or 0),
        "pad_type_id": padding.get("pad_type_id", 0),
        "pad_token": pad_token,
    }


def _load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise UnusableModelError(f"the model has no {GRAPH}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Waiting threads sleep: spinning ones take the CPU limit from the requests beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UnusableModelError(f"{GRAPH} cannot be loaded: {error}") from error

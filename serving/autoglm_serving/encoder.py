"""Tokenizer and ONNX session of a model on a transformer encoder: from token ids to the graph's numbers.

The graph takes the manifest's `inputs` as int64 (batch, tokens); its first output is (batch, outputs), or
(batch, tokens, outputs) for tasks that answer each token.
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

from .errors import UnusableModelError

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
# Inputs that go through the graph together: bounds memory, and inputs of like length waste little padding.
BATCH = 32
_PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>")
_STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class Encoder:
    """Safe to call from several threads; the same inputs always get the same numbers."""

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder.

        Raises:
            UnusableModelError: no tokenizer or graph, or a graph that takes something else.
        """
        # The tokenizer's own pool reads this when it starts; more threads than cores only queue up.
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        self.max_length = manifest.max_length
        self.tokenizer, self._padding = _load_tokenizer(folder / TOKENIZER, manifest.max_length)
        self._session = load_session(folder / GRAPH, threads)
        self._inputs = tuple(known.name for known in self._session.get_inputs())
        unknown = [name for name in self._inputs if name not in _FIELDS]
        if unknown or set(self._inputs) != set(manifest.inputs):
            raise UnusableModelError(f"{GRAPH} takes {list(self._inputs)}, the manifest says {list(manifest.inputs)}")
        self.output: str = self._session.get_outputs()[0].name

    def words(self) -> list[str]:
        """As many words of the vocabulary as an input may have tokens, the newest last: something to warm up with."""
        vocabulary = self.tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)[-self.max_length :]

    def run(self, encodings: Sequence[Encoding], outputs: int) -> list[NDArray[np.float64]]:
        """The graph's numbers for each encoding, (outputs,) or (tokens, outputs), padding left out.

        Raises:
            UnusableModelError: the graph fails, or answers with another shape or with no numbers.
        """
        order = sorted(range(len(encodings)), key=lambda index: len(encodings[index].ids))
        found: dict[int, NDArray[np.float64]] = {}
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            found.update(zip(indices, self._run([encodings[index] for index in indices], outputs), strict=True))
        return [found[index] for index in range(len(encodings))]

    def _run(self, encodings: list[Encoding], outputs: int) -> list[NDArray[np.float64]]:
        longest = max(len(encoding.ids) for encoding in encodings)
        for encoding in encodings:
            encoding.pad(longest, **self._padding)
        feeds = {
            name: np.array([getattr(encoding, _FIELDS[name]) for encoding in encodings], dtype=np.int64)
            for name in self._inputs
        }
        try:
            (answers,) = self._session.run([self.output], feeds)
        except Exception as error:
            raise UnusableModelError(f"{GRAPH} failed: {error}") from error
        if answers.shape not in ((len(encodings), outputs), (len(encodings), longest, outputs)):
            raise UnusableModelError(
                f"{GRAPH} answers {answers.shape} for {len(encodings)} inputs and {outputs} outputs"
            )
        answers = answers.astype(np.float64)
        if not np.isfinite(answers).all():
            raise UnusableModelError(f"{GRAPH} answers with numbers that are not finite")
        if answers.ndim == 2:
            return list(answers)
        return [row[np.array(encoding.attention_mask) > 0] for row, encoding in zip(answers, encodings, strict=True)]


def _load_tokenizer(path: Path, max_length: int) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, cutting at `max_length`, and how to pad; the file's own pad token and sides are kept."""
    if not path.is_file():
        raise UnusableModelError(f"the model has no {TOKENIZER}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise UnusableModelError(f"{TOKENIZER} cannot be read: {error}") from error
    truncation, padding = tokenizer.truncation or {}, tokenizer.padding or {}
    tokenizer.enable_truncation(
        max_length,
        stride=truncation.get("stride", 0),
        strategy=_STRATEGIES.get(truncation.get("strategy", ""), "longest_first"),
        direction=truncation.get("direction", "right").lower(),
    )
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


def load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A graph in memory; answers do not depend on the threads.

    Raises:
        UnusableModelError: there is none, or it cannot be loaded.
    """
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

"""The classifier as files for a server without torch: an ONNX graph, the tokenizer, and the merged weights.

The graph takes int64 `input_ids` and `attention_mask`, (batch, tokens) each, and gives float32 `probabilities`,
(batch, labels): softmax is part of it. `tokenizer.json` truncates and pads on the right, as in training, so
tokenizer and graph together answer as the trained model does.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from typing_extensions import override

from .classifier import Classifier
from .errors import ExportError
from .metrics import Floats

GRAPH, TOKENIZER, WEIGHTS, CONFIG = "model.onnx", "tokenizer.json", "model.safetensors", "config.json"
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "probabilities"
OPSET = 20
# The largest difference of a probability that is still the same answer: float32 in another order of operations.
TOLERANCE = 1e-4
# The same for a model that was trained with weights of 16 bits, which the graph holds in float32.
HALF_TOLERANCE = 5e-2
# ONNX files hold at most 2 GB; weights beyond go into a file beside the graph.
_EXTERNAL_BYTES = 1_500_000_000


class Answering(nn.Module):
    """A classifier that answers probabilities."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) twice → probabilities (batch, labels)."""
        return self.classifier(input_ids, attention_mask).softmax(-1)  # type: ignore[no-any-return]


def write_graph(classifier: Classifier, folder: Path, *, max_length: int) -> None:
    """Write `model.onnx`. The classifier must be merged, in float32, on the CPU."""
    batch, tokens = torch.export.Dim("batch", min=1, max=65_536), torch.export.Dim("tokens", min=1, max=max_length)
    ids = torch.ones((2, min(4, max_length)), dtype=torch.int64)
    with _silence():
        program = torch.onnx.export(
            Answering(classifier).eval(),
            (ids, torch.ones_like(ids)),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes={name: {0: batch, 1: tokens} for name in INPUTS},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns a program"
        size = sum(value.nbytes for value in classifier.state_dict().values())
        program.save(folder / GRAPH, external_data=size > _EXTERNAL_BYTES)


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, max_length: int, pad_id: int, pad_token: str) -> None:
    """Write `tokenizer.json` with truncation to `max_length` and padding to the longest text, on the right."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.enable_truncation(max_length)
    copy.enable_padding(direction="right", pad_id=pad_id, pad_token=pad_token)
    copy.save(str(folder / TOKENIZER), pretty=False)


def write_weights(classifier: Classifier, folder: Path, *, labels: Sequence[str], max_length: int) -> None:
    """Write the merged weights (`backbone.*`, `head.*`) and the backbone's config with the labels in it."""
    tensors = {name: value.detach().contiguous().clone() for name, value in classifier.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = classifier.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    config["id2label"] = dict(enumerate(labels))
    config["label2id"] = {label: index for index, label in enumerate(labels)}
    config["autoglm"] = {"pooling": classifier.pooling, "max_length": max_length}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def answer(folder: Path, texts: Sequence[str], *, batch: int = 16) -> Floats:
    """Probabilities (texts, labels) by the written files alone, as a server computes them."""
    import onnxruntime  # only the export needs it

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    found = []
    for start in range(0, len(texts), batch):
        encodings = tokenizer.encode_batch(list(texts[start : start + batch]))
        feeds = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        (probabilities,) = session.run([OUTPUT], feeds)
        found.append(np.asarray(probabilities, dtype=np.float64))
    return np.concatenate(found)


def check_graph(folder: Path, texts: Sequence[str], expected: Floats, *, tolerance: float = TOLERANCE) -> None:
    """Compare the files' answers with the trained model's.

    Raises:
        ExportError: a probability differs by more than `tolerance`.
    """
    difference = np.abs(answer(folder, texts) - expected)
    # Written so that a NaN fails too.
    if not difference.max() <= tolerance:
        worst = int(difference.max(1).argmax())
        raise ExportError(
            f"the exported graph answers differently: probabilities differ by up to {difference.max():.2g}"
            f" (allowed {tolerance:g}), most for {texts[worst][:80]!r}; please report this with the model's name"
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter's chatter about missing torchvision and renamed axes is nobody's business."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)

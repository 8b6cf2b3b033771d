"""A network as files for a server without torch: an ONNX graph, the tokenizer, and the merged weights.

The graph takes int64 `input_ids` and `attention_mask`, (batch, tokens) each, and gives one float32 output: `logits`,
or `probabilities` where softmax or sigmoid are part of it; (batch, outputs) for a pooled head, (batch, tokens,
outputs) for one that answers each token. `tokenizer.json` pads on the right, as in training.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_trainer.errors import ExportError
from autoglm_trainer.metrics import Floats
from autoglm_trainer.tokens.examples import Examples, by_length, collate

from .network import Network

GRAPH, TOKENIZER, WEIGHTS, CONFIG = "model.onnx", "tokenizer.json", "model.safetensors", "config.json"
INPUTS = ("input_ids", "attention_mask")
OPSET = 20
# The largest difference of an answer that is still the same answer: float32 in another order of operations.
TOLERANCE = 1e-4
# The same for a model that was trained with weights of 16 bits, which the graph holds in float32.
HALF_TOLERANCE = 5e-2
# ONNX files hold at most 2 GB; weights beyond go into a file beside the graph.
EXTERNAL_BYTES = 1_500_000_000


class Activation(StrEnum):
    """What the graph makes of logits; its output is called `logits` or `probabilities` accordingly."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"

    @property
    def output(self) -> str:
        """The output's name."""
        return "logits" if self is Activation.NONE else "probabilities"

    def __call__(self, logits: Tensor) -> Tensor:
        """Over the last dimension."""
        match self:
            case Activation.NONE:
                return logits
            case Activation.SOFTMAX:
                return logits.softmax(-1)
            case Activation.SIGMOID:
                return logits.sigmoid()


class Answering(nn.Module):
    """A network that answers as the server reads it."""

    def __init__(self, network: Network, activation: Activation) -> None:
        super().__init__()
        self.network, self.activation = network, activation

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) twice → (batch, outputs) or (batch, tokens, outputs)."""
        return self.activation(self.network(input_ids, attention_mask))


def write_graph(network: Network, folder: Path, *, max_length: int, activation: Activation) -> None:
    """Write `model.onnx`. The network must be merged, in float32, on the CPU."""
    batch, tokens = torch.export.Dim("batch", min=1, max=65_536), torch.export.Dim("tokens", min=1, max=max_length)
    ids = torch.ones((2, min(4, max_length)), dtype=torch.int64)
    with quietly():
        program = torch.onnx.export(
            Answering(network, activation).eval(),
            (ids, torch.ones_like(ids)),
            input_names=list(INPUTS),
            output_names=[activation.output],
            dynamic_shapes={name: {0: batch, 1: tokens} for name in INPUTS},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns a program"
        size = sum(value.nbytes for value in network.state_dict().values())
        program.save(folder / GRAPH, external_data=size > EXTERNAL_BYTES)


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, pad_id: int, pad_token: str) -> None:
    """Write `tokenizer.json` with the tokenizer's own truncation, and padding to the longest text, on the right."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.enable_padding(direction="right", pad_id=pad_id, pad_token=pad_token)
    copy.save(str(folder / TOKENIZER), pretty=False)


def write_weights(network: Network, folder: Path, *, labels: Sequence[str], settings: Mapping[str, Scalar]) -> None:
    """Write the merged weights (`backbone.*`, `head.*`) and the backbone's config with the labels in it."""
    tensors = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = network.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    if labels:
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: index for index, label in enumerate(labels)}
    config["autoglm"] = {"pooling": network.head.pooling, **settings}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def answer(folder: Path, examples: Examples, *, pad_id: int, batch: int = 16) -> list[Floats]:
    """What the graph alone says of each example, (answers, outputs), computed as a server computes it."""
    import onnxruntime  # only the export needs it

    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    found: dict[int, Floats] = {}
    for rows in by_length(examples.tokens, batch):
        padded = collate(examples.take(rows), pad_id=pad_id, device=torch.device("cpu"))
        feeds = {"input_ids": padded.input_ids.numpy(), "attention_mask": padded.attention_mask.numpy()}
        (answers,) = session.run(None, feeds)
        chosen = padded.answers(torch.from_numpy(answers)).double()
        pieces = torch.split(chosen, [examples.sizes[row] for row in rows])
        found.update(zip(rows, (piece.numpy() for piece in pieces), strict=True))
    return [found[row] for row in range(len(examples))]


def check_graph(
    folder: Path,
    examples: Examples,
    expected: Sequence[Floats],
    *,
    pad_id: int,
    tolerance: float = TOLERANCE,
) -> None:
    """Compare the graph's answers with the trained model's, (answers, outputs) for each example.

    Raises:
        ExportError: one differs by more than `tolerance`.
    """
    check_answers(answer(folder, examples, pad_id=pad_id), expected, examples.items, tolerance=tolerance)


def check_answers(
    answers: Sequence[Floats], expected: Sequence[Floats], items: Sequence[int], *, tolerance: float
) -> None:
    """Compare a graph's answers with the trained model's; `items`: the row that each is of.

    Raises:
        ExportError: one differs by more than `tolerance`.
    """
    differences = [
        # Relative where numbers are large: logits, unlike probabilities, know no bounds.
        float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max(initial=0.0))
        for ours, theirs in zip(answers, expected, strict=True)
    ]
    # Written so that a NaN fails too.
    if not max(differences) <= tolerance:
        worst = int(np.argmax(differences))
        raise ExportError(
            f"the exported graph answers differently: its numbers differ by up to {max(differences):.2g} (allowed"
            f" {tolerance:g}), most for row {items[worst]}; please report this with the model's name"
        )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
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

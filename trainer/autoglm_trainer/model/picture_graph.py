"""A network on pictures as files: an ONNX graph for the server, and a folder that another study may begin with.

The graph takes uint8 `pixels`, (pictures, channels, size, size), and gives float32 `probabilities`, (pictures, labels);
how pixels are normalised is part of it. `model.safetensors`, `config.json` and `preprocessor_config.json` are what
transformers' `AutoModel` loads; the output layer stands beside the backbone's weights as `autoglm_output.*`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_api.pictures import Bytes
from autoglm_trainer.metrics import Floats

from .graph import CONFIG, EXTERNAL_BYTES, GRAPH, OPSET, WEIGHTS, Activation, quietly
from .image_model import PROCESSOR, ImageModel
from .picture_network import PictureNetwork

PICTURE_INPUTS = ("pixels",)
_OUTPUT = "autoglm_output"


class Answering(nn.Module):
    """A network that answers as the server reads it."""

    def __init__(self, network: PictureNetwork) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        """(pictures, channels, size, size) → (pictures, labels)."""
        probabilities: Tensor = self.network(pixels).softmax(-1)
        return probabilities


def write_picture_graph(network: PictureNetwork, folder: Path, *, channels: int, size: int) -> None:
    """Write `model.onnx`. The network must be in float32, on the CPU."""
    blank = torch.zeros((2, channels, size, size), dtype=torch.uint8)
    with quietly():
        program = torch.onnx.export(
            Answering(network).eval(),
            (blank,),
            input_names=list(PICTURE_INPUTS),
            output_names=[Activation.SOFTMAX.output],
            dynamic_shapes={"pixels": {0: torch.export.Dim("pictures", min=1, max=65_536)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns a program"
        weight = sum(value.nbytes for value in network.state_dict().values())
        program.save(folder / GRAPH, external_data=weight > EXTERNAL_BYTES)


def answer_pictures(folder: Path, pixels: Bytes, *, batch: int = 16) -> list[Floats]:
    """What the graph alone says of each picture, (1, labels), computed as a server computes it."""
    import onnxruntime  # only the export needs it

    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"pixels": pixels[start : start + batch]})[0] for start in range(0, len(pixels), batch)]
    return [row[None] for row in np.concatenate(parts).astype(np.float64)]


def write_base(
    network: PictureNetwork,
    base: ImageModel,
    folder: Path,
    *,
    labels: Sequence[str],
    size: int,
    settings: Mapping[str, Scalar],
) -> None:
    """Write the weights as a folder that `model.source` may name, with the labels in its config."""
    tensors = {name: value.detach().contiguous().clone() for name, value in network.backbone.state_dict().items()}
    tensors |= {
        f"{_OUTPUT}.{name}": value.detach().contiguous().clone()
        for name, value in network.head.output.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = network.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    config["architectures"] = [type(network.backbone).__name__]
    config["id2label"] = dict(enumerate(labels))
    config["label2id"] = {label: index for index, label in enumerate(labels)}
    config["autoglm"] = {"pooling": network.head.pooling, **settings}
    _write(folder / CONFIG, config)
    sides = {"height": size, "width": size}
    normal = {"do_normalize": True, "image_mean": list(base.mean), "image_std": list(base.scale)}
    _write(
        folder / PROCESSOR, {"do_resize": True, "size": sides, "do_rescale": True, "rescale_factor": 1 / 255, **normal}
    )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")

"""The network that image tasks begin with: one that transformers knows, from a folder, or a small one of our own."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from autoglm_api.study import ModelSource
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError
from autoglm_trainer.pictures.examples import Pictures

from .base import load_config
from .network import Head, half_type
from .picture_network import PictureNetwork, encode_pictures
from .pretrained import Pretrained
from .source import find_model
from .weights import load_weights, short

PROCESSOR = "preprocessor_config.json"
# What a network of our own is made for, and where a folder does not say.
USUAL_SIZE, _FOLDER_SIZE = 64, 224


@dataclass(kw_only=True)
class ImageModel(Pretrained):
    """A backbone for pictures.

    Attributes:
        channels: 1 = grey, 3 = coloured.
        size: of the pictures that it was made for, both sides.
        mean: of each channel in pretraining, for pixels 0 … 1. scale: the standard deviation, likewise.
        pretrained: whether it knows anything yet.
    """

    channels: int
    size: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    pretrained: bool

    @override
    def collate(self, examples: Pictures) -> Tensor:
        return examples.batch().to(self.device)

    @override
    def network(self, backbone: nn.Module, head: Head) -> PictureNetwork:
        return PictureNetwork(backbone, head, self.mean, self.scale).to(self.device)

    def fresh(self) -> nn.Module:
        """The same architecture with random weights, drawn from torch's generator."""
        kind: Any = type(self.backbone)  # a transformers model has no useful type
        fresh: nn.Module = _without_unused(kind(copy.deepcopy(self.backbone.config))).to(self.device)
        return fresh

    def check_sizes(self, sizes: Iterable[int]) -> None:
        """Refuse sizes of pictures that it cannot take.

        Raises:
            SpecError: naming the size.
        """
        for size in sizes:
            try:
                _probe(self.backbone, self.channels, size, self.device)
            except (RuntimeError, ValueError) as error:
                raise SpecError(
                    f"parameters.image_size: {type(self.backbone).__name__} cannot take pictures of {size} x {size}"
                    f" ({short(error)}); it was made for {self.size}"
                ) from error


def load_image_model(model: ModelSource | None, places: Places, *, grey: bool) -> ImageModel:
    """Find, check and load the base model; without one a small network that knows nothing.

    Args:
        model: the study's `model`.
        places: where it is.
        grey: whether all pictures are, which decides about the small network.

    Raises:
        SpecError: it cannot be used; the sentence says why and what to do.
        SourceUnreachable: its place does not answer now.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if model is None:
        return _small(1 if grey else 3, device)
    folder = find_model(model, places)
    config = load_config(model.place, folder)
    backbone = _load_backbone(model.place, folder, config, device)
    told = _processor(model.place, folder)
    channels = int(getattr(config, "num_channels", 3))
    if channels not in (1, 3):
        raise SpecError(f"model.source {model.source}: it takes pictures of {channels} channels; use one of 1 or 3")
    size = _size(told, config)
    try:
        hidden = _probe(backbone, channels, size, device)
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise SpecError(
            f"model.source {model.source}: {type(backbone).__name__} makes no features of pictures of {size} x {size}"
            f" ({short(error)}); use a network such as ResNet, ConvNeXt, ViT or Swin"
        ) from error
    normal = bool(told.get("do_normalize", True))
    return ImageModel(
        backbone=backbone,
        hidden_size=hidden,
        device=device,
        is_float32=next(backbone.parameters()).dtype == torch.float32,
        half=half_type(device),
        channels=channels,
        size=size,
        mean=_of_channels(told.get("image_mean"), channels, 0.5) if normal else (0.0,) * channels,
        scale=_of_channels(told.get("image_std"), channels, 0.5) if normal else (1.0,) * channels,
        pretrained=True,
    )


def _small(channels: int, device: torch.device) -> ImageModel:
    """A ResNet of 8 layers and 0.3 million weights (He et al. 2016, "Deep Residual Learning for Image Recognition")."""
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(
        num_channels=channels, embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
    )
    backbone: Any = ResNetModel(config)
    half = (0.5,) * channels
    return ImageModel(
        backbone=backbone.to(device),
        hidden_size=_probe(backbone, channels, USUAL_SIZE, device),
        device=device,
        is_float32=True,
        half=half_type(device),
        channels=channels,
        size=USUAL_SIZE,
        mean=half,
        scale=half,
        pretrained=False,
    )


# A transformers model has no useful type.
def _load_backbone(source: str, folder: Path, config: Any, device: torch.device) -> Any:
    # Seconds of import, which tests of data and callers of the errors need not pay.
    from transformers import AutoModel

    backbone, missing = load_weights(AutoModel, source, folder, config, device)
    if "pixel_values" not in inspect.signature(backbone.forward).parameters:
        raise SpecError(
            f"model.source {source}: {type(backbone).__name__} reads no pictures; use a network such as ResNet,"
            " ConvNeXt, ViT or Swin"
        )
    backbone = _without_unused(backbone)
    lacking = sorted(missing & backbone.state_dict().keys())
    if lacking:
        raise SpecError(
            f"model.source {source}: the folder lacks weights of {type(backbone).__name__} ({', '.join(lacking[:3])});"
            " use the folder that the whole network was saved to"
        )
    return backbone.to(device)


def _without_unused(backbone: Any) -> Any:
    """Pooling with weights of its own belongs to another head than ours."""
    pooler = getattr(backbone, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        backbone.pooler = None
    return backbone


def _probe(backbone: nn.Module, channels: int, size: int, device: torch.device) -> int:
    """The size of the features that it makes of a picture."""
    weights = next(backbone.parameters())
    was = backbone.training
    with torch.no_grad():
        blank = torch.zeros((1, channels, size, size), device=device, dtype=weights.dtype)
        features = encode_pictures(backbone.eval(), blank)["mean"]
    backbone.train(was)
    return features.shape[1]


def _processor(source: str, folder: Path) -> dict[str, Any]:
    """What the folder says of how pictures are prepared; nothing where it has no such file."""
    path = folder / PROCESSOR
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"model.source {source}: {PROCESSOR} cannot be read ({short(error)})") from error
    if not isinstance(told, dict):
        raise SpecError(f"model.source {source}: {PROCESSOR} holds no object")
    return told


def _size(told: dict[str, Any], config: Any) -> int:
    """Of the pictures that the network was made for; `crop_size` comes last in pretraining, so it counts first."""
    for value in (told.get("crop_size"), told.get("size"), getattr(config, "image_size", None)):
        if isinstance(value, dict):
            value = value.get("height") or value.get("shortest_edge")
        if isinstance(value, int) and value > 0:
            return value
    return _FOLDER_SIZE


def _of_channels(values: Any, channels: int, usual: float) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) not in (1, channels):
        return (usual,) * channels
    return tuple(float(value) for value in (values * channels if len(values) == 1 else values))

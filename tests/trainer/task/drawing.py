"""Small pictures for tests: shapes of a colour, somewhere on a noisy ground."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import PreTrainedModel, ResNetConfig, ResNetModel, ViTConfig, ViTModel

SHAPES = ("bar", "disc", "ring")
SIDE = 24


def draw(shape: str, seed: int) -> Image.Image:
    """One picture, always the same for the same arguments."""
    dice = random.Random(f"{shape}/{seed}")
    noise = np.random.default_rng(seed).normal(150, 25, (SIDE, SIDE, 3)).clip(0, 255)
    picture = Image.fromarray(noise.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    left, top = dice.randint(1, 7), dice.randint(1, 7)
    box = (left, top, left + 14, top + 14)
    colour = tuple(dice.randint(0, 70) for _ in range(3))
    match shape:
        case "bar":
            pen.rectangle((left, top + 5, left + 14, top + 9), fill=colour)
        case "disc":
            pen.ellipse(box, fill=colour)
        case "ring":
            pen.ellipse(box, outline=colour, width=2)
    return picture


def png(picture: Image.Image) -> bytes:
    """As a file."""
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def base64_of(picture: Image.Image) -> str:
    """As a table holds it."""
    return base64.b64encode(png(picture)).decode()


def picture_rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Rows of a table that holds its pictures."""
    shapes = [SHAPES[index % len(SHAPES)] for index in range(start, start + count)]
    drawn = [draw(shape, index) for index, shape in enumerate(shapes, start=start)]
    return [{"image": base64_of(one), "label": shape} for one, shape in zip(drawn, shapes, strict=True)]


def write_folder(folder: Path, count: int, *, start: int = 0, shapes: Sequence[str] = SHAPES) -> str:
    """A folder of pictures by class; the answer is its URI."""
    for index in range(start, start + count):
        shape = shapes[index % len(shapes)]
        (folder / shape).mkdir(parents=True, exist_ok=True)
        (folder / shape / f"{index:03}.png").write_bytes(png(draw(shape, index)))
    return folder.as_uri()


def tiny_backbone(architecture: str) -> PreTrainedModel:
    """Random weights, always the same."""
    torch.manual_seed(0)
    if architecture == "resnet":
        config = ResNetConfig(num_channels=3, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        return ResNetModel(config)
    return ViTModel(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=SIDE,
            patch_size=6,
        )
    )


def write_backbone(folder: Path, architecture: str) -> Path:
    """A model folder as `save_pretrained` writes it, made for pictures of the tests' size."""
    tiny_backbone(architecture).save_pretrained(folder)
    told = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.3] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder

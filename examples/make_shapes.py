"""Draws the pictures of `image-classification.yaml`: six shapes, turned and faint, on a noisy ground.

    python examples/make_shapes.py examples/data/shapes

They are made, so nobody's rights are in them; the same pictures every time.
"""

# ruff: noqa: INP001  a script, not a package
from __future__ import annotations

import io
import math
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32
SHAPES = ("bar", "cross", "disc", "ring", "square", "triangle")
COUNTS = {"train": 40, "test": 20}
# Drawn four times as large, then made smaller: smooth edges.
_SCALE = 4


def draw(shape: str, seed: str) -> Image.Image:
    """One picture, grey."""
    dice = random.Random(f"{shape}/{seed}")
    large = SIDE * _SCALE
    ground, ink = dice.randint(150, 220), dice.randint(40, 130)
    picture = Image.new("L", (large, large), ground)
    radius = dice.uniform(0.2, 0.36) * large
    x, y = (dice.uniform(0.42, 0.58) * large for _ in range(2))
    _put(ImageDraw.Draw(picture), shape, (x, y), radius, dice.uniform(0, 2 * math.pi), ink)
    small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(dice.getrandbits(32)).normal(0, 12, (SIDE, SIDE))
    # Sixteen shades: a file of a few hundred bytes.
    return Image.fromarray(((np.asarray(small) + noise).clip(0, 255) // 16 * 16).astype(np.uint8))


def _put(
    pen: ImageDraw.ImageDraw, shape: str, centre: tuple[float, float], radius: float, turn: float, ink: int
) -> None:
    x, y = centre
    thick = max(2, round(radius / 3))
    match shape:
        case "disc":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        case "ring":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=thick)
        case "square" | "triangle":
            corners = 4 if shape == "square" else 3
            angles = [turn + 2 * math.pi * corner / corners for corner in range(corners)]
            pen.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles], fill=ink)
        case _:
            for angle in [turn, turn + math.pi / 2][: 1 if shape == "bar" else 2]:
                dx, dy = radius * math.cos(angle), radius * math.sin(angle)
                pen.line((x - dx, y - dy, x + dx, y + dy), fill=ink, width=thick)


def main(folder: Path) -> None:
    """Write `train.zip` and `test.zip`: folders by class."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for shape in SHAPES:
                for number in range(count):
                    written = io.BytesIO()
                    draw(shape, f"{split}/{number}").save(written, "PNG", optimize=True)
                    # A fixed date, so that the same pictures are the same file.
                    archive.writestr(zipfile.ZipInfo(f"{shape}/{number:03}.png"), written.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

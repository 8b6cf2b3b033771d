"""`image-classification`: the label of a picture, and the probability of every label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoglm_api.manifest import Manifest
from autoglm_api.pictures import FORMATS, Bytes, Fit, PictureError, decode, pixels, unpack
from autoglm_api.predict import TextPrediction
from autoglm_serving.encoder import GRAPH, load_session
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, kind_of

# Pictures that go through the graph together.
BATCH = 16
_PICTURE: dict[str, Any] = {
    "type": "string",
    "contentEncoding": "base64",
    "minLength": 1,
    "description": f"the bytes of an image file ({', '.join(FORMATS)}), with or without a data URI's beginning",
}


class PictureClassifier:
    """Predicts labels. How a picture becomes pixels is the manifest's affair; how these are normalised, the graph's."""

    item: ClassVar[dict[str, Any]] = {
        "oneOf": [
            _PICTURE,
            {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": {"image": _PICTURE},
            },
        ]
    }
    answer: ClassVar[dict[str, Any]] = TextPrediction.model_json_schema()

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        told = manifest.settings
        try:
            self._size, self._channels = int(told["image_size"]), int(told["channels"])
            self._fit = cast("Fit", str(told["fit"]))
        except KeyError as error:
            raise UnusableModelError(f"the manifest's settings do not say {error}") from error
        self.labels = manifest.labels
        self._session = load_session(folder / GRAPH, threads)
        self._input, *others = (known.name for known in self._session.get_inputs())
        if others or (self._input,) != manifest.inputs:
            raise UnusableModelError(
                f"{GRAPH} takes {[self._input, *others]}, the manifest says {list(manifest.inputs)}"
            )

    def parse(self, item: object, where: str) -> Bytes:
        """A picture as pixels (channels, size, size), as in training."""
        return self._pixels(_decoded(_text(item, where), where))

    def _pixels(self, picture: Image.Image) -> Bytes:
        return pixels(picture, size=self._size, channels=self._channels, fit=self._fit)

    def predict(self, items: Sequence[Bytes]) -> list[dict[str, Any]]:
        """One prediction a picture, in order."""
        parts = [self._run(np.stack(items[start : start + BATCH])) for start in range(0, len(items), BATCH)]
        return [self._prediction(probabilities) for part in parts for probabilities in part]

    def _run(self, batch: Bytes) -> NDArray[np.float64]:
        try:
            (answers,) = self._session.run(None, {self._input: batch})
        except Exception as error:
            raise UnusableModelError(f"{GRAPH} failed: {error}") from error
        if answers.shape != (len(batch), len(self.labels)):
            raise UnusableModelError(
                f"{GRAPH} answers {answers.shape} for {len(batch)} pictures and {len(self.labels)} labels"
            )
        if not np.isfinite(answers).all():
            raise UnusableModelError(f"{GRAPH} answers with numbers that are not finite")
        return np.asarray(answers, dtype=np.float64)

    def _prediction(self, probabilities: NDArray[np.float64]) -> dict[str, Any]:
        scores = {label: float(score) for label, score in zip(self.labels, probabilities, strict=True)}
        best = int(probabilities.argmax())
        return TextPrediction(label=self.labels[best], score=float(probabilities[best]), scores=scores).model_dump()

    def samples(self) -> list[Bytes]:
        """A black picture and a white one."""
        return [self._pixels(Image.new("L", (self._size, self._size), shade)) for shade in (0, 255)]


def _text(item: object, where: str) -> str:
    if isinstance(item, dict):
        if set(item) != {"image"}:
            named = json.dumps(sorted(map(str, item)))[:100]
            raise Refused(422, "BadItem", f"{where} must have image and nothing else, it has {named}")
        item, where = item["image"], f"{where}.image"
    if not isinstance(item, str):
        raise Refused(422, "BadItem", f"{where} must be an image's bytes as base64, got {kind_of(item)}")
    if not item.strip():
        raise Refused(422, "NoData", f"{where} is empty")
    return item


def _decoded(text: str, where: str) -> Image.Image:
    try:
        return decode(unpack(text))
    except PictureError as error:
        if error.code == "NotBase64":
            raise Refused(422, "NotBase64", f"{where} {error}") from error
        if error.code == "TooManyPixels":
            raise Refused(422, "TooManyPixels", f"{where} {error}") from error
        raise Refused(422, "NotImage", f"{where} {error}") from error

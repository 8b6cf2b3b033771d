"""`image-classification`: one label for each picture, on a pretrained network or on one trained from nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from PIL import Image
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from autoglm_api.base import Scalar
from autoglm_api.catalog import TaskDeclaration
from autoglm_api.catalog.image_classification import IMAGE_CLASSIFICATION
from autoglm_api.run import Run
from autoglm_api.space import Choices
from autoglm_trainer.baselines.pixels import SIZE, fit_pixels, pixel_probabilities
from autoglm_trainer.contract import ExportDescription, Places
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.model.image_model import ImageModel, load_image_model
from autoglm_trainer.model.picture_graph import PICTURE_INPUTS
from autoglm_trainer.model.picture_network import PictureHead
from autoglm_trainer.pictures.album import Album
from autoglm_trainer.pictures.augmentation import Augmentation
from autoglm_trainer.pictures.examples import Pictures
from autoglm_trainer.predictions.pictures import PicturePredictions
from autoglm_trainer.rows.images import LabelledPicture, LabelledPictures, load_pictures
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.tuning.picturing import LoadedPictures, PictureSettings
from autoglm_trainer.tuning.task import LATENCY

# Of pictures in the report, at most.
_SHOWN_SIZE = 64


class ImageClassification:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedPictures:
        """Read pictures, then the network; see `contract.Task`. All are decoded once, so that broken ones are found."""
        data = load_pictures(run.data, places.data, seed=run.sampler.seed)
        base = load_image_model(run.model, places, grey=all(row.grey for row in data.splits.train))
        declaration = IMAGE_CLASSIFICATION.for_model(run.model)
        problem = ClassifiedPictures(declaration, data, Album(data.splits, base.channels), base.size)
        base.check_sizes(_sizes(run, base.size))
        usual = problem.settings({})
        for split in data.splits.by_name:
            problem.examples(split, usual)
        return LoadedPictures(
            problem, base, run.objective.metric, time_every_model=LATENCY in run.judged, seed=run.sampler.seed
        )


def _sizes(run: Run, own: int) -> Iterable[int]:
    """The sizes of pictures that the study's space can ask for, at its ends."""
    for parameter in run.parameters:
        if parameter.name == "image_size":
            domain = parameter.domain
            ends = domain.choices if isinstance(domain, Choices) else (domain.min, domain.max)
            return [int(end) or own for end in ends]
    return [own]


@dataclass
class ClassifiedPictures:
    """Pictures and their labels; meets `picturing.Picturing`.

    Attributes:
        own_size: of the pictures that the network was made for.
    """

    declaration: TaskDeclaration
    data: LabelledPictures
    album: Album
    own_size: int
    baseline_name = "logistic regression on pixels"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return self.data.labels

    @property
    def splits(self) -> Splits[LabelledPicture]:
        """The rows."""
        return self.data.splits

    def settings(self, parameters: Mapping[str, Scalar]) -> PictureSettings:
        """Every knob at a point."""
        found = PictureSettings.of(self.declaration, parameters)
        trained = self.declaration.knobs["augmentation"].matters(found.method)
        return replace(
            found,
            image_size=found.image_size or self.own_size,
            augmentation=found.augmentation if trained else "none",
        )

    def head(self, base: ImageModel, settings: PictureSettings) -> PictureHead:
        """Pooling and one linear layer."""
        return PictureHead(base.hidden_size, len(self.labels), dropout=settings.dropout, pooling=settings.pooling)

    def examples(self, split: str, settings: PictureSettings) -> Pictures:
        """One example a picture; those of the training rows change while they are trained on."""
        kind, augmented = settings.augmentation, split == "train" and settings.augmentation != "none"
        return Pictures(
            key=(split, settings.image_size, settings.fit),
            pixels=self.album.pixels(split, settings.image_size, settings.fit),
            targets=tuple((target,) for target in self.data.targets(split)),
            augmentation=Augmentation(kind, settings.augmentation_strength) if augmented else None,
        )

    def criterion(self, examples: Pictures, settings: PictureSettings) -> Loss:
        """Cross-entropy."""
        targets = torch.tensor(examples.targets).squeeze(1)
        weight = self._weights if settings.class_weight == "balanced" else None

        def loss(logits: Tensor) -> Tensor:
            return nn.functional.cross_entropy(
                logits,
                targets.to(logits.device),
                weight=None if weight is None else weight.to(logits),
                label_smoothing=settings.label_smoothing,
            )

        return loss

    @cached_property
    def _weights(self) -> Tensor:
        counts = np.bincount(self.data.targets("train"), minlength=len(self.labels))
        return torch.from_numpy(counts.sum() / (len(counts) * counts))

    def predictions(
        self, split: str, settings: PictureSettings, rows: Sequence[int], examples: Pictures, logits: Sequence[Floats]
    ) -> PicturePredictions:
        """Probabilities beside the pictures that they are of."""
        stacked = torch.from_numpy(np.concatenate(logits))
        return self._predictions(split, rows, stacked.softmax(-1).numpy(), settings)

    def baseline(self, split: str) -> PicturePredictions:
        """Logistic regression on small grey pictures."""
        pixels = self.album.pixels(split, SIZE, "squeeze")
        probabilities = pixel_probabilities(self._baseline, pixels)
        return self._predictions(split, range(len(pixels)), probabilities, self.settings({}))

    @cached_property
    def _baseline(self) -> Pipeline:
        return fit_pixels(self.album.pixels("train", SIZE, "squeeze"), np.array(self.data.targets("train")))

    def _predictions(
        self, split: str, rows: Sequence[int], probabilities: Floats, settings: PictureSettings
    ) -> PicturePredictions:
        chosen = list(rows)
        truth: Ints = np.array(self.data.targets(split))[chosen]
        names = tuple(self.splits.by_name[split].rows[row].name for row in chosen)
        shown = partial(self._shown, split, chosen, settings)
        return PicturePredictions(self.labels, truth, probabilities, names, shown)

    def _shown(self, split: str, rows: Sequence[int], settings: PictureSettings, place: int) -> str:
        """A picture of the predictions, as the network sees it, as a data URI of a small PNG."""
        pixels = self.album.pixels(split, settings.image_size, settings.fit)[rows[place]]
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        picture.thumbnail((_SHOWN_SIZE, _SHOWN_SIZE))
        written = io.BytesIO()
        picture.save(written, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"

    def more_pixels(self, settings: PictureSettings) -> int:
        """Bytes that the pictures take at the settings' size beyond those that are in memory."""
        return self.album.more_bytes(settings.image_size, settings.fit)

    def describe(self, settings: PictureSettings) -> ExportDescription:
        """Labels, and how a picture becomes pixels."""
        told: dict[str, Scalar] = {
            "image_size": settings.image_size,
            "channels": self.album.channels,
            "fit": settings.fit,
        }
        return ExportDescription(labels=self.labels, max_length=0, inputs=PICTURE_INPUTS, settings=told)

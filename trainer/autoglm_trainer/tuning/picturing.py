"""A tuned network on pictures: how it is passed, timed, compared on few examples, and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_trainer.contract import ExportDescription, MemoryEstimate, Section, SplitName, Table
from autoglm_trainer.methods import Kept, get_method
from autoglm_trainer.metrics import Floats, latency_p95_ms
from autoglm_trainer.metrics.episodes import draw_episodes, mean_interval
from autoglm_trainer.model.graph import HALF_TOLERANCE, TOLERANCE, check_answers
from autoglm_trainer.model.image_model import ImageModel
from autoglm_trainer.model.memory import limit_bytes, resident_bytes
from autoglm_trainer.model.network import Network
from autoglm_trainer.model.picture_features import PictureFeatures, features_under
from autoglm_trainer.model.picture_graph import answer_pictures, write_base, write_picture_graph
from autoglm_trainer.model.picture_memory import PicturePass, passing_bytes
from autoglm_trainer.model.picture_network import PictureNetwork
from autoglm_trainer.pictures.examples import INFERENCE_BATCH, Pictures
from autoglm_trainer.predictions.pictures import PicturePredictions

from .problem import Learning
from .settings import Settings
from .task import FittedTuned, LoadedTuned

SCRATCH = "scratch"
_HOST = torch.device("cpu")
_CHECKED = 32


@dataclass(frozen=True)
class PictureSettings(Settings):
    """The knobs of networks on pictures.

    Attributes:
        augmentation: how pictures are changed while training; `none` where a method has no training by gradient.
        augmentation_strength: 0 … 1.
        image_size: both sides, in pixels.
        fit: how a picture becomes a square: `squeeze` or `crop`.
        pooling: `mean` or `first` of the hidden states; the same for a network of maps.
        class_weight: `balanced` weighs pictures by the inverse frequency of their label.
    """

    augmentation: str
    augmentation_strength: float
    image_size: int
    fit: str
    pooling: str
    class_weight: str

    @property
    @override
    def extent(self) -> str:
        return f"image_size {self.image_size}"


class Picturing(Learning, Protocol):
    """A problem whose rows are pictures with one label each."""

    @override
    def examples(self, split: str, settings: Any) -> Pictures:
        """The pictures of a split at the settings' size."""

    def predictions(
        self, split: str, settings: Any, rows: Sequence[int], examples: Pictures, logits: Sequence[Floats]
    ) -> PicturePredictions:
        """What the logits, (1, labels) of each picture, say of `rows`."""

    def more_pixels(self, settings: Any) -> int:
        """Bytes that the pictures take at the settings' size beyond those that are in memory."""

    def describe(self, settings: Any) -> ExportDescription:
        """What the server must know."""


@dataclass
class LoadedPictures(LoadedTuned[Picturing, ImageModel]):
    """Network and pictures in memory; `seed` chooses the episodes of few examples."""

    seed: int = 0

    @override
    def kept_features(self) -> Kept:
        return PictureFeatures(self.base)

    @override
    def fitted(self, settings: Any, network: Network | None, weights: dict[str, Tensor]) -> FittedPictures:
        return FittedPictures(self, settings, network, weights)

    @override
    def estimate(self, parameters: Mapping[str, Scalar]) -> MemoryEstimate | None:
        """What `fit` will need where memory is scarcest, on the GPU or beside it.

        None where some operation of the network cannot be done without numbers.
        """
        settings, base = self.problem.settings(parameters), self.base
        method = get_method(settings.method)
        self.current = None
        base.undo()
        batch, frozen = min(settings.batch_size, self.row_counts["train"]), method.frozen_backbone
        part = 0 if frozen else -(-batch // (self.ranks.count * settings.accumulation))
        judged = max(count for split, count in self.row_counts.items() if frozen or split != "train")
        needed = passing_bytes(
            base,
            PicturePass(part, min(judged, INFERENCE_BATCH), settings.image_size),
            lambda shadow: method.build(shadow, settings, self.problem.head(shadow, settings)),
        )
        if needed is None:
            return None
        pixels = self.problem.more_pixels(settings)
        host = resident_bytes() if base.device.type == "cuda" else self.resident + needed
        estimates = [MemoryEstimate(self.ranks.count * (host + pixels), limit_bytes(_HOST), "the container")]
        if base.device.type == "cuda":
            estimates.append(MemoryEstimate(self.resident + needed, limit_bytes(base.device), "the GPU"))
        return max(estimates, key=lambda each: each.needed / each.limit)

    def rivals(self, parameters: Mapping[str, Scalar]) -> Mapping[str, Mapping[str, Scalar]]:
        """What a model at `parameters` is to be compared with: the same network trained from nothing."""
        if not self.base.pretrained or parameters.get("method") == SCRATCH:
            return {}
        task = self.problem.declaration
        shared = {name: parameters[name] for name in ("image_size", "fit") if name in parameters}
        return {"same network from scratch": {**task.defaults({"method": SCRATCH}), **shared}}


@dataclass
class FittedPictures(FittedTuned):
    """A trained network."""

    _sections: dict[str, list[Section]] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> ImageModel:
        """What all networks of the task begin with."""
        base: ImageModel = self.task.base
        return base

    @property
    def picturing(self) -> Picturing:
        """The task's own part."""
        picturing: Picturing = self.task.problem
        return picturing

    @override
    def predict(self, split: SplitName) -> PicturePredictions:
        """What the network says of each picture; what few examples are good for is found out if it is asked."""
        self.task.check_split(split)
        rows = range(self.task.row_counts[split])
        examples = self.picturing.examples(split, self.settings)
        said = self.picturing.predictions(split, self.settings, rows, examples, self.logits(split))
        return replace(said, further=partial(self._few_shot, split))

    @override
    def _compute(self, examples: Any) -> Sequence[Floats]:
        network = self._pictured()
        with torch.no_grad():
            if get_method(self.settings.method).frozen_backbone:
                features = self.task.features.of(examples, network.head.pooling, heartbeat=lambda: None)
                logits = [network.head.output(features.to(self.base.device)).cpu()]
            else:
                logits = [network.answers(self.base.collate(some)).cpu() for some in _parts(examples)]
        return [row[None] for row in torch.cat(logits).double().numpy()]

    def _pictured(self) -> PictureNetwork:
        network = self.network.eval()
        assert isinstance(network, PictureNetwork), "an image model builds networks on pictures"
        return network

    @override
    def latency(self, split: str) -> float:
        """95th percentile in milliseconds of one picture at a time, pixels to logits; decoding is not part of it.

        Trials that differ in weights alone share one measurement, unless the study judges by it.
        """
        known = self.task.latencies
        key = (split, self.settings.image_size)
        if self.task.time_every_model or key not in known:
            network, examples = self._pictured(), self.picturing.examples(split, self.settings)

            def forward(row: int) -> None:
                network(self.base.collate(examples.take([row]))).cpu()

            with torch.no_grad():
                known[key] = latency_p95_ms(forward, len(examples))
        return known[key]

    def _few_shot(self, split: str) -> list[Section]:
        """A table of episodes of the split's rows, with several kinds of features; drawn and counted once."""
        if split not in self._sections:
            self._sections[split] = self._episodes(split)
        return self._sections[split]

    def _episodes(self, split: str) -> list[Section]:
        examples = self.picturing.examples(split, self.settings)
        assert isinstance(self.task, LoadedPictures), "its own kind of task made it"
        seed = self.task.seed
        drawn = list(draw_episodes(np.array(examples.targets).ravel(), seed=seed))
        if not drawn:
            return []
        rows = [
            (name, *("{:.3f} ± {:.3f}".format(*mean_interval(episodes.accuracy(features))) for episodes in drawn))
            for name, features in self._kinds(examples, seed).items()
        ]
        note = (
            f"Share of right answers, with its 95 % interval, over {len(drawn[0].support)} episodes of these rows: a"
            " picture is given the class whose mean of so many examples is nearest (Snell et al. 2017). Nothing is"
            " trained on the examples; the winner has seen the classes in training, the others have not by this study."
        )
        header = ("features", *(f"{each.ways} classes, {each.shots} of each" for each in drawn))
        return [Table("How far few examples take it", note, header, tuple(rows))]

    def _kinds(self, examples: Pictures, seed: int) -> dict[str, Floats]:
        base, pooling = self.base, self.settings.pooling
        frozen = get_method(self.settings.method).frozen_backbone
        kinds: dict[str, Tensor] = {}
        if not frozen:
            kinds["the winner"] = features_under(base, self._pictured().backbone, examples)[pooling]
        if base.pretrained:
            label = "the base model, frozen" + (" (and the winner)" if frozen else "")
            self.task.current = None
            kinds[label] = self.task.features.of(examples, pooling, heartbeat=lambda: None)
        torch.manual_seed(seed)
        kinds["the same network, untrained"] = features_under(base, base.fresh().eval(), examples)[pooling]
        kinds["pixels"] = torch.from_numpy(examples.pixels.reshape(len(examples), -1))
        return {name: value.double().numpy() for name, value in kinds.items()}

    @override
    def export(self, folder: Path) -> ExportDescription:
        """Write graph and weights, and check the graph's answers; see `picture_graph.py`."""
        base, settings = self.base, self.settings
        described = self.picturing.describe(settings)
        merged = self._merged()
        assert isinstance(merged, PictureNetwork), "an image model builds networks on pictures"
        size = settings.image_size
        write_picture_graph(merged, folder, channels=base.channels, size=size)
        write_base(merged, base, folder, labels=described.labels, size=size, settings=described.settings)
        checked = self.picturing.examples("validation", settings).take(
            range(min(_CHECKED, self.task.row_counts["validation"]))
        )
        logits = map(torch.from_numpy, self.logits("validation")[: len(checked)])
        tolerance = TOLERANCE if base.is_float32 else HALF_TOLERANCE
        expected = [np.asarray(each.softmax(-1).numpy(), dtype=np.float64) for each in logits]
        check_answers(answer_pictures(folder, checked.pixels), expected, checked.items, tolerance=tolerance)
        return described


def _parts(examples: Pictures) -> Sequence[Pictures]:
    starts = range(0, len(examples), INFERENCE_BATCH)
    return [examples.take(range(start, min(start + INFERENCE_BATCH, len(examples)))) for start in starts]

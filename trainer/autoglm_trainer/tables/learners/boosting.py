"""Gradient-boosted trees: LightGBM (Ke et al. 2017), exported by onnxmltools.

LightGBM and not XGBoost: it is the faster on few cores, its wheel has no CUDA in it, and its text format is a complete
model, which checkpoints need. It wants an OpenMP library that slim images do not have; PyTorch, which `learner` imports
before, brings one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph

from .learner import STEPS, Lesson

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

_MODEL = "boosting.txt"
_THRESHOLDS = re.compile(r"^threshold=(.*)$", re.MULTILINE)
# How long each tree's text is, so that they can be read side by side; without it they are read one after the other.
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)


class Boosting:
    """Rounds in ten parts.

    Each part begins from the text of the one before and with a seed of its own, resumed or not: LightGBM keeps neither
    sums nor generators in a model, so a training that went on in memory could not be gone on with to the bit.
    """

    def learn(self, lesson: Lesson) -> LearnedBoosting:
        """Boost, part by part."""
        import lightgbm

        ends = list(dict.fromkeys(-(-lesson.settings.rounds * step // STEPS) for step in range(1, STEPS + 1)))
        features = lesson.features.of(lesson.features.plain, lesson.cells)
        rows = lightgbm.Dataset(features, lesson.truth, weight=lesson.weights, free_raw_data=False)
        written, done = _resumed(lesson)
        for step, end in enumerate(ends, start=1):
            if end <= done:
                continue
            written = _boost(lesson, rows, written, rounds=end - done, step=step).model_to_string()
            done = end
            learned = LearnedBoosting(written, lesson.features, lesson.classes)
            lesson.course.report(step, learned.answer)
            lesson.course.checkpoint(step, learned.write)
        assert written is not None, "there is at least one round"
        return LearnedBoosting(written, lesson.features, lesson.classes)


def _boost(lesson: Lesson, rows: Dataset, written: str | None, *, rounds: int, step: int) -> Booster:
    import lightgbm

    settings = lesson.settings
    objective = "regression" if not lesson.classes else "binary" if lesson.classes == 2 else "multiclass"
    parameters: dict[str, Any] = {
        "objective": objective,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.leaf_min_rows,
        # A fold may have so few rows that the share of them is none, which LightGBM refuses.
        "bagging_fraction": min(1.0, max(settings.row_share, 1.5 / len(lesson))),
        "bagging_freq": 1,
        "feature_fraction": settings.column_share,
        "lambda_l2": settings.leaf_penalty,
        "seed": (lesson.seed + step) % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": lesson.threads,
        "verbosity": -1,
        **({"num_class": lesson.classes} if lesson.classes > 2 else {}),
    }
    return lightgbm.train(
        parameters,
        rows,
        num_boost_round=rounds,
        init_model=None if written is None else lightgbm.Booster(model_str=written),
        callbacks=[lambda _: lesson.course.heartbeat()],
    )


def _resumed(lesson: Lesson) -> tuple[str | None, int]:
    """What an earlier attempt wrote, and its rounds."""
    folder = lesson.course.resume_from
    if folder is None:
        return None, 0
    import lightgbm

    written = (folder / _MODEL).read_text(encoding="utf-8")
    return written, lightgbm.Booster(model_str=written).current_iteration()


@dataclass(frozen=True)
class LearnedBoosting:
    """A model as LightGBM writes it."""

    text: str
    features: Features
    classes: int

    def write(self, folder: Path) -> None:
        """A checkpoint."""
        (folder / _MODEL).write_text(self.text, encoding="utf-8")

    @property
    def booster(self) -> Booster:
        """The model in memory."""
        import lightgbm

        return lightgbm.Booster(model_str=self.text)

    def answer(self, cells: Cells) -> Floats:
        """See `Learned`."""
        found = np.asarray(self.booster.predict(self.features.of(self.features.plain, cells)), dtype=np.float64)
        if self.classes == 2:
            return np.stack([1 - found, found], axis=1)
        return found if self.classes else found[:, None]

    def add_to(self, graph: Graph, features: Features) -> str:
        """See `Learned`."""
        import lightgbm
        from onnxmltools.convert import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        booster = lightgbm.Booster(model_str=_in_float32(self.text))
        types = [("features", FloatTensorType([None, booster.num_feature()]))]
        converted = convert_lightgbm(booster, name="boosting", initial_types=types, zipmap=False, target_opset=15)
        return graph.add_trees(converted, features.plain)


def _in_float32(text: str) -> str:
    """The model with each threshold rounded down to a float32, as the graph holds it.

    For cells that are float32 the trees stay the same; rounded to the nearest, a threshold between two neighbouring
    numbers would become the upper one and take it in.
    """

    def rounded(line: re.Match[str]) -> str:
        exact = np.array(line[1].split(), dtype=np.float64)
        nearest = exact.astype(np.float32)
        down = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        return f"threshold={' '.join(repr(float(number)) for number in down)}"

    return _THRESHOLDS.sub(rounded, _SIZES.sub("", text))

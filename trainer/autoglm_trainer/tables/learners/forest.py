"""A random forest (Breiman 2001, "Random Forests"), scikit-learn's, exported by skl2onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autoglm_trainer.metrics import Floats
from autoglm_trainer.tables.features import Cells, Features
from autoglm_trainer.tables.graph import Graph

from .learner import STEPS, Lesson, in_classes


class Forest:
    """Trees on random rows and features; nothing to report on the way, since each part of a forest is a forest."""

    def learn(self, lesson: Lesson) -> LearnedForest:
        """Grow a tenth of the trees after another, for the heartbeat's sake."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        settings = lesson.settings
        kind = RandomForestClassifier if lesson.classes else RandomForestRegressor
        forest = kind(
            min_samples_leaf=settings.tree_min_rows,
            max_features=settings.tree_features,
            random_state=lesson.seed % 2**32,
            n_jobs=lesson.threads,
            warm_start=True,
        )
        features = lesson.features.of(lesson.features.plain, lesson.cells)
        for step in range(1, STEPS + 1):
            trees = -(-settings.trees * step // STEPS)
            if step == 1 or trees > forest.n_estimators:
                forest.set_params(n_estimators=trees)
                forest.fit(features, lesson.truth, sample_weight=lesson.weights)
            lesson.course.heartbeat()
        return LearnedForest(forest, lesson.features, lesson.classes)


@dataclass(frozen=True)
class LearnedForest:
    """A grown forest."""

    forest: Any
    features: Features
    classes: int

    def answer(self, cells: Cells) -> Floats:
        """See `Learned`."""
        features = self.features.of(self.features.plain, cells)
        if not self.classes:
            return np.asarray(self.forest.predict(features), dtype=np.float64)[:, None]
        return in_classes(self.forest.predict_proba(features), self.forest.classes_.astype(int), self.classes)

    def add_to(self, graph: Graph, features: Features) -> str:
        """See `Learned`."""
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        converted = convert_sklearn(
            self.forest,
            name="forest",
            initial_types=[("features", FloatTensorType([None, self.forest.n_features_in_]))],
            options={id(self.forest): {"zipmap": False}} if self.classes else None,
            target_opset={"": 18, "ai.onnx.ml": 1},
        )
        return graph.add_trees(converted, features.plain)

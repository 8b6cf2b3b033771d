"""The plain baselines of tables: what anybody would try first, without a search."""

from __future__ import annotations

import numpy as np

from autoglm_trainer.metrics import Floats, Ints

from .features import Cells, Choices, make_features
from .table import Table

PLAIN = Choices(categories="levels", integers="numbers", paired_columns=0, window="none")


def forest_probabilities(table: Table, targets: Floats, split: str) -> Floats:
    """Scikit-learn's random forest as it comes, on numbers and one-hot categories: (rows, classes)."""
    from sklearn.ensemble import RandomForestClassifier

    truth: Ints = targets.argmax(1)
    train, asked = _features(table, targets, split)
    forest = RandomForestClassifier(random_state=0).fit(train, truth)
    return np.asarray(forest.predict_proba(asked), dtype=np.float64)


def ridge_values(table: Table, targets: Floats, split: str) -> Floats:
    """Ridge regression, its penalty chosen by cross-validation, on scaled numbers and one-hot categories: (rows, 1)."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, asked = _features(table, targets, split)
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 7))).fit(train, targets[:, 0])
    return np.asarray(ridge.predict(asked), dtype=np.float64)[:, None]


def _features(table: Table, targets: Floats, split: str) -> tuple[Cells, Cells]:
    features = make_features(table.schema, table.cells["train"], targets, PLAIN)
    return features.of(features.plain, table.cells["train"]), features.of(features.plain, table.cells[split])

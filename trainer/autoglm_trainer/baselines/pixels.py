"""Logistic regression on small grey pixels: what any network on pictures must beat."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from autoglm_api.pictures import Bytes
from autoglm_trainer.metrics import Floats, Ints

SIZE = 16
_ITERATIONS = 300


def fit_pixels(pixels: Bytes, targets: Ints) -> Pipeline:
    """A classifier of pictures (pictures, channels, 16, 16)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_flat(pixels), targets)
    return model


def pixel_probabilities(model: Pipeline, pixels: Bytes) -> Floats:
    """(pictures, labels)."""
    return np.asarray(model.predict_proba(_flat(pixels)), dtype=np.float64)


def _flat(pixels: Bytes) -> Floats:
    return np.asarray(pixels.mean(axis=1).reshape(len(pixels), -1) / 255)

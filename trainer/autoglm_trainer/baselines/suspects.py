"""Labels that a simple model doubts: candidates for a look, never removed."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from autoglm_trainer.contract import Section, Table
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.texts import LabelledText

from .tfidf import vectorizer_of

MOST_ROWS = 10_000
_FOLDS = 5
_SHOWN = 20


@dataclass(frozen=True)
class Suspect:
    """A row whose label the model doubts.

    Attributes:
        place: of the row, as messages name it.
        doubted: how probable its own label is to a model that has not seen the row, 0 to 1.
        suggested: the label that is more probable.
        confidence: how probable that is.
    """

    place: str
    text: str
    label: str
    doubted: float
    suggested: str
    confidence: float


def suspect_tables(rows: Rows[LabelledText]) -> list[Section]:
    """For the report: the labels most in doubt; no table where none is."""
    found = suspects(rows, _SHOWN)
    note = (
        "A model of TF-IDF that has not seen these training rows finds another label much more probable. Nothing was"
        " changed: some are wrong, some are only hard."
    )
    cells = [
        (each.place.rsplit("/", 1)[-1], each.text[:200], each.label, each.doubted, each.suggested, each.confidence)
        for each in found
    ]
    header = ("row", "text", "label", "its probability", "rather", "probability")
    return [Table("Labels in doubt", note, header, tuple(cells))] if found else []


def suspects(rows: Rows[LabelledText], limit: int) -> list[Suspect]:
    """The rows with one label each whose label is most in doubt, at most `limit`, worst first.

    A model fitted on four fifths judges the other fifth. A row is a suspect if another label is the most probable one,
    and more so than that label usually is to the rows that have it (confident learning: Northcutt, Jiang and Chuang,
    "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021). Labels of fewer rows than folds are
    left out, and of many rows a random 10,000 are looked at.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    counted: dict[str, int] = {}
    for row in rows:
        counted[row.labels[0]] = counted.get(row.labels[0], 0) + 1
    kept = [row for row in rows if counted[row.labels[0]] >= _FOLDS]
    if len(kept) > MOST_ROWS:
        kept = random.Random(0).sample(kept, MOST_ROWS)
        left = {label for label in counted if sum(row.labels[0] == label for row in kept) >= _FOLDS}
        kept = [row for row in kept if row.labels[0] in left]
    labels = sorted({row.labels[0] for row in kept})
    if len(labels) < 2:
        return []
    place = {label: index for index, label in enumerate(labels)}
    given = np.array([place[row.labels[0]] for row in kept])
    texts = [row.text for row in kept]
    model = make_pipeline(vectorizer_of(texts), SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=50, random_state=0))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    probable = cross_val_predict(model, texts, given, cv=folds, method="predict_proba")
    usual = np.array([probable[given == label, label].mean() for label in range(len(labels))])
    eligible = np.where((probable >= usual) & (probable == probable.max(axis=1, keepdims=True)), probable, 0.0)
    best = eligible.argmax(axis=1)
    own = probable[np.arange(len(kept)), given]
    margin = np.where((best != given) & (eligible.max(axis=1) > own), eligible.max(axis=1) - own, 0.0)
    worst = [int(row) for row in np.argsort(-margin, kind="stable")[:limit] if margin[row] > 0]
    return [
        Suspect(
            place=rows.where(kept[row]),
            text=kept[row].text,
            label=labels[given[row]],
            doubted=float(own[row]),
            suggested=labels[best[row]],
            confidence=float(probable[row, best[row]]),
        )
        for row in worst
    ]

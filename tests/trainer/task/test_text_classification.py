"""Imbalance, several labels and long texts; the rest of the task is held to the contract elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from tests.trainer.contract.cases import CASES
from tests.trainer.task.making import Control, colour_rows, make_places, make_run, write_rows

from autoglm_trainer.errors import DataError
from autoglm_trainer.metrics.labels import measure
from autoglm_trainer.rows.texts import load_texts
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned

HEAD = {"method": "head", "head_c": 1.0}
(SEVERAL,) = [case for case in CASES if case.name == "several-labels"]

Load = Callable[..., Any]


@pytest.fixture(scope="module")
def load_rows(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Training rows → the task on the tiny BERT."""

    def load(rows: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> Any:
        folder = tmp_path_factory.mktemp("rows")
        data = {"test": {"source": write_rows(folder / "test.jsonl", test)}}
        train = write_rows(folder / "train.jsonl", rows)
        run = make_run(f"file://{model_folder('bert')}", train, data=data)
        return get_task(run.task).load(run, make_places(folder))

    return load


@pytest.fixture(scope="module")
def imbalanced(load_rows: Load) -> Any:
    """Few green and blue rows among many red ones, hard to tell apart by a frozen random model."""
    rows = [row for index, row in enumerate(colour_rows(240)) if row["label"] == "red" or index % 8 == 1]
    return load_rows(rows, colour_rows(60, start=500))


def recall_of_rare(fitted: Any) -> float:
    predictions = fitted.predict("test")
    answers = predictions.probabilities.argmax(1)
    rare = predictions.truth != predictions.labels.index("red")
    return float((answers[rare] != predictions.labels.index("red")).mean())


@pytest.mark.parametrize("knob", [{"class_weight": "balanced"}, {"prior_shift": 1.0}], ids=str)
def test_rare_labels_are_found_more_often_when_they_count_more(imbalanced: Any, knob: dict[str, Any]) -> None:
    weak = {**HEAD, "head_c": 1e-2}
    plain, balanced = (recall_of_rare(imbalanced.fit({**weak, **more}, Control())) for more in ({}, knob))
    assert balanced > plain + 0.2


def test_a_text_is_read_beyond_its_first_window(load_rows: Load) -> None:
    def long(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        return [
            {"text": f"the sky is so very deep and not really a fire {row['text']}", "label": row["label"]}
            for row in rows
        ]

    task = load_rows(long(colour_rows(90)), long(colour_rows(45, start=300)))
    cut, read = (
        task.fit({**HEAD, "max_length": 8, "long_texts": long_texts}, Control()).evaluate("test")["accuracy"]
        for long_texts in ("cut", "windows")
    )
    assert read > cut + 0.2
    settings = task.problem.settings({"max_length": 8, "long_texts": "windows"})
    examples = task.problem.examples("test", settings)
    assert max(map(len, examples.tokens)) <= 8
    assert len(examples) > len(set(examples.items)) == 45


def test_short_texts_have_one_window_each(load_rows: Load) -> None:
    task = load_rows(colour_rows(30), colour_rows(9, start=300))
    settings = task.problem.settings({"max_length": 64, "long_texts": "windows"})
    assert task.problem.examples("test", settings).items == tuple(range(9))


def test_a_gate_over_the_layers_is_learned_restored_and_exported(
    load: Callable[[str], LoadedTuned], tmp_path: Path
) -> None:
    task, folder = load("bert"), tmp_path / "exported"  # a decoder's gate is the server's of token classification
    point = {"method": "lora", "epochs": 2, "batch_size": 16, "gate": "layers", "head_learning_rate": 3e-2}
    fitted = task.fit(point, Control())
    assert fitted.weights["head.mixture"].tolist() != [0.0, 2.0]
    answered = np.concatenate(fitted.logits("test"))
    assert not np.array_equal(answered, np.concatenate(task.fit({**point, "gate": "none"}, Control()).logits("test")))
    fitted.save(tmp_path)
    assert np.array_equal(np.concatenate(load("bert").restore({}, tmp_path).logits("test")), answered)
    folder.mkdir()
    fitted.export(folder)  # checks the graph's answers against the network's
    ungated, gated = (task.fit({**HEAD, "gate": gate}, Control()).logits("test") for gate in ("none", "layers"))
    assert np.array_equal(np.concatenate(ungated), np.concatenate(gated)), "the frozen head has no gate"


def test_a_threshold_decides_how_many_labels_a_text_gets(load_rows: Load) -> None:
    task = load_rows(SEVERAL.rows(60, 0), SEVERAL.rows(30, 200))
    low, high = (task.fit({**HEAD, "threshold": threshold}, Control()) for threshold in (0.2, 0.8))
    given = [(each.predict("test").probabilities >= each.settings.threshold).sum() for each in (low, high)]
    assert given[0] > given[1] > 0
    assert low.evaluate("test")["recall"] > high.evaluate("test")["recall"]
    shown = [type(section).__name__ for section in low.predict("test").sections()]
    assert shown == ["Table", "Curves", "Curves"]
    assert len(task.baseline("test")) == 30
    assert 0 <= task.baseline("test").measure()["f1_macro"] <= 1


def test_metrics_of_several_labels_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    probabilities, truth = draw.random((50, 4)), draw.integers(0, 2, (50, 4))
    given = probabilities >= 0.4
    measured = measure(probabilities, truth, 0.4)
    for name, score in (("f1_macro", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert measured[name] == pytest.approx(score(truth, given, average="macro", zero_division=0))
    assert measured["accuracy"] == pytest.approx((given == truth).all(1).mean())
    probabilities[0, 0] = np.nan
    assert np.isnan(list(measure(probabilities, truth, 0.4).values())).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "a", "label": ["x"]}, {"text": "b", "label": "x"}], "line 2: the label is a single label"),
        ([{"text": "a", "label": []}, {"text": "b", "label": []}], "no row has a label"),
        ([{"text": "a", "label": ["x", " "]}], "line 1: 'label' is empty"),
    ],
)
def test_lists_of_labels_are_checked(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*rows, *rows])
    run = make_run("file:///nowhere", source, data={"validation": {"source": source}})
    with pytest.raises(DataError, match=said):
        load_texts(run.data, make_places(tmp_path).data, seed=0)

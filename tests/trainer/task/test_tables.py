"""Tables: columns told by their cells, splits that do not leak, features that serve as they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from tests.trainer.task.making import Control, make_places, make_run, write_rows

from autoglm_api.tables import CategoryColumn, NumberColumn
from autoglm_trainer.errors import DataError
from autoglm_trainer.metrics.ranking import auc, average_precision
from autoglm_trainer.predictions.scored import Decision, measure
from autoglm_trainer.tables.detection import described, detect_columns
from autoglm_trainer.tables.folds import folds_of
from autoglm_trainer.tables.learners.ensemble import greedy_weights
from autoglm_trainer.tables.task import LoadedTable
from autoglm_trainer.tasks import get_task

GERMAN_CREDIT = Path(__file__).resolve().parents[4] / "shared/data/tab_german_credit"


def load(folder: Path, rows: list[dict[str, Any]], task: str = "tabular-classification", **changes: Any) -> LoadedTable:
    metric = ("auc", "Maximize") if task == "tabular-classification" else ("rmse", "Minimize")
    data = {"train": {"source": write_rows(folder / "rows.jsonl", rows)}, **changes.pop("data", {})}
    objectives = [{"metric": metric[0], "direction": metric[1]}]
    run = make_run(None, data["train"]["source"], task=task, data=data, objectives=objectives, **changes)
    loaded = get_task(task).load(run, make_places(folder))
    assert isinstance(loaded, LoadedTable)
    return loaded


def test_columns_are_told_by_their_cells() -> None:
    count = 40
    kinds, dropped = detect_columns(
        {
            "amount": [f"{index * 7 % 11}.5" for index in range(count)],
            "rooms": [index % 4 for index in range(count)],
            "town": [("Oslo", "Oslo", "Bergen")[index % 3] for index in range(count)],
            "new": [("true", "False")[index % 2] for index in range(count)],
            "since": [f"2026-01-{index % 28 + 1:02d}" for index in range(count)],
            "at": [f"2026-01-01T{index % 24:02d}:00" for index in range(count)],
            "odd": [*(["3"] * 39), "three"],
            "score": [index * 7 % 40 for index in range(count)],
            "id": list(range(100, 140)),
            "customer_id": [f"K{index}" for index in range(count)],
            "remarks": [f"the parcel came {index} days late" for index in range(count)],
            "same": ["yes"] * count,
            "empty": [None] * count,
            "tags": [["a"]] * count,
            "income": [f"{index * 37 % 101}.5" if index % 9 else ("-", "inf")[index % 2] for index in range(count)],
            "day": [f"{index % 28 + 1:02d}.{index % 12 + 1:02d}.2026" for index in range(count)],
            "price": [f"{index},5" for index in range(count)],
        }
    )
    assert [(column.name, column.kind) for column in kinds] == [
        ("amount", "number"),
        ("rooms", "number"),
        ("town", "category"),
        ("new", "boolean"),
        ("since", "moment"),
        ("at", "moment"),
        ("odd", "category"),
        ("score", "number"),
        ("income", "number"),
    ]
    assert described(kinds[-1]) == "number; '-', 'inf' count as missing"
    assert isinstance(kinds[1], NumberColumn)
    assert kinds[1].levels == (0, 1, 2, 3)
    assert isinstance(kinds[2], CategoryColumn)
    assert kinds[2].values == ("Oslo", "Bergen")
    why = {each.name: each.why for each in dropped}
    assert list(why) == ["id", "customer_id", "remarks", "same", "empty", "tags", "day", "price"]
    assert "names the rows" in why["id"]
    assert "free text" in why["remarks"]
    assert "always 'yes'" in why["same"]
    assert "write 2026-11-28" in why["day"]
    assert "write 1234.5" in why["price"]


def readings(count: int) -> list[dict[str, Any]]:
    """Twenty machines, one reading a day; each has a load of its own, and fails by it, but single loads are noise."""
    draw = np.random.default_rng(0)
    usual = draw.permutation(20)
    rows: list[dict[str, Any]] = []
    for day in range(count):
        machine = int(draw.integers(0, 20))
        load = float(np.round(usual[machine] + draw.normal(0, 8), 1))
        rows.append(
            {"machine": f"M{machine}", "day": day, "load": load, "label": ("runs", "fails")[usual[machine] // 10]}
        )
    return rows


def test_with_a_time_the_latest_rows_are_held_out_and_folds_follow_it(tmp_path: Path) -> None:
    rows = readings(60)
    shuffled = [rows[place] for place in np.random.default_rng(1).permutation(60)]
    loaded = load(tmp_path, shuffled, data={"columns": {"time": "day"}})
    splits, day = loaded.table.rows.splits, loaded.table.rows.names.index("day")
    times = {split: [row.cells[day] for row in each] for split, each in splits.by_name.items()}
    assert max(times["train"]) < min(times["validation"])
    assert len(times["validation"]) == 12
    folds, in_turn = folds_of(loaded.table, 3, seed=1, classes=2)
    assert in_turn
    for fold in range(1, 4):
        earlier = [time for time, part in zip(times["train"], folds, strict=True) if part < fold]
        later = [time for time, part in zip(times["train"], folds, strict=True) if part == fold]
        assert max(earlier) < min(later)


def test_rows_of_a_group_are_on_one_side_and_in_one_fold(tmp_path: Path) -> None:
    rows = [{"who": f"G{index % 15}", "age": index * 7 % 23, "label": "ab"[index % 2]} for index in range(60)]
    loaded = load(tmp_path, rows, data={"validation": {"fraction": 0.3, "groupBy": "who"}})
    splits = loaded.table.rows.splits
    assert not {row.group for row in splits.train} & {row.group for row in splits.validation}
    assert [column.name for column in loaded.table.schema.columns] == ["age"], "a group is no feature"
    folds, _ = folds_of(loaded.table, 4, seed=1, classes=2)
    for group in {row.group for row in splits.train}:
        assert len({part for row, part in zip(splits.train, folds, strict=True) if row.group == group}) == 1


def test_where_few_things_are_known_of_rows_equal_ones_are_other_observations(tmp_path: Path) -> None:
    rows = [{"sex": "fm"[index % 2], "class": index % 3, "label": "ab"[index % 7 // 4]} for index in range(70)]
    splits = load(tmp_path, rows).table.rows.splits
    assert splits.counts == {"train": 56, "validation": 14}
    assert {row.cells for row in splits.validation} <= {row.cells for row in splits.train}
    assert splits.overlap("validation") == 0


def test_what_an_entity_did_before_is_found_and_its_future_is_not_looked_at(tmp_path: Path) -> None:
    loaded = load(tmp_path, readings(400), data={"columns": {"time": "day", "entity": "machine"}})
    point = {"method": "linear"}
    with_past = loaded.fit({**point, "window": "all"}, Control()).evaluate("validation")["auc"]
    without = loaded.fit({**point, "window": "none"}, Control()).evaluate("validation")["auc"]
    assert with_past > 0.9 > 0.8 > without
    changed = [dict(row, load=99.0 if row["day"] > 150 else row["load"]) for row in readings(400)]
    (tmp_path / "changed").mkdir()
    other = load(tmp_path / "changed", changed, data={"columns": {"time": "day", "entity": "machine"}})
    early, late = slice(0, 151), slice(151, None)
    assert np.array_equal(loaded.table.cells["train"][early], other.table.cells["train"][early], equal_nan=True)
    assert not np.array_equal(loaded.table.cells["train"][late], other.table.cells["train"][late], equal_nan=True)


@pytest.mark.parametrize("method", ["boosting", "forest", "network", "linear", "ensemble"])
@pytest.mark.parametrize("labels", [("a", "b"), ("a", "b", "c")], ids=["two classes", "three"])
def test_every_learner_answers_with_every_feature(tmp_path: Path, method: str, labels: tuple[str, ...]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "size": index % 17 if index % 6 else None,
            "rooms": index % 4,
            "ratio": (index % 17) / (index % 5 + 1),
            "town": ("Oslo", "Bergen", None)[index % 3],
            "label": labels[(index % 17 // 4 + index % 3) % len(labels)],
        }
        for index in range(90)
    ]
    loaded = load(tmp_path, rows)
    point = {"method": method, "trees": 15, "rounds": 15, "epochs": 3, "folds": 2, "leaf_min_rows": 4}
    features = {"categories": "both", "integers": "levels", "paired_columns": 3, "class_weight": "balanced"}
    predictions = loaded.fit({**point, **features}, Control()).predict("validation")
    assert predictions.probabilities.sum(1) == pytest.approx(1, abs=1e-5)  # type: ignore[attr-defined]
    titles = [section.title for section in predictions.sections()]
    assert "Which columns matter" in titles
    assert "What the columns were taken for" in titles


def test_an_ensemble_learns_where_a_fold_lacks_the_only_row_of_a_class(tmp_path: Path) -> None:
    rows = [{"size": index % 17, "label": "rare" if index == 3 else "usual"} for index in range(40)]
    source = write_rows(tmp_path / "validation.jsonl", [{"size": 3, "label": "rare"}, {"size": 5, "label": "usual"}])
    loaded = load(tmp_path, rows, data={"validation": {"source": source}})
    point = {"method": "ensemble", "folds": 3, "trees": 5, "rounds": 5, "epochs": 1, "leaf_min_rows": 1}
    assert loaded.fit(point, Control()).evaluate("validation")["auc"] >= 0


def test_an_ensemble_learns_from_two_rows(tmp_path: Path) -> None:
    rows = [{"a": index, "b": index % 7, "label": "xy"[index % 2]} for index in (1, 2)]
    source = write_rows(tmp_path / "validation.jsonl", [{**row, "b": 3} for row in rows])
    loaded = load(tmp_path, rows, data={"validation": {"source": source}})
    point = {"method": "ensemble", "folds": 2, "trees": 5, "rounds": 5, "epochs": 1, "leaf_min_rows": 1}
    assert loaded.fit(point, Control()).evaluate("validation")["auc"] >= 0


def test_an_ensemble_learns_from_rows_of_one_moment(tmp_path: Path) -> None:
    rows = [{"day": index // 30, "size": index % 7, "label": "ab"[index % 7 // 4]} for index in range(60)]
    loaded = load(tmp_path, rows, data={"columns": {"time": "day"}, "validation": {"fraction": 0.5}})
    point = {"method": "ensemble", "trees": 5, "rounds": 5, "epochs": 1, "leaf_min_rows": 2}
    assert loaded.fit(point, Control()).evaluate("validation")["auc"] > 0.9


@pytest.mark.parametrize("method", ["forest", "ensemble"])
def test_on_a_small_table_training_rows_judge_by_models_that_have_not_seen_them(tmp_path: Path, method: str) -> None:
    draw = np.random.default_rng(0)
    rows = [{"a": draw.random(), "b": draw.random(), "label": "xy"[draw.integers(2)]} for _ in range(300)]
    loaded = load(tmp_path, rows)
    control = Control()
    point = {"method": method, "trees": 10, "tree_min_rows": 1, "rounds": 5, "epochs": 1, "networks": 1, "folds": 3}
    fitted = loaded.fit(point, control)
    known, train = loaded.answers.predictions, loaded.answers.truth["train"]
    assert fitted.held_out is not None
    assert fitted.held_out.rows.tolist() == list(range(len(train)))
    # Nothing can be learned, though every tree knows its rows by heart.
    assert known(train, fitted.held_out.outputs, fitted.decision).measure()["auc"] == pytest.approx(0.5, abs=0.1)
    judged = fitted.evaluate("validation")["auc"]
    assert judged != fitted.predict("validation").measure()["auc"]
    judges = fitted.sections("validation")[-1]
    assert judges.rows == (("training", 240), ("validation", 60))
    assert [step for step, _ in control.reports] == ([1, 2] if method == "forest" else [])
    fitted.save(tmp_path)
    assert loaded.restore(point, tmp_path).evaluate("validation")["auc"] == judged


def test_validation_rows_judge_alone_if_the_study_says_so(tmp_path: Path) -> None:
    rows = [{"a": index * 7 % 60, "label": "xy"[index * 7 % 60 // 30]} for index in range(60)]
    fitted = load(tmp_path, rows).fit({"method": "linear", "judged_by": "validation"}, Control())
    assert fitted.held_out is None
    assert fitted.evaluate("validation")["loss"] == fitted.predict("validation").measure()["loss"]


def test_with_a_time_rows_judge_what_was_learned_from_earlier_ones(tmp_path: Path) -> None:
    loaded = load(tmp_path, readings(60), data={"columns": {"time": "day"}})
    fitted = loaded.fit({"method": "linear", "folds": 3}, Control())
    assert fitted.held_out is not None
    assert fitted.held_out.rows.tolist() == list(range(12, 48)), "of four parts the first is only learned from"


def test_weights_go_to_what_answers_well() -> None:
    truth = np.eye(2)[np.arange(40) % 2]
    good, noise = 0.8 * truth + 0.1, np.full((40, 2), 0.5)
    other = np.where(np.arange(40)[:, None] < 20, 0.95 * truth + 0.025, 0.6 * truth + 0.2)
    weights = greedy_weights([good, noise, other], truth, np.ones(40), classes=2)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] == 0
    assert greedy_weights([truth + 1, truth - 1], truth, np.ones(40), classes=0) == [0.5, 0.5]


def test_areas_are_scikit_learns_ties_too() -> None:
    draw = np.random.default_rng(3)
    truth = (draw.random(200) < 0.3).astype(np.int64)
    scores = np.round(truth * 0.3 + draw.random(200), 1)
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    assert np.isnan(auc(scores, np.ones(200, dtype=np.int64)))


def test_the_threshold_decides_between_two_classes_and_leaves_the_areas_alone() -> None:
    draw = np.random.default_rng(4)
    truth = (draw.random(100) < 0.3).astype(np.int64)
    rare = truth * 0.3 + 0.5 * draw.random(100)
    probabilities = np.stack([1 - rare, rare], axis=1)
    low, high = (measure(probabilities, Decision(1, at).answers(probabilities), truth, 1) for at in (0.4, 0.7))
    assert low["auc"] == high["auc"]
    assert low["balanced_accuracy"] > high["balanced_accuracy"]
    assert low["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, rare >= 0.4))


def test_a_threshold_of_the_validation_rows_is_the_best_one_there(tmp_path: Path) -> None:
    rows = [
        {"size": index % 20, "noise": index * 31 % 7, "label": "rare" if index % 20 > 16 else "usual"}
        for index in range(200)
    ]
    loaded = load(tmp_path, rows)
    point = {"method": "linear", "linear_c": 1e-3}
    usual, best = (
        loaded.fit({**point, "threshold_from": source}, Control()).evaluate("validation")["f1_macro"]
        for source in ("point", "validation")
    )
    assert best > usual


def numbered(**cells: Any) -> list[dict[str, Any]]:
    return [{"a": index, "label": "xy"[index % 2], **cells} for index in range(30)]


BAD: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([{"a": 1}] * 30, {}, "no column 'label'; found: 'a'"),
    (numbered(label="x"), {}, "training rows have the class 'x'"),
    (numbered()[:2], {}, "no rows can be held out for validation, no class has two rows that differ"),
    (numbered(b=1), {"features": ["b"]}, "no column can be learned from ('b': it is always '1')"),
    (numbered(), {}, "no column can be learned from ('a': it names the rows"),
    (
        numbered(),
        {"ignore": ["b"]},
        "no column 'b'; found: 'a', 'label' (read as JSONL); name the right one in data.ign",
    ),
    (numbered(), {"validation": {"fraction": 0.2, "groupBy": "b"}}, "name the right one in data.validation.groupBy"),
    (numbered(), {"ignore": ["a"]}, "no column is left to learn from"),
    (numbered(t="soon"), {"columns": {"time": "t"}}, "the time in 't' is 'soon'"),
    ([{"a": index, "label": "xy"[index < 9]} for index in range(10)], {}, "data.validation: all 2 rows have the class"),
]


@pytest.mark.parametrize(("rows", "data", "said"), BAD, ids=[said[:30] for _, _, said in BAD])
def test_tables_that_cannot_be_used_are_refused(
    tmp_path: Path, rows: list[Any], data: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError) as refused:
        load(tmp_path, rows, data=data)
    assert said in str(refused.value)


def test_a_cell_of_another_kind_in_later_rows_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [{"a": index % 7, "label": "xy"[index % 2]} for index in range(30)]
    test = write_rows(tmp_path / "test.jsonl", [{"a": 3, "label": "x"}, {"a": "many", "label": "y"}])
    with pytest.raises(DataError, match=r"test\.jsonl, line 2: 'a' must be a number as in the training rows"):
        load(tmp_path, rows, data={"test": {"source": test}})


def test_half_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"a": 3, "label": "x"}\n{"a": "\\ud800", "label": "x"}\n')
    rows = [{"a": "pqr"[index % 3], "label": "xy"[index % 2]} for index in range(30)]
    with pytest.raises(DataError, match=r"test\.jsonl, line 2: 'a' holds half of a surrogate pair \(\\ud800\)"):
        load(tmp_path, rows, data={"test": {"source": f"file://{tmp_path}/test.jsonl"}})


def test_a_class_of_test_rows_alone_is_refused(tmp_path: Path) -> None:
    rows = [{"a": index % 7, "label": "xy"[index % 2]} for index in range(30)]
    test = write_rows(tmp_path / "test.jsonl", [{"a": 3, "label": "z"}])
    with pytest.raises(DataError, match=r"line 1: the class 'z' stands in the test rows only"):
        load(tmp_path, rows, data={"test": {"source": test}})


@pytest.mark.skipif(not GERMAN_CREDIT.is_dir(), reason="the shared data sets are not here")
def test_german_credit_without_a_search_is_ranked_better_than_by_a_plain_forest(tmp_path: Path) -> None:
    sources = {split: {"source": f"file://{GERMAN_CREDIT}/{split}.csv"} for split in ("train", "validation", "test")}
    run = make_run(
        None,
        sources["train"]["source"],
        task="tabular-classification",
        data=sources,
        objectives=[{"metric": "auc", "direction": "Maximize"}],
    )
    loaded = get_task("tabular-classification").load(run, make_places(tmp_path))
    ours = loaded.fit({"judged_by": "validation"}, Control()).evaluate("test")["auc"]
    plain = loaded.baseline("test").measure()["auc"]
    assert plain == pytest.approx(0.747, abs=0.01)
    assert ours >= 0.76

"""Validation rows by share, group and time; a random sample; cleaning, and what it never touches."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoglm_api.locations import locate
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.cleaning import washed_text
from autoglm_trainer.rows.holding_out import HoldOut
from autoglm_trainer.rows.questions import load_questions
from autoglm_trainer.rows.reading import sampled
from autoglm_trainer.rows.splits import Rows, Splits
from autoglm_trainer.rows.texts import LabelledText, load_texts

HOLD_OUT = HoldOut[LabelledText](stratum=lambda row: row.labels[0], single="none")


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"file://{path}"


def load(tmp_path: Path, rows: list[dict[str, Any]], *, seed: int = 0, **data: Any) -> Splits[LabelledText]:
    train = {"source": write(tmp_path / "train.jsonl", rows), **data.pop("train", {})}
    spec = Data.model_validate({"train": train, **data})
    return load_texts(spec, lambda uri: locate(uri, claims_root=tmp_path, credentials={}), seed=seed).splits


def numbered(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"t{n}", "label": "ab"[n % 2], **more} for n in range(count)]


def texts(rows: Rows[LabelledText] | None) -> list[str]:
    assert rows is not None
    return [row.text for row in rows]


def test_no_group_stands_on_both_sides(tmp_path: Path) -> None:
    rows = [{**row, "person": n // 4} for n, row in enumerate(numbered(80))]
    person = {row["text"]: row["person"] for row in rows}
    splits = load(tmp_path, rows, validation={"fraction": 0.2, "groupBy": "person"})
    train, validation = ({person[text] for text in texts(side)} for side in (splits.train, splits.validation))
    assert not train & validation
    assert len(splits.validation) == 16
    other = load(tmp_path, rows, validation={"fraction": 0.2, "groupBy": "person"}, seed=1)
    assert texts(other.validation) != texts(splits.validation)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 3),
)
def test_groups_leave_every_label_to_train_on(pairs: list[tuple[int, str]], fraction: float, seed: int) -> None:
    rows = Rows("r", tuple(LabelledText(f"t{n}", (label,), n) for n, (_, label) in enumerate(pairs)))
    groups = [group for group, _ in pairs]
    try:
        train, validation = HOLD_OUT.split_groups(rows, groups, fraction, seed=seed)
    except DataError:
        # Every group holds all of some label.
        labels = {label: {group for group, other in pairs if other == label} for _, label in pairs}
        assert all(any(holders == {group} for holders in labels.values()) for group in groups)
        return
    assert {row.labels for row in train} == {row.labels for row in rows}
    assert not {groups[row.line] for row in train} & {groups[row.line] for row in validation}
    assert sorted([*train.rows, *validation.rows], key=lambda row: row.line) == list(rows.rows)


@pytest.mark.parametrize(
    "times",
    [
        [f"2026-01-{day:02}" for day in range(1, 11)],
        [f"2026-01-01T{hour:02}:00:00+0{hour % 2}:00" for hour in range(1, 20, 2)],
        list(range(10)),
        [str(n / 2) for n in range(10)],
    ],
    ids=["dates", "zones", "numbers", "texts"],
)
def test_the_latest_rows_are_held_out(tmp_path: Path, times: list[Any]) -> None:
    rows = [{**row, "at": at} for row, at in zip(numbered(10), times, strict=True)]
    splits = load(tmp_path, rows[::-1], validation={"fraction": 0.3, "timeBy": "at"})
    assert texts(splits.validation) == ["t9", "t8", "t7"]


def test_rows_of_one_moment_stay_together(tmp_path: Path) -> None:
    rows = [{**row, "at": f"2026-01-0{1 + n // 4}"} for n, row in enumerate(numbered(12))]
    assert len(load(tmp_path, rows, validation={"fraction": 0.2, "timeBy": "at"}).validation) == 4


@pytest.mark.parametrize(
    ("validation", "changes", "said"),
    [
        ({"groupBy": "who"}, {}, ["line 1: no column 'who'", "in data.validation"]),
        ({"groupBy": "who"}, {"who": None}, ["the group in 'who' is missing"]),
        ({"groupBy": "who"}, {"who": ["a"]}, ["the group in 'who' is", "a text or a number"]),
        ({"groupBy": "who"}, {"who": 1}, ["of 1 groups none can be spared"]),
        ({"timeBy": "at"}, {"at": "soon"}, ["the time in 'at' is 'soon'", "such as 2026-11-28"]),
        ({"timeBy": "at"}, {"at": None}, ["the time in 'at' is missing"]),
        ({"timeBy": "at"}, {"at": "2026-01-01"}, ["all are of one moment"]),
    ],
)
def test_columns_that_cannot_part_the_rows_are_refused(
    tmp_path: Path, validation: dict[str, Any], changes: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, numbered(10, **changes), validation={"fraction": 0.2, **validation})
    for part in ("train.jsonl", *said):
        assert part in str(caught.value)


def test_numbers_among_dates_are_refused(tmp_path: Path) -> None:
    rows = [*numbered(5, at="2026-01-01"), {"text": "x", "label": "a", "at": 7}]
    with pytest.raises(DataError, match="line 6: the time in 'at' is a number, the rows before have dates"):
        load(tmp_path, rows, validation={"fraction": 0.2, "timeBy": "at"})


def test_a_sample_is_uniform_follows_the_seed_and_keeps_the_order(tmp_path: Path) -> None:
    rows = [(n, {"n": n}) for n in range(20)]
    seen = Counter(line for seed in range(2_000) for line, _ in sampled(5, seed)(iter(rows)))
    assert set(seen) == set(range(20))
    assert max(seen.values()) < 1.25 * min(seen.values())
    drawn = [line for line, _ in sampled(5, 3)(iter(rows))]
    assert drawn == sorted(drawn) == [line for line, _ in sampled(5, 3)(iter(rows))]
    splits = load(tmp_path, numbered(100), train={"limit": 40})
    assert len(splits.train) + len(splits.validation) == 40


def test_cleaning_says_what_it_did_to_training_rows_and_leaves_the_others_alone(tmp_path: Path) -> None:
    judged = [{"text": "t0", "label": "a"}, {"text": "t0", "label": "a"}, {"text": " v\u0000 ", "label": "b"}]
    rows = [
        *numbered(8),
        {"text": "t5", "label": "b"},
        {"text": " \ufeff", "label": "b"},
        {"text": "", "label": "b"},
        {"text": "z\u0000ero \r\n x\u000by\t", "label": "a"},
    ]
    test = write(tmp_path / "test.jsonl", judged)
    splits = load(tmp_path, rows, validation={"source": test}, test={"source": test})
    assert texts(splits.train) == [*(f"t{n}" for n in range(1, 8)), "zero\n x y"]
    assert texts(splits.test) == ["t0", "t0", " v\u0000 "]
    assert {change.what: change.count for change in splits.changes} == {
        "left out: 'text' is empty": 2,
        "control characters and white space removed": 1,
        "left out: repeats an earlier row": 1,
        "left out: stands in the test rows too": 1,
    }
    places = {change.what: change.examples[0][0].split("/")[-1] for change in splits.changes}
    assert places["left out: repeats an earlier row"] == "train.jsonl, line 9, as line 6"
    plain = load(tmp_path, rows[:8], validation={"source": test}, test={"source": test}, cleaning="Off")
    assert plain.changes == ()
    assert plain.digests.test == splits.digests.test
    assert len(plain.train) == 8


def test_what_the_latest_rows_repeat_is_not_trained_on(tmp_path: Path) -> None:
    rows = [{**row, "at": n} for n, row in enumerate([*numbered(8), *numbered(2)])]
    kept = load(tmp_path, [*rows[:8], {**rows[8], "label": "b"}], validation={"fraction": 0.1, "timeBy": "at"})
    assert texts(kept.validation) == ["t0"]
    assert "t0" not in texts(kept.train)


def test_a_source_that_is_named_twice_is_trained_on(tmp_path: Path) -> None:
    source = f"file://{tmp_path}/train.jsonl"
    splits = load(tmp_path, numbered(6), validation={"source": source}, test={"source": source})
    assert len(splits.train) == 6


def test_training_rows_that_are_all_judged_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 6 training rows stand in the test rows too .* data\.cleaning: Off"):
        load(tmp_path, numbered(6), test={"source": write(tmp_path / "test.jsonl", numbered(6))})


def test_a_column_that_is_mostly_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 10 rows say nothing \('text' is empty\)"):
        load(tmp_path, [*numbered(4), *({"text": " ", "label": "a"} for _ in range(6))])


def test_a_context_keeps_its_characters_for_answers_are_counted_in_them(tmp_path: Path) -> None:
    row = {"question": "who?", "context": "\u0001 it was\u0000 Ada ", "answer": "Ada", "answer_start": 10}
    source = write(tmp_path / "train.jsonl", [row, row])
    spec = Data.model_validate({"train": {"source": source}, "validation": {"source": source}})
    splits = load_questions(spec, lambda uri: locate(uri, claims_root=tmp_path, credentials={}), seed=0)
    assert [(each.context, each.start) for each in splits.train] == [(row["context"], 10)]


@given(st.text())
def test_washing_twice_is_washing_once_and_keeps_what_can_be_read(text: str) -> None:
    washed = washed_text(text)
    assert isinstance(washed, str)
    assert washed_text(washed) == washed
    assert [sign for sign in washed if sign.isprintable() and not sign.isspace()] == [
        sign for sign in text if sign.isprintable() and not sign.isspace()
    ]

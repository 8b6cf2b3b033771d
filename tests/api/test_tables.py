"""Rows of a table become numbers, cell by cell, for trainer and server alike."""

from __future__ import annotations

import math
from datetime import date

import pytest

from autoglm_api.tables import (
    BooleanColumn,
    CategoryColumn,
    CellError,
    History,
    MomentColumn,
    NumberColumn,
    Past,
    TableSchema,
)
from autoglm_api.tables.cells import as_moment, as_number, as_text, is_missing


@pytest.mark.parametrize("value", [None, "", "  ", "NA", "n/a", "NaN", "null", "?"])
def test_words_for_nothing_are_missing(value: str | None) -> None:
    assert is_missing(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        ("3", 3.0),
        (" -1.5e3 ", -1500.0),
        (".5", 0.5),
        ("1_000", None),
        ("inf", None),
        (1e39, None),
        (-(10**400), None),
        (float("nan"), None),
        (True, None),
    ],
)
def test_numbers_are_what_people_write_as_numbers(value: object, number: float | None) -> None:
    assert as_number(value) == number  # type: ignore[arg-type]


def test_a_category_is_the_same_in_json_and_csv() -> None:
    assert as_text(3) == as_text(3.0) == as_text("3") == as_text("3.0 ") == "3"
    assert as_text("3.10") == "3.10"
    assert as_text(True) == "true"
    assert as_text([1]) is None


def test_moments_with_a_zone_are_moved_to_utc() -> None:
    assert as_moment("2026-03-01T01:30:00+02:00") == as_moment("2026-02-28 23:30")
    assert as_moment("2026/03/01") == as_moment("2026-03-01")
    assert as_moment("2026-13-01") is None
    assert as_moment("20260301") is None
    assert as_moment("0001-01-01T00:00+10:00") is None, "in UTC it is before the calendar"


def test_a_moment_knows_its_place_in_year_week_and_day() -> None:
    column = MomentColumn(name="at", hours=True)
    read = dict(zip(column.parts, column.read("1970-01-05 06:00"), strict=True))
    assert read["at (days)"] == pytest.approx(4.25)
    assert read["at (sine of the day)"] == pytest.approx(1)
    assert read["at (cosine of the week)"] == pytest.approx(math.cos(2 * math.pi * 0.25 / 7)), "it was a Monday"
    assert date(1970, 1, 5).weekday() == 0
    assert all(map(math.isnan, column.read(None)))


def test_a_category_nobody_knows_is_not_a_missing_one() -> None:
    column = CategoryColumn(name="town", values=("Oslo", "Bergen"), shares=(0.7, 0.3))
    assert [column.read(value)[0] for value in ("Oslo", "Bergen", "Molde")] == [0, 1, 2]
    assert math.isnan(column.read("")[0])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (NumberColumn(name="age"), "old", "'age' must be a number as in the training rows, got \"old\""),
        (NumberColumn(name="age"), True, "'age' must be a number"),
        (BooleanColumn(name="new"), "perhaps", "'new' must be true or false"),
        (MomentColumn(name="at"), "yesterday", "'at' must be a date"),
        (CategoryColumn(name="town", values=(), shares=()), {"a": 1}, "'town' must be a text, a number or a boolean"),
    ],
)
def test_cells_of_another_kind_are_refused_with_column_and_value(column: object, value: object, said: str) -> None:
    with pytest.raises(CellError, match=said):
        column.read(value)  # type: ignore[attr-defined]


def history(*, time: str | None) -> History:
    times = (1.0, 2.0, 4.0) if time else ()
    past = Past(times=times, rows=((10.0,), (None,), (40.0,)))
    return History(entity="who", time=time, numbers=("spent",), past={"anna": past})


def test_the_past_of_an_entity_is_what_came_before_and_nothing_else() -> None:
    known = history(time="day")
    read = [dict(zip(known.parts, known.read("anna", day), strict=True)) for day in (1, 2, 4, 5)]
    assert [row["rows of the who"] for row in read] == [0, 1, 2, 3]
    assert math.isnan(read[0]["days since its last day"])
    assert [row["days since its last day"] for row in read[1:]] == [1, 2, 1]
    assert [row["spent (mean of its rows)"] for row in read[1:]] == [10, 10, 25]
    assert math.isnan(read[2]["spent (in its last row)"])
    assert read[3]["spent (in its last row)"] == 40


def test_without_a_time_a_training_row_is_not_told_of_itself() -> None:
    known = history(time=None)
    assert known.read("anna", None) == (3.0, 25.0)
    assert known.read("anna", None, own=[40.0]) == (2.0, 10.0)
    assert known.read("nobody", None)[0] == 0
    assert math.isnan(known.read(None, None)[1])


def test_a_schema_reads_the_same_after_it_was_written() -> None:
    schema = TableSchema(
        columns=(NumberColumn(name="age", levels=(1, 2)), MomentColumn(name="at")), history=history(time="at")
    )
    again = TableSchema.model_validate_json(schema.model_dump_json(by_alias=True))
    row = {"age": "2", "at": "1970-01-06", "who": "anna"}
    assert again.read(row) == schema.read(row)
    assert len(schema.read({})) == len(schema.parts)
    assert schema.names == ("age", "at", "who")

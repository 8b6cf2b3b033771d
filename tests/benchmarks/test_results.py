"""What the tables say of the figures."""

from __future__ import annotations

import json

import pytest
from benchmarks.results import Aim, Row, Table, machine, per_hour, percentile, times


def test_ratio_says_how_many_times_more() -> None:
    assert times(9.0, 0.3) == pytest.approx(30.0)


@pytest.mark.parametrize(("larger", "smaller"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)])
def test_ratio_of_nothing_is_refused(larger: float, smaller: float) -> None:
    with pytest.raises(ValueError, match="two positive figures"):
        times(larger, smaller)


def test_trials_an_hour_count_the_start_once() -> None:
    assert per_hour(10, start_seconds=20.0, trial_seconds=1.6) == pytest.approx(1_000.0)
    assert per_hour(100, start_seconds=20.0, trial_seconds=1.6) == pytest.approx(2_000.0)


@pytest.mark.parametrize(("share", "figure"), [(0.0, 1.0), (0.5, 3.0), (0.95, 5.0), (1.0, 5.0)])
def test_percentile_is_one_of_the_figures(share: float, figure: float) -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], share) == figure


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not one trial"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("aim", "figure", "met"),
    [
        (Aim("at least", 20.0), 20.0, True),
        (Aim("at least", 20.0), 19.9, False),
        (Aim("at most", 100.0), 100.0, True),
        (Aim("at most", 100.0), 100.1, False),
    ],
)
def test_bound_itself_meets_the_aim(aim: Aim, figure: float, met: bool) -> None:
    assert Row("figure", figure, "x", aim).met is met


def test_table_says_which_aim_was_missed() -> None:
    rows = (Row("cost", 1_234.5, "ms"), Row("less by", 9.5, "x", Aim("at least", 20.0)))
    table = Table("name", "Title", rows, ("a note",))
    lines = table.markdown().splitlines()
    assert "| cost | 1,234 ms |  |  |" in lines
    assert "| less by | 9.50 x | ≥ 20 x | **missed** |" in lines
    assert lines[-1] == "- a note"


def test_json_carries_figures_aims_and_verdicts() -> None:
    table = Table("name", "Title", (Row("less by", 30.0, "x", Aim("at least", 20.0)), Row("cost", 1.0, "ms")))
    written = json.loads(json.dumps(table.to_dict()))
    assert written["rows"][0] == {
        "what": "less by", "figure": 30.0, "unit": "x", "aim": {"bound": "at least", "value": 20.0}, "met": True,
    }  # fmt: skip
    assert written["rows"][1]["met"] is None


def test_machine_says_how_many_cores_and_how_busy() -> None:
    where = machine()
    assert where["cores"] >= 1
    assert where["load"] >= 0

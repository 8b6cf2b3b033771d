"""The benchmarks divide the right figures by each other; `e2e/test_benchmarks.py` runs them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks import reading, search, tasks, throughput
from benchmarks.cases import INTENTS
from benchmarks.fixed_cost import Stay
from benchmarks.reconcile import SMALL, Measured, Pace, bare_job, study, table
from benchmarks.results import Table
from benchmarks.workers import Timing

from autoglm_api.names import LABEL_MANAGED_BY
from autoglm_api.study import StudySpec


def test_a_stay_shares_its_start_among_all_trials() -> None:
    assert Stay(each=(0.1, 0.1, 0.1), cpu=(0.1, 0.1, 0.1), whole=8.0).mean == pytest.approx(2.0)


def test_a_timing_separates_start_and_trials() -> None:
    timing = Timing(trials=((5.0, 6.0), (6.1, 7.0)), ended=7.4, cpu=2.0)
    assert timing.start_seconds == pytest.approx(5.0)
    assert timing.trial_seconds == pytest.approx(1.2)


def test_two_runs_of_the_plain_script_are_one_of_all_their_trials() -> None:
    before = Timing(trials=((4.0, 6.0), (6.0, 8.0)), ended=99.0, cpu=3.0)
    after = Timing(trials=((6.0, 10.0), (10.0, 14.0)), ended=99.0, cpu=5.0)
    both = throughput.together(before, after)
    assert (both.start_seconds, both.trial_seconds, both.cpu, len(both.trials)) == (5.0, 3.0, 8.0, 4)


def test_operators_share_is_of_the_mean_of_both_bare_loops() -> None:
    found = Measured(
        jobs=100,
        apply_seconds=1.0,
        operator=Pace(jobs=10.0, pods=14.0),
        bare=(Pace(jobs=6.0, pods=10.0), Pace(jobs=8.0, pods=11.0)),
        hurried=(Pace(jobs=2.0, pods=9.0), Pace(jobs=3.0, pods=9.0)),
        cpu_seconds=1,
        peak_bytes=2**20,
        standing_cores=0,
    )
    rows = table(found, SMALL).rows
    assert [row.figure for row in rows if "share" in row.what] == pytest.approx([0.7, 0.75, 0.25, 9 / 14])
    assert [row.what for row in rows if row.aim] == ["the operator's share of the bare loop's rate"]
    assert len({row.what for row in rows}) == len(rows)


def test_a_search_s_share_is_of_all_seeds_time_together() -> None:
    races = [
        search.Race(search.Moment(30.0, 20.0, 0.8), search.Moment(10.0, 9.0, 0.8), reached=True),
        search.Race(search.Moment(10.0, 8.0, 0.7), search.Moment(20.0, 5.0, None), reached=False),
    ]
    rows = {row.what.split(": ")[1]: row.figure for row in search._rows(INTENTS, races)}
    assert rows["ours over random"] == pytest.approx(30 / 40)
    assert rows["ours over random, by CPU"] == pytest.approx(14 / 28)
    assert rows["seeds that reached it"] == 1


def test_a_winner_that_is_the_default_removes_none_of_its_error() -> None:
    seconds = {"seconds": 2.0}
    winner = {"name": "winner", "metrics": {"f1": 0.8}, **seconds}
    default = {"name": "default configuration", "metrics": {"f1": 0.6}, **seconds}
    baseline = {"name": "baseline (word shapes)", "metrics": {"f1": 0.5}, **seconds}
    assert tasks._outcome({"contenders": [winner, default, baseline]}, "f1", 9.0).removed == pytest.approx(0.5)
    assert tasks._outcome({"contenders": [winner, baseline]}, "f1", 9.0).removed == 0


def test_the_libraries_default_has_a_row_of_its_own_where_it_is_measured() -> None:
    found = tasks.Outcome(0.1, default=0.6, tuned=0.7, default_seconds=1.0, search_seconds=9.0, library=0.4)
    rows = {row.what.split(": ")[1]: row.figure for row in tasks._rows(INTENTS, [found])}
    assert rows["share of the default's error removed"] == pytest.approx(0.25)
    assert rows["share of the libraries' default's error removed"] == pytest.approx(0.5)
    assert len(tasks._rows(replace(INTENTS, library=()), [found])) == len(rows) - 2


def test_the_studies_of_the_benchmark_are_valid() -> None:
    spec = StudySpec.model_validate(study(0, workers=10)["spec"])
    assert spec.trials.parallel == 10


def test_bare_job_is_nobodys_and_carries_nothing_that_the_server_wrote() -> None:
    stored = {
        "metadata": {
            "name": "a", "namespace": "n", "uid": "1", "resourceVersion": "2", "ownerReferences": [{}],
            "creationTimestamp": "now", "managedFields": [{}], "labels": {"autoglm.io/slot": "0"},
        },
        "spec": {
            "parallelism": 1,
            "selector": {"matchLabels": {"controller-uid": "1"}},
            "template": {
                "metadata": {
                    "labels": {
                        "controller-uid": "1",
                        "job-name": "a",
                        "batch.kubernetes.io/controller-uid": "1",
                        "batch.kubernetes.io/job-name": "a",
                        "x": "y",
                    }
                },
                "spec": {"k": "v"},
            },
        },
        "status": {"active": 1},
    }  # fmt: skip
    nobodys = {LABEL_MANAGED_BY: "benchmark"}
    assert bare_job(stored, "b") == {
        "metadata": {"name": "b", "labels": {"autoglm.io/slot": "0", **nobodys}},
        "spec": {"parallelism": 1, "template": {"metadata": {"labels": {"x": "y", **nobodys}}, "spec": {"k": "v"}}},
    }
    assert stored["status"] == {"active": 1}


def test_command_writes_json_with_machine_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tiny(folder: Path, small: bool) -> Table:
        return Table("tiny", f"small={small} in {folder.is_dir()}", ())

    monkeypatch.setattr(command, "BENCHMARKS", {"tiny": tiny})
    assert command.main(["tiny", "--small", "--json", str(tmp_path / "out.json")]) == 0
    (written,) = json.loads((tmp_path / "out.json").read_text())
    assert written["command"].endswith("tiny --small --json " + str(tmp_path / "out.json"))
    assert written["machine"]["cores"] >= 1
    assert "small=True in True" in capsys.readouterr().out


def test_command_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "unknown benchmark 'nothing'; known: fixed_cost, throughput, reconcile" in capsys.readouterr().err


def test_reading_counts_every_row_and_keeps_a_sample_of_them(tmp_path: Path) -> None:
    table = reading.run(tmp_path, reading.SMALL)
    assert [row.unit for row in table.rows] == ["MiB", "MB/s", "MiB", "MB/s"]
    assert all(row.figure > 0 for row in table.rows)
    path = tmp_path / "more.jsonl"
    count = reading.write(path, 2**18)
    assert reading.measure(reading.READ_ALL, path, 10).rows == count
    assert 30 < reading.measure(reading.READ_A_SAMPLE, path, 50).rows < 50

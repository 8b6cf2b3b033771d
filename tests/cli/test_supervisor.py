"""A search on this machine: it ends when it should, survives what kills workers, and counts exactly."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from tests.waiting import wait_until

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause
from autoglm_cli.disk import Disk
from autoglm_cli.errors import BusyError, CliError, InterruptedRunError, SpecChangedError, UsageError
from autoglm_cli.finish import export_best
from autoglm_cli.folder import RunFolder
from autoglm_cli.local import LocalRun, open_study
from autoglm_cli.status import local_row
from autoglm_cli.supervisor import WorkersFailingError
from autoglm_store.creation import create_study
from autoglm_store.ledger import best, counts, is_ours
from autoglm_store.limits import read_limits, read_run

from .conftest import StartRun, printed


def trials_of(local: LocalRun) -> list[FrozenTrial]:
    study = open_study(local.folder, missing_is_fine=True)
    return [trial for trial in study.get_trials() if is_ours(trial)] if study else []


def complete(local: LocalRun) -> int:
    return sum(trial.state == TrialState.COMPLETE for trial in trials_of(local))


def run(local: LocalRun) -> bool:
    with local.opened(fresh=False):
        return local.search()


def test_a_search_ends_with_exactly_max_trials_and_a_table(local_run: StartRun) -> None:
    local = local_run(trials={"max": 6, "parallel": 2})
    assert run(local)
    assert complete(local) == 6
    assert "all trials are finished: 6 complete" in printed(local)
    assert "← best" in printed(local)


def test_a_run_begins_with_what_a_run_beside_it_found(local_run: StartRun) -> None:
    first = local_run(trials={"max": 4})
    assert run(first)
    second = local_run(trials={"max": 3}, warmStart={"fromStudies": ["small"]})
    second.folder, second.name = RunFolder(first.folder.path.parent / "second"), "second"
    assert run(second)
    assert "4 of 4 complete trials of study small imported" in printed(second)
    assert complete(second) == 3
    again = local_run(trials={"max": 4}, warmStart={"fromStudies": ["small"]})
    again.folder, again.name = second.folder, "second"
    shutil.rmtree(first.folder.path)
    assert run(again), "what was imported is there; the other run may go"
    assert complete(again) == 4
    assert len(open_study(again.folder).get_trials()) == 8


def test_a_run_that_should_begin_with_what_is_not_there_creates_and_removes_nothing(local_run: StartRun) -> None:
    first = local_run(trials={"max": 1})
    assert run(first)
    itself = local_run(warmStart={"fromStudies": ["small"]})
    with pytest.raises(UsageError, match="small is this study"), itself.opened(fresh=True):
        pass
    assert complete(first) == 1
    second = local_run(warmStart={"fromStudies": ["nobody"]})
    second.folder, second.name = RunFolder(first.folder.path.parent / "second"), "second"
    with pytest.raises(UsageError, match=r"fromStudies: there is no run nobody in .*; known: small$"):
        run(second)
    assert not second.folder.path.exists(), "it would look like a run that has not begun"
    begun = RunFolder(first.folder.path.parent / "nobody")
    begun.path.mkdir()
    begun.prepare(namespace="default", name="nobody", file="nobody.yaml")
    with pytest.raises(UsageError, match="run nobody has not begun"):
        run(second)


def test_a_killed_worker_costs_nothing_but_its_time(local_run: StartRun) -> None:
    local = local_run({"kill": [0]}, trials={"max": 6, "parallel": 2})
    assert run(local)
    lost = [trial for trial in trials_of(local) if trial.user_attrs.get(TrialAttribute.CAUSE) == Cause.LOST]
    assert [trial.number for trial in lost] == [0]
    assert complete(local) == 6
    assert counts(trials_of(local), read_limits(open_study(local.folder))).retried == 1
    assert "killed by SIGKILL" in printed(local)
    assert "cut short (Lost), goes on later" in printed(local)


def test_the_goal_ends_the_search_early(local_run: StartRun) -> None:
    local = local_run({"metric": 0.9, "seconds": 0.2}, objectives=[
        {"metric": "f1_macro", "direction": "Maximize", "goal": 0.9}
    ], trials={"max": 500, "parallel": 1})  # fmt: skip
    assert run(local)
    assert complete(local) < 20
    assert "the goal is reached" in printed(local)
    assert all(trial.state.is_finished() for trial in trials_of(local) if trial.state != TrialState.WAITING)


TWO = [{"metric": "f1_macro", "direction": "Maximize"}, {"metric": "latency_p95_ms", "direction": "Minimize"}]


def test_several_objectives_are_told_together_and_their_front_is_marked(local_run: StartRun) -> None:
    local = local_run(objectives=TWO, enqueue=[{"method": "head", "head_c": c} for c in (7, 1, 900)], trials={"max": 4})
    with local.opened(fresh=False):
        assert local.search()
        export_best(local)
    told = printed(local)
    assert "small: text-classification, maximize f1_macro, minimize latency_p95_ms" in told
    assert "trial 1   f1_macro 0.994, latency_p95_ms 1 " in told
    rows = {cells[1]: cells for line in told.splitlines() if len(cells := line.split()) > 6 and cells[0].isdigit()}
    assert "RANK  TRIAL  FRONT  F1_MACRO  LATENCY_P95_MS" in told
    assert rows["0"][:5] == ["1", "0", "●", "1", "7"]
    assert rows["1"][2] == "●"
    assert "●" not in rows["2"]
    assert "best  f1_macro 1, latency_p95_ms 7 on validation rows, trial 0, the first of " in told
    assert "f1_macro 1, latency_p95_ms 7 (trial 0)" in local_row(local.folder).best


def test_one_trial_must_reach_all_goals(local_run: StartRun) -> None:
    goals = [{**TWO[0], "goal": 0.99}, {**TWO[1], "goal": 2}]
    local = local_run(objectives=goals, enqueue=[{"method": "head", "head_c": c} for c in (7, 900, 1.5, 6)])
    assert run(local)
    assert "the goal is reached" in printed(local)
    leader = best(trials_of(local), read_run(open_study(local.folder)))
    assert leader is not None
    assert (leader.number, leader.values[1]) == (2, 1.5)


def test_a_deadline_in_the_past_starts_nothing(local_run: StartRun) -> None:
    local = local_run(budget={"deadline": "2020-01-01T00:00:00Z"})
    with pytest.raises(CliError, match="no trial is feasible"):
        run(local)
    assert complete(local) == 0
    assert "the deadline has come" in printed(local)


def test_a_data_error_ends_the_run_with_its_sentence_and_the_next_run_begins_again(local_run: StartRun) -> None:
    local = local_run({"exit": 65})
    with pytest.raises(CliError, match=r"the data cannot be used: train.jsonl is empty"):
        run(local)
    again = local_run()
    assert run(again)
    assert "ended before its first result" in printed(again)
    assert complete(again) == 6


def test_workers_that_only_crash_are_given_up_with_their_log(
    local_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoglm_cli.supervisor.FIRST_DELAY_SECONDS", 0.01)
    local = local_run({"exit": 70}, trials={"max": 6, "parallel": 1})
    with pytest.raises(WorkersFailingError, match="5 workers in a row") as caught:
        run(local)
    assert "about to end" in str(caught.value)


def test_a_second_supervisor_is_refused(local_run: StartRun) -> None:
    first, second = local_run(), local_run()
    with first.opened(fresh=False), pytest.raises(BusyError, match=f"in use by process {os.getpid()}"):
        run(second)


def test_interrupted_and_run_again_is_as_if_nothing_had_happened(local_run: StartRun) -> None:
    local = local_run({"seconds": 0.4})
    interrupt = threading.Thread(target=lambda: _interrupt_when(local, lambda: complete(local) >= 2))
    interrupt.start()
    assert not run(local)
    interrupt.join()
    before = complete(local)
    assert 2 <= before < 6
    assert all(trial.state != TrialState.RUNNING for trial in trials_of(local))
    assert "go on with the same command again" in printed(local)
    again = local_run()
    assert run(again)
    assert complete(again) == 6
    assert "going on:" in printed(again)


def _interrupt_when(local: LocalRun, condition: Callable[[], bool]) -> None:
    wait_until(lambda: local.folder.has_study and condition())
    local.interrupts.count += 1


def test_a_second_interrupt_kills_workers_that_do_not_listen(local_run: StartRun) -> None:
    local = local_run({"seconds": 60, "hang": True})

    def press_twice() -> None:
        wait_until(
            lambda: local.folder.has_study and any(trial.state == TrialState.RUNNING for trial in trials_of(local))
        )
        local.interrupts.count += 2

    pressing = threading.Thread(target=press_twice)
    pressing.start()
    begun = time.monotonic()
    assert not run(local)
    pressing.join()
    assert time.monotonic() - begun < 15
    assert all(trial.state != TrialState.RUNNING for trial in trials_of(local))


def test_a_finished_run_only_shows_its_results(local_run: StartRun) -> None:
    assert run(local_run())
    again = local_run({"exit": 70})
    assert run(again)
    assert "all trials are finished" in printed(again)
    assert not list(again.folder.logs.glob("worker-1.log.*"))


def test_more_trials_may_be_asked_for_later(local_run: StartRun) -> None:
    assert run(local_run())
    more = local_run(trials={"max": 9, "parallel": 1})
    assert run(more)
    assert complete(more) == 9


def test_an_edited_study_is_refused_with_what_changed(local_run: StartRun) -> None:
    assert run(local_run())
    with pytest.raises(SpecChangedError, match=r"sampler changed.*--fresh"):
        run(local_run(sampler={"seed": 8}))


def test_fresh_forgets_the_earlier_run(local_run: StartRun) -> None:
    assert run(local_run())
    other = local_run(sampler={"seed": 8})
    uid = other.folder.read_record().uid
    with other.opened(fresh=True):
        assert other.search()
    assert other.folder.read_record().uid != uid


def test_a_torn_last_line_is_cut_off_with_a_message(local_run: StartRun, caplog: pytest.LogCaptureFixture) -> None:
    assert run(local_run())
    again = local_run()
    with again.folder.journal.open("ab") as journal:
        journal.write(b'{"op_code": 4, "wor')
    assert run(again)
    assert "cut off 19 bytes" in caplog.text


def test_export_puts_the_report_into_the_runs_folder_and_is_not_repeated(local_run: StartRun) -> None:
    local = local_run()
    with local.opened(fresh=False):
        assert local.search()
        exported = export_best(local)
    assert f"trial {exported.trial}" in local.folder.report.read_text()
    marker = Path(exported.uri.removeprefix("file://")) / "manifest.json"
    marker.write_text("kept")
    again = local_run()
    with again.opened(fresh=False):
        assert again.search()
        assert export_best(again) == exported
    assert marker.read_text() == "kept"


def test_an_interrupted_export_ends_as_an_interrupted_search_does(local_run: StartRun) -> None:
    local = local_run(trials={"max": 1})
    with local.opened(fresh=False):
        assert local.search()
        local.interrupts.count += 1
        with pytest.raises(InterruptedRunError, match="interrupted while exporting") as caught:
            export_best(local)
    assert caught.value.exit_code == 130


def test_interrupted_before_the_first_worker_it_is_a_whole_run(
    local_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*everything: Any) -> optuna.Study:
        os.kill(os.getpid(), signal.SIGINT)
        return create_study(*everything)

    monkeypatch.setattr("autoglm_cli.local.create_study", create)
    local = local_run(trials={"max": 1})
    try:
        assert not run(local)
    except KeyboardInterrupt:
        pytest.fail("it ended in the middle of something")
    assert "go on with the same command again" in printed(local)
    assert not local.folder.scratch.exists()


def test_a_full_disk_is_told_once_and_again_when_it_has_room(
    local_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoglm_cli.disk.LEAST_BYTES", 2**80)
    local = local_run()
    local.interrupts.count = 1
    assert not run(local)
    assert "make room, and the run goes on" in printed(local)
    disk = Disk(local.folder.path)
    assert "is full" in str(disk.news())
    assert disk.news() is None
    monkeypatch.setattr("autoglm_cli.disk.LEAST_BYTES", 0)
    assert str(disk.news()).endswith("has room again")


def test_no_child_outlives_the_run(local_run: StartRun) -> None:
    local = local_run({"seconds": 60})
    with local.opened(fresh=False):
        process = local.pool.start("worker-0", local.worker, ["work"]).popen
        assert process.poll() is None
    assert process.poll() == -signal.SIGKILL


def test_killed_before_the_study_was_written_the_next_run_begins(local_run: StartRun) -> None:
    local = local_run()
    with local.folder.locked():
        local.folder.prepare(namespace="default", name="small", file="small.yaml")
        local.folder.journal.touch()
    assert run(local)
    assert complete(local) == 6


def test_workers_without_a_free_point_wait_for_the_last_one(
    local_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoglm_cli.supervisor.FIRST_DELAY_SECONDS", 0.001)
    two = [{"name": "method", "categorical": {"choices": ["head"]}}, {"name": "head_c", "int": {"min": 1, "max": 2}}]
    local = local_run({"seconds": 1.5}, parameters=two, trials={"max": 50, "parallel": 2})
    assert run(local)
    assert "every point of the space has been tried" in printed(local)

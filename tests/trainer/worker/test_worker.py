from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tests.store.studies import make_run, make_study, reload

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause, ExitCode, Termination
from autoglm_api.locations import Location
from autoglm_store.attempts import create_retry, fail
from autoglm_store.ledger import best, counts, gpu_seconds, retries_due
from autoglm_store.limits import read_fatal, read_run, write_limits
from autoglm_trainer.contract import MemoryEstimate, TrialControl
from autoglm_trainer.errors import DataError, Infeasible, SpecError
from autoglm_trainer.work.artifacts import Artifacts
from autoglm_trainer.work.leftovers import sweep

from .processes import make_worker, points, work
from .tasks import FakeTask, Point, Steps, at_x


def test_a_worker_trains_all_trials_records_them_and_ends_with_nothing_left(url: str, tmp_path: Path) -> None:
    task = FakeTask()
    code, study, _ = work(url, tmp_path, task, enqueue=points(0.5), gpus=2)
    trials = study.get_trials()
    assert code == ExitCode.NOTHING_LEFT
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len(task.fitted) == 3
    first = trials[0]
    assert first.value == first.user_attrs[TrialAttribute.METRICS]["accuracy"] == 0.5
    assert first.user_attrs[TrialAttribute.SIZES] == {"trained": 3, "total": 7}
    assert first.user_attrs[TrialAttribute.WEIGHTS] == "trials/0"
    assert first.user_attrs[TrialAttribute.SECONDS] >= 0
    assert gpu_seconds(trials)[0] == pytest.approx(2 * sum(t.user_attrs[TrialAttribute.SECONDS] for t in trials))
    assert json.loads((tmp_path / "artifacts/trials/0/curve.json").read_text())["accuracy"] == 0.5
    assert not list((tmp_path / "scratch").glob("*"))


def test_weights_are_kept_for_the_best_three_only(journal: str, tmp_path: Path) -> None:
    xs = (0.1, 0.2, 0.3, 0.25, 0.05, 0.9)
    _, study, _ = work(journal, tmp_path, FakeTask(), trials={"max": 6}, enqueue=points(*xs))
    kept = sorted(int(folder.name) for folder in (tmp_path / "artifacts/trials").iterdir())
    assert kept == [2, 3, 5]
    assert TrialAttribute.WEIGHTS not in study.get_trials()[4].user_attrs


def test_the_default_configuration_keeps_its_weights_whatever_it_is_worth(journal: str, tmp_path: Path) -> None:
    default, *others = ({"epochs": epochs} for epochs in (3, 2, 4, 5, 6))
    work(
        journal,
        tmp_path,
        FakeTask(lambda point, _: {"accuracy": float(point["epochs"])}),
        parameters=[{"name": "epochs", "int": {"min": 1, "max": 6}}],
        trials={"max": 5},
        enqueue=[default, *others],
    )
    kept = sorted(int(folder.name) for folder in (tmp_path / "artifacts/trials").iterdir())
    assert kept == [0, 2, 3, 4]


def test_a_trial_that_breaks_a_constraint_has_no_weights_and_is_never_best(journal: str, tmp_path: Path) -> None:
    _, study, limits = work(
        journal,
        tmp_path,
        FakeTask(),
        enqueue=points(0.9, 0.4, 0.8),
        constraints=[{"metric": "loss", "operator": "GreaterOrEqual", "value": 0.5}],
    )
    trials = study.get_trials()
    run, _ = make_run()
    leader = best(trials, run)
    assert leader is not None
    assert leader.number == 1
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert trials[0].constraints["0:loss"] == pytest.approx(0.4)
    assert [path.name for path in (tmp_path / "artifacts/trials").iterdir()] == ["1"]
    assert counts(trials, limits).complete == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_fails_the_trial_with_a_reason(journal: str, tmp_path: Path, value: float) -> None:
    task = FakeTask(lambda point, _: {"accuracy": value if point["x"] == 0.5 else 0.1, "loss": math.nan})
    code, study, limits = work(journal, tmp_path, task, enqueue=points(0.5))
    trial = study.get_trials()[0]
    assert code == ExitCode.NOTHING_LEFT
    assert (trial.state, trial.user_attrs[TrialAttribute.CAUSE]) == (TrialState.FAIL, Cause.NON_FINITE)
    assert trial.user_attrs[TrialAttribute.MESSAGE] == f"the metric accuracy is {value} at this point"
    assert study.get_trials()[1].user_attrs[TrialAttribute.METRICS] == {"accuracy": 0.1}
    assert counts(study.get_trials(), limits).failed == 1


def failing(point: Point, control: TrialControl) -> dict[str, float]:
    if point["x"] == 0.5:
        logging.getLogger("task").info("about to fail")
        raise ZeroDivisionError("x" * 5000)
    return at_x(point, control)


def test_a_task_that_fails_leaves_message_and_log_in_the_trial_and_the_worker_goes_on(
    journal: str, tmp_path: Path
) -> None:
    code, study, _ = work(journal, tmp_path, FakeTask(failing), enqueue=points(0.5))
    trial = study.get_trials()[0]
    assert code == ExitCode.NOTHING_LEFT
    assert (trial.state, trial.user_attrs[TrialAttribute.CAUSE]) == (TrialState.FAIL, Cause.TASK_ERROR)
    assert trial.user_attrs[TrialAttribute.MESSAGE].startswith("ZeroDivisionError: xxx")
    assert len(trial.user_attrs[TrialAttribute.MESSAGE]) == 1024
    assert len(trial.user_attrs[TrialAttribute.LOG]) <= 4096
    assert [trial.state for trial in study.get_trials()[1:]] == [TrialState.COMPLETE] * 2


def test_the_log_in_a_failed_trial_holds_the_traceback(journal: str, tmp_path: Path) -> None:
    def divide(point: Point, control: TrialControl) -> dict[str, float]:
        return {"accuracy": 1 / 0}

    _, study, _ = work(journal, tmp_path, FakeTask(divide), trials={"max": 1})
    log = study.get_trials()[0].user_attrs[TrialAttribute.LOG]
    assert "in divide" in log
    assert "ZeroDivisionError: division by zero" in log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_is_told_as_such_whoever_says_so(journal: str, tmp_path: Path) -> None:
    def keep(point: Point, control: TrialControl) -> dict[str, float]:
        try:
            Path("/dev/full").write_text("weights")
        except OSError as error:
            # As safetensors does, whose errors are of a kind of their own.
            raise RuntimeError(f"Error while serializing: I/O error: {error}") from None
        return {"accuracy": 1.0}

    _, study, _ = work(journal, tmp_path, FakeTask(keep), trials={"max": 1})
    assert study.get_trials()[0].user_attrs[TrialAttribute.MESSAGE].startswith("no room is left on a disk (")
    assert "Traceback" not in study.get_trials()[0].user_attrs.get(TrialAttribute.LOG, "")


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [(SpecError("no weights"), ExitCode.SPEC, Cause.SPEC), (DataError("one class"), ExitCode.DATA, Cause.DATA)],
)
def test_an_error_that_every_trial_would_meet_ends_the_study(
    journal: str, tmp_path: Path, error: Exception, code: ExitCode, cause: Cause
) -> None:
    def refuse(point: Point, control: TrialControl) -> dict[str, float]:
        raise error

    ended, study, _ = work(journal, tmp_path, FakeTask(refuse))
    fatal = read_fatal(study)
    assert ended == code
    assert fatal is not None
    assert (fatal.cause, fatal.message) == (cause, str(error))
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]
    told = Termination.model_validate_json((tmp_path / "termination").read_text())
    assert (told.cause, told.message, told.trial) == (cause, str(error), 0)


def test_a_first_trial_that_runs_out_of_memory_is_infeasible_and_the_worker_goes_on(
    journal: str, tmp_path: Path
) -> None:
    def hungry(point: Point, control: TrialControl) -> dict[str, float]:
        if point["x"] == 0.5:
            raise MemoryError("16 GiB")
        return at_x(point, control)

    code, study, limits = work(journal, tmp_path, FakeTask(hungry), enqueue=points(0.5))
    trial = study.get_trials()[0]
    assert code == ExitCode.NOTHING_LEFT
    assert (trial.state, trial.user_attrs[TrialAttribute.CAUSE]) == (TrialState.PRUNED, Cause.OUT_OF_MEMORY)
    assert counts(study.get_trials(), limits).infeasible == 1


def test_a_later_trial_that_runs_out_of_memory_gets_a_fresh_process_before_it_is_infeasible(
    journal: str, tmp_path: Path
) -> None:
    def hungry(point: Point, control: TrialControl) -> dict[str, float]:
        if point["x"] == 0.5:
            raise MemoryError("16 GiB")
        return at_x(point, control)

    code, study, limits = work(journal, tmp_path, FakeTask(hungry), enqueue=points(0.1, 0.5, 0.2))
    assert code == ExitCode.RELEASED
    for trial in retries_due(study.get_trials(), limits):
        create_retry(study, trial)
    fresh = make_worker(journal, read_run(study), FakeTask(hungry), tmp_path, identity="2@0")
    # The enqueued third trial is older than the retry, so the fresh process takes that first: still not its first.
    assert fresh.work() == ExitCode.NOTHING_LEFT
    tally = counts(study.get_trials(), limits)
    assert (tally.infeasible, tally.complete, tally.failed) == (1, 2, 0)


def test_a_point_that_the_task_calls_infeasible_is_told_so(journal: str, tmp_path: Path) -> None:
    def refuse(point: Point, control: TrialControl) -> dict[str, float]:
        raise Infeasible("max_length 4096 does not fit")

    _, study, limits = work(journal, tmp_path, FakeTask(refuse), trials={"max": 1})
    trial = study.get_trials()[0]
    assert counts([trial], limits).infeasible == 1
    assert trial.user_attrs[TrialAttribute.MESSAGE] == "max_length 4096 does not fit"


def test_a_trial_that_cannot_fit_is_infeasible_before_it_begins_and_one_that_may_is_tried(
    journal: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Large(FakeTask):
        def estimate(self, parameters: Point) -> MemoryEstimate:
            return MemoryEstimate(needed=int(float(parameters["x"]) * 2**30), limit=2**30, place="the container")

    task = Large()
    wide = [{"name": "x", "float": {"min": 0.0, "max": 9.0}}]
    with caplog.at_level(logging.WARNING):
        _, study, limits = work(
            journal, tmp_path, task, parameters=wide, enqueue=points(7.0, 1.25, 0.5), trials={"max": 3}
        )
    trials = study.get_trials()
    assert task.fitted == points(1.25, 0.5)
    assert (len(trials), counts(trials, limits).infeasible) == (3, 1)
    message = trials[0].user_attrs[TrialAttribute.MESSAGE]
    assert "about 7.00 GiB of memory and the container has 1.00 GiB: a smaller batch_size" in message
    assert trials[1].user_attrs[TrialAttribute.MEMORY] == {"neededBytes": 5 * 2**28, "limitBytes": 2**30}
    assert [line.getMessage() for line in caplog.records if "are needed" in line.message] == [
        "trial 1: about 1.25 GiB of the container's 1.00 GiB are needed"
    ]


def test_a_hopeless_trial_is_pruned_by_its_reports(journal: str, tmp_path: Path) -> None:
    def curve(point: Point, control: TrialControl) -> dict[str, float]:
        for step in range(1, 5):
            control.report(step, float(point["x"]))
        return at_x(point, control)

    _, study, _ = work(
        journal,
        tmp_path,
        FakeTask(curve),
        pruner={"type": "Median", "startupTrials": 2},
        enqueue=points(0.8, 0.9, 0.1),
    )
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert study.get_trials()[2].intermediate_values == {1: 0.1}


def test_a_worker_that_lost_its_lease_ends_without_claiming_again(url: str, tmp_path: Path) -> None:
    run, limits = make_run(trials={"max": 3})
    study = make_study(url, run, limits)

    def reaped(point: Point, control: TrialControl) -> dict[str, float]:
        operator = reload(url, run)
        fail(operator, operator.get_trials()[0], Cause.LOST, "pod gone")
        control.report(1, 0.5)
        raise AssertionError("never reached")

    assert make_worker(url, run, FakeTask(reaped), tmp_path).work() == ExitCode.RELEASED
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]
    assert Termination.model_validate_json((tmp_path / "termination").read_text()).cause == Cause.LOST


def test_a_lease_lost_during_a_silent_training_is_noticed_at_the_end(url: str, tmp_path: Path) -> None:
    run, limits = make_run(trials={"max": 3})
    study = make_study(url, run, limits)

    def reaped(point: Point, control: TrialControl) -> dict[str, float]:
        operator = reload(url, run)
        fail(operator, operator.get_trials()[0], Cause.LOST, "pod gone")
        return at_x(point, control)

    assert make_worker(url, run, FakeTask(reaped), tmp_path).work() == ExitCode.RELEASED
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]
    assert not (tmp_path / "artifacts").exists()


def test_a_pods_share_ends_the_worker(journal: str, tmp_path: Path) -> None:
    code, study, _ = work(journal, tmp_path, FakeTask(), trials={"max": 5, "perPod": 2})
    assert code == ExitCode.NOTHING_LEFT
    assert len(study.get_trials()) == 2


def test_artifacts_that_may_not_be_written_end_the_study_with_a_sentence(journal: str, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where a folder should be")
    code, study, _ = work(journal, tmp_path, FakeTask())
    fatal = read_fatal(study)
    assert code == ExitCode.SPEC
    assert fatal is not None
    assert "artifacts.uri" in fatal.message


def test_limits_that_change_between_trials_are_seen(journal: str, tmp_path: Path) -> None:
    run, limits = make_run(trials={"max": 2})
    study = make_study(journal, run, limits)

    def raising(point: Point, control: TrialControl) -> dict[str, float]:
        write_limits(study, limits.model_copy(update={"max": 4}))
        return at_x(point, control)

    assert make_worker(journal, run, FakeTask(raising), tmp_path).work() == ExitCode.NOTHING_LEFT
    assert len(study.get_trials()) == 4


def test_checkpoints_are_replaced_and_gone_when_the_trial_has_a_result(journal: str, tmp_path: Path) -> None:
    seen: list[list[str]] = []
    steps = Steps(3)

    def watched(point: Point, control: TrialControl) -> dict[str, float]:
        metrics = steps(point, control)
        seen.append([path.name for path in (tmp_path / "artifacts/checkpoints/0").iterdir()])
        return metrics

    _, study, _ = work(journal, tmp_path, FakeTask(watched), trials={"max": 1}, checkpoint_every_seconds=0)
    assert seen == [["step-3.3"]]
    assert not list((tmp_path / "artifacts/checkpoints").iterdir())
    assert study.get_trials()[0].user_attrs[TrialAttribute.CHECKPOINT]["step"] == 3


@pytest.mark.parametrize(("retries", "left"), [(1, ["0"]), (0, [])])
def test_a_checkpoint_stays_only_while_another_attempt_will_need_it(
    journal: str, tmp_path: Path, retries: int, left: list[str]
) -> None:
    def breaking(point: Point, control: TrialControl) -> dict[str, float]:
        Steps(2)(point, control)
        raise ZeroDivisionError

    spec = {"trials": {"max": 1, "retries": retries}, "checkpoint_every_seconds": 0}
    work(journal, tmp_path, FakeTask(breaking), **spec)
    assert [folder.name for folder in (tmp_path / "artifacts/checkpoints").iterdir()] == left


def test_what_killed_workers_left_is_swept_away_when_the_search_is_over(journal: str, tmp_path: Path) -> None:
    xs = (0.1, 0.2, 0.3, 0.4)
    _, study, _ = work(journal, tmp_path, FakeTask(), trials={"max": 4}, enqueue=points(*xs))
    run, artifacts = read_run(study), tmp_path / "artifacts"
    for orphan in ("trials/0", "trials/9", "checkpoints/9/step-1.1"):
        (artifacts / orphan).mkdir(parents=True)
        (artifacts / orphan / "file").touch()
    place = Artifacts("artifacts", Location("file", str(artifacts)))
    for _ in range(2):
        sweep(place, study.get_trials(), run)
        assert sorted(str(path.relative_to(artifacts)) for path in artifacts.glob("*/*")) == [
            "trials/1",
            "trials/2",
            "trials/3",
        ]
    assert (artifacts / "trials/3/curve.json").is_file()


def test_the_cpu_time_of_a_trial_is_kept(journal: str, tmp_path: Path) -> None:
    def busy(point: Point, control: TrialControl) -> dict[str, float]:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return at_x(point, control)

    _, study, _ = work(journal, tmp_path, FakeTask(busy), trials={"max": 1})
    assert study.get_trials()[0].user_attrs[TrialAttribute.CPU_SECONDS] >= 0.2

"""The real command in a process of its own: environment, exit codes, last words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.studies import make_run, make_study

from autoglm_api.exits import Cause, ExitCode, Termination
from autoglm_api.names import optuna_study_name
from autoglm_store.limits import read_fatal
from autoglm_trainer import main
from autoglm_trainer.errors import SpecError
from autoglm_trainer.work.process import Process


def trainer(command: str, url: str, study: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "AUTOGLM_STORAGE_URL": url,
        "AUTOGLM_STUDY": study,
        "AUTOGLM_POD_NAME": "pod-0",
        "AUTOGLM_POD_UID": "uid-0",
        "AUTOGLM_TERMINATION_LOG": str(folder / "termination"),
        "AUTOGLM_SCRATCH": str(folder),
        "AUTOGLM_LOG_FORMAT": "json",
        **changes,
    }
    argv = [sys.executable, "-m", "autoglm_trainer.main", command]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_data_that_is_missing_ends_the_study_with_exit_code_and_sentence(tmp_path: Path) -> None:
    run, limits = make_run(data={"train": {"source": "file:///nowhere/train.csv"}})
    url = f"journal://{tmp_path}/journal.log"
    study = make_study(url, run, limits)
    ended = trainer("work", url, study.study_name, tmp_path)
    assert ended.returncode == ExitCode.DATA, ended.stderr
    fatal = read_fatal(study)
    assert fatal is not None
    assert "file:///nowhere/train.csv" in fatal.message
    told = Termination.model_validate_json((tmp_path / "termination").read_text())
    assert (told.cause, told.message) == (Cause.DATA, fatal.message)
    assert study.get_trials() == []
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {(line["namespace"], line["study"]) for line in lines} == {("team", "study")}
    assert "Traceback" not in ended.stderr


def test_a_method_for_gpus_on_a_machine_without_one_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run, _ = make_run(parameters=[{"name": "method", "categorical": {"choices": ["head", "qlora"]}}])
    process = object.__new__(Process)  # its logs and signals are those of this test
    with pytest.raises(SpecError, match=r"^parameters\.method: qlora needs a GPU"):
        process.load(run)


def test_a_finished_study_is_left_at_once(tmp_path: Path) -> None:
    run, limits = make_run()
    url = f"journal://{tmp_path}/journal.log"
    study = make_study(url, run, limits.model_copy(update={"stop": True}))
    ended = trainer("work", url, study.study_name, tmp_path)
    assert ended.returncode == ExitCode.NOTHING_LEFT, ended.stderr
    assert not (tmp_path / "termination").exists()


@pytest.mark.parametrize("command", ["work", "export"])
def test_a_study_that_does_not_exist_is_a_storage_error(tmp_path: Path, command: str) -> None:
    run, limits = make_run()
    url = f"journal://{tmp_path}/journal.log"
    make_study(url, run, limits)
    ended = trainer(command, url, optuna_study_name("team", "other", "uid"), tmp_path)
    assert ended.returncode == ExitCode.STORAGE, ended.stderr
    assert (
        "holds no study team/other/uid"
        in Termination.model_validate_json((tmp_path / "termination").read_text()).message
    )


@pytest.mark.parametrize(
    ("cores", "gpus", "threads"),
    [("4", "0", "4"), ("0", "0", "1"), ("8", "4", "2"), ("1", "2", "1")],
    ids=["as many as the pod has cores", "at least one", "shared by the ranks", "at least one a rank"],
)
def test_threads_follow_the_pods_own_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: str, gpus: str, threads: str
) -> None:
    for name in main.THREADS:
        monkeypatch.delenv(name, raising=False)
    told = {"STORAGE_URL": "journal:///x", "STUDY": "a/b/c", "POD_NAME": "p", "POD_UID": "u", "GPUS": gpus}
    for name, value in {**told, "CPU_LIMIT": cores, "SCRATCH": str(tmp_path)}.items():
        monkeypatch.setenv(f"AUTOGLM_{name}", value)
    monkeypatch.setattr(sys, "argv", ["autoglm-trainer", "work"])
    monkeypatch.setattr("autoglm_trainer.work.process.work", lambda _: ExitCode.NOTHING_LEFT)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == ExitCode.NOTHING_LEFT
    assert {os.environ[name] for name in main.THREADS} == {threads}


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUTOGLM_")}
    argv = [sys.executable, "-m", "autoglm_trainer.main", "work"]
    ended = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == ExitCode.OTHER
    assert "AUTOGLM_STORAGE_URL is not set" in ended.stderr

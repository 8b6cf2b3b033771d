"""`autoglm run` as a person meets it: processes, signals, a terminal, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState
from tests.waiting import wait_until
from typer.testing import CliRunner

from autoglm_cli.errors import BusyError, CliError, UsageError
from autoglm_cli.folder import RunFolder, find_run
from autoglm_cli.local import open_study
from autoglm_cli.main import app, main
from autoglm_store.ledger import is_ours

from .conftest import ROOT, STUDY

COMMAND = [sys.executable, "-m", "tests.cli.drive", "run"]


@pytest.fixture
def start(study_file: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `autoglm run` on the study with the stand-in worker; killed at the end, whatever happens."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(told: dict[str, Any], *options: str, **streams: Any) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "STANDIN": json.dumps(told), "COLUMNS": "120", "TERM": "xterm"}
        command = [*COMMAND, str(study_file), "--dir", str(study_file.parent / "runs"), *options]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environ, **streams))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def states(study_file: Path) -> list[TrialState]:
    folder = RunFolder(study_file.parent / "runs" / "small")
    if not folder.has_study:
        return []
    try:
        return [trial.state for trial in open_study(folder).get_trials() if is_ours(trial)]
    except CliError:
        return []


def test_killed_with_its_workers_and_run_again_it_ends_with_exactly_max_trials(
    start: Callable[..., subprocess.Popen[bytes]], study_file: Path
) -> None:
    first = start({"seconds": 0.5}, "--no-export", stdout=subprocess.DEVNULL)
    wait_until(lambda: TrialState.COMPLETE in states(study_file) and TrialState.RUNNING in states(study_file))
    workers = psutil.Process(first.pid).children()
    assert workers
    first.send_signal(signal.SIGKILL)
    first.wait()
    psutil.wait_procs(workers, timeout=10)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    second = start({}, "--no-export", stdout=subprocess.PIPE)
    told, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert states(study_file).count(TrialState.COMPLETE) == 6
    assert b"cut short" in told


def test_ctrl_c_at_a_terminal_ends_well_and_says_how_to_go_on(
    start: Callable[..., subprocess.Popen[bytes]], study_file: Path
) -> None:
    ours, theirs = pty.openpty()
    process = start({"seconds": 30}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    wait_until(lambda: TrialState.RUNNING in states(study_file))
    process.send_signal(signal.SIGINT)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # a terminal whose last process has gone ends so
    assert process.wait(30) == 130
    assert b"interrupted: workers save their state" in shown
    assert b"go on with the same command again" in shown
    assert b"Traceback" not in shown
    assert TrialState.RUNNING not in states(study_file)


def test_a_second_run_of_the_same_study_is_refused(study_file: Path) -> None:
    root = study_file.parent / "runs"
    with RunFolder(root / "small").locked():
        answer = CliRunner().invoke(app, ["run", str(study_file), "--dir", str(root)])
    assert isinstance(answer.exception, BusyError)
    assert answer.exception.exit_code == 3
    assert f"in use by process {os.getpid()}" in str(answer.exception)


@pytest.mark.parametrize(
    ("edit", "options", "sentence"),
    [
        (("name: small", "generateName: small-"), [], "metadata.name is required here"),
        (("spec:", "spec:\n  suspend: true"), [], "spec.suspend is true; nothing is started"),
        (
            ("file://train.jsonl", "pvc://data/train.jsonl"),
            [],
            "pvc://data/train.jsonl lies in a cluster; --claims DIR",
        ),
        (("file://train.jsonl", "file://rows/t.jsonl"), [], "rows/t.jsonl does not exist"),
        (("file://train.jsonl", "file://part-*.jsonl"), [], "part-*.jsonl is the name of no file"),
        (("max: 6", "max: 6"), ["--no-export", "--serve"], "--serve needs the exported model"),
    ],
)
def test_what_cannot_be_run_here_is_refused_with_what_to_do(
    edit: tuple[str, str], options: list[str], sentence: str, study_file: Path
) -> None:
    study_file.write_text(STUDY.replace(*edit))
    answer = CliRunner().invoke(app, ["run", str(study_file), *options])
    assert isinstance(answer.exception, UsageError)
    assert sentence in str(answer.exception)


def test_a_method_for_gpus_is_refused_on_a_machine_without_one(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study_file.write_text(STUDY.replace("[head]", "[head, qlora]"))
    with pytest.raises(UsageError, match="method qlora needs a GPU, and this machine has none"):
        CliRunner().invoke(app, ["run", str(study_file)], catch_exceptions=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_run_that_finds_no_room_is_refused(study_file: Path) -> None:
    folder = study_file.parent / "runs/small"
    folder.mkdir(parents=True)
    (folder / "run.tmp").symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"small cannot be written \(No space left on device\); choose a place"):
        RunFolder(folder).prepare(namespace="default", name="small", file="small.yaml")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_what_the_machine_refuses_later_is_a_sentence_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("autoglm_cli.main.app", lambda: Path("/dev/full").write_text("a journal's line"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "autoglm: No space left on device\n"


def test_ctrl_c_while_python_still_imports_ends_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    # As at a terminal: whoever runs the tests in the background may ignore the signal, and children inherit that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{heard}; from autoglm_cli.entry import main; main()"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script, "tasks"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == -signal.SIGINT


def test_two_studies_in_a_file_are_refused_by_name(study_file: Path) -> None:
    study_file.write_text(f"{STUDY}---\n{STUDY.replace('small', 'other')}")
    answer = CliRunner().invoke(app, ["run", str(study_file)])
    assert "exactly one AutoGLMStudy, found: small, other" in str(answer.exception)


def test_a_missing_extra_is_said_with_its_command(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoglm_cli.extras.find_spec", lambda name: None if name == "torch" else name)
    answer = CliRunner().invoke(app, ["run", str(study_file)])
    assert str(answer.exception) == "needs torch; install with: pip install 'open-autoglm[trainer]'"


def test_fresh_never_removes_a_folder_that_is_no_run(study_file: Path) -> None:
    folder = RunFolder(study_file.parent / "runs" / "small")
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.txt").write_text("years of work")
    with folder.locked(), pytest.raises(UsageError, match=r"holds thesis\.txt but no run"):
        folder.clear()
    assert (folder.path / "thesis.txt").exists()


def test_an_unknown_run_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "small")
    with folder.locked():
        folder.prepare(namespace="default", name="small", file="small.yaml")
    with pytest.raises(UsageError, match=r"there is no run smal in .*; known: small"):
        find_run("smal", tmp_path)

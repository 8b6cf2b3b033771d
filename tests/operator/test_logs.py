"""The operator's log: lines for machines, which name what they are about in fields of their own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from autoglm_api.exits import Cause
from autoglm_operator import logs, study
from autoglm_operator.actions import FailAttempt, StudyRef
from autoglm_operator.queue import Key, WorkQueue

REF = StudyRef("team-a", "autoglm-storage", "url", "team-a/intents/0badcafe")


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = before, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_about_a_trial_names_study_namespace_and_trial(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    study._tell(FailAttempt(REF, 7, Cause.LOST, "pod intents-w0-0 is gone"))
    (line,) = lines(capsys)
    assert (line["namespace"], line["study"], line["trial"]) == ("team-a", "intents", 7)
    assert (line["level"], line["message"]) == ("INFO", "trial ended without result: Lost: pod intents-w0-0 is gone")


async def test_a_defect_names_its_study_and_keeps_the_traceback_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def reconcile(_: Key) -> float | None:
        raise KeyError("phase")

    logs.configure("INFO", "json")
    await WorkQueue({"autoglmstudies": reconcile}, reconcilers=1)._once(Key("autoglmstudies", "team-a", "intents"))
    (line,) = lines(capsys)
    assert (line["namespace"], line["study"], line["level"]) == ("team-a", "intents", "ERROR")
    assert "KeyError: 'phase'" in line["exception"]


def test_people_may_have_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    logging.getLogger("autoglm_operator.main").info("watching")
    assert capsys.readouterr().err.endswith("INFO autoglm_operator.main: watching\n")

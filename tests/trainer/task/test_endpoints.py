"""A model behind a real HTTP server: asked in parallel, with patience for what passes, and served on from there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.contract.cases import CASES
from tests.trainer.task.chat_server import (
    BROKEN,
    BUSY,
    ELSEWHERE,
    FILTERED,
    KEY,
    MALFORMED,
    MODEL,
    UNREADABLE,
    ChatServer,
    serving,
    taught_writer,
)
from tests.trainer.task.making import FOLLOWED, Control, make_places, make_run, write_rows

from autoglm_api.exits import Cause
from autoglm_api.manifest import Manifest
from autoglm_serving.answerer import load_answerer, warm_up
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused
from autoglm_trainer.errors import EndpointUnreachable, Infeasible, SpecError
from autoglm_trainer.prompting.local import LocalModel
from autoglm_trainer.tasks import get_task

CASE = next(case for case in CASES if case.task == "prompt-optimization")
POINT = {"template": FOLLOWED, "shots": 2, "selection": "similar"}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return taught_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture
def server(writer: LocalModel) -> Iterator[ChatServer]:
    with serving(writer) as found:
        yield found


def load(
    folder: Path, url: str, *, key: str = KEY, model: str = MODEL, concurrency: int = 4, count: int = 40, **spec: Any
) -> Any:
    run = make_run(
        {"endpoint": {"url": url, "model": model, "concurrency": concurrency}, "secretRef": {"name": "llm"}},
        write_rows(folder / "train.jsonl", CASE.rows(count, 0)),
        task="prompt-optimization",
        data={"test": {"source": write_rows(folder / "test.jsonl", CASE.rows(12, 200))}},
        objectives=[{"metric": "accuracy", "direction": "Maximize"}],
        **spec,
    )
    return get_task("prompt-optimization").load(run, make_places(folder, API_KEY=key))


def test_an_endpoint_is_asked_as_a_model_in_memory_is(server: ChatServer, tmp_path: Path) -> None:
    task = load(tmp_path, server.url)
    measured = task.fit({"template": FOLLOWED}, Control()).evaluate("test")
    assert measured["accuracy"] >= 0.9
    assert measured["prompt_tokens"] > 5
    assert measured["latency_p95_ms"] > 0
    asked = [body["messages"][0]["content"] for body in server.asked]
    assert FOLLOWED.replace("{prompt}", task.splits.test.rows[0].prompt) in asked


def test_what_was_answered_once_is_not_asked_again_and_no_more_at_once_than_allowed(
    server: ChatServer, tmp_path: Path
) -> None:
    task = load(tmp_path, server.url, concurrency=3)
    server.gather = 2
    first = task.fit(POINT, Control()).evaluate("validation")
    requests = server.requests
    assert requests == 1 + len(task.splits.validation)
    assert 2 <= server.most <= 3
    assert task.fit(POINT, Control()).evaluate("validation") == first
    assert server.requests == requests


def test_what_passes_is_waited_for(server: ChatServer, tmp_path: Path) -> None:
    task = load(tmp_path, server.url)
    server.faults.extend([BUSY, BROKEN, MALFORMED, UNREADABLE])
    expected = load(tmp_path, server.url).fit(POINT, Control()).evaluate("validation")["accuracy"]
    server.faults.extend([BUSY, BROKEN, MALFORMED, UNREADABLE])
    assert task.fit(POINT, Control()).evaluate("validation")["accuracy"] == expected
    assert not server.faults


def test_the_endpoint_says_how_long_to_wait(server: ChatServer, tmp_path: Path) -> None:
    task = load(tmp_path, server.url, concurrency=1)
    server.faults.append((429, {"Retry-After": "1"}, b"{}"))
    began = time.monotonic()
    task.fit(POINT, Control())
    assert time.monotonic() - began >= 1


def test_an_endpoint_that_stays_away_fails_the_attempt_free_of_charge(server: ChatServer, tmp_path: Path) -> None:
    task = load(tmp_path, server.url)
    task.respondent.tries = 2
    server.always = (503, {"Retry-After": "0"}, b'{"error": {"message": "upgrading"}}')
    with pytest.raises(EndpointUnreachable, match=r"does not answer, after 2 tries: 503: upgrading") as failed:
        task.fit(POINT, Control())
    assert failed.value.cause.free
    server.always = None
    assert task.fit(POINT, Control()).evaluate("validation")["accuracy"] > 0


def test_a_trial_that_must_end_waits_for_nothing(server: ChatServer, tmp_path: Path) -> None:
    class Stopped(Control):
        def heartbeat(self) -> None:
            raise InterruptedError

    task = load(tmp_path, server.url)
    server.always = (429, {"Retry-After": "100"}, b"{}")
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        task.fit(POINT, Stopped())
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"key": "sk-wrong"},
            r"refuses the key API_KEY in model.secretRef \(401\); give a Secret with a valid API_KEY",
        ),
        (
            {"model": "huge-glm"},
            r"nothing answers for model 'huge-glm' at http://.*/v1/chat/completions \(404: no such",
        ),
    ],
)
def test_what_no_request_will_change_ends_the_study_at_once(
    server: ChatServer, tmp_path: Path, changes: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SpecError, match=said) as refused:
        load(tmp_path, server.url, **changes)
    assert refused.value.cause == Cause.SPEC
    assert server.requests == 1
    assert "sk-" not in f"{refused.value} {caplog.text}"


def test_a_study_by_tokens_needs_an_endpoint_that_counts_them(server: ChatServer, tmp_path: Path) -> None:
    server.always = (200, {}, b'{"choices": [{"message": {"content": "red"}}]}')
    load(tmp_path, server.url)
    shortest = [{"metric": "prompt_tokens", "operator": "LessOrEqual", "value": 60}]
    with pytest.raises(SpecError, match=r"does not say how many tokens it reads \(usage.prompt_tokens\); leave"):
        load(tmp_path, server.url, constraints=shortest)


def test_a_key_that_no_request_can_carry_ends_the_study_unsent(server: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the key in API_KEY has blanks or signs that no request can carry") as refused:
        load(tmp_path, server.url, key="“sk-right”")
    assert server.requests == 0
    assert "sk-right" not in str(refused.value)


def test_an_answer_that_sends_elsewhere_is_not_followed(server: ChatServer, tmp_path: Path) -> None:
    server.always = ELSEWHERE
    with pytest.raises(SpecError, match=r"nothing answers .* \(307"):
        load(tmp_path, server.url)


def test_a_refused_prompt_is_a_wrong_answer_and_a_refused_point_is_infeasible(
    server: ChatServer, tmp_path: Path
) -> None:
    task = load(tmp_path, server.url, concurrency=1)
    whole = task.fit({"template": FOLLOWED}, Control()).evaluate("validation")["accuracy"]
    task = load(tmp_path, server.url, concurrency=1)
    # Four are asked together: that these alone are refused says nothing of the others.
    server.faults.extend([FILTERED] * 4)
    fitted = task.fit({"template": FOLLOWED}, Control())
    rows = len(task.splits.validation)
    measured = fitted.predict("validation").measure()
    assert measured["accuracy"] == pytest.approx(whole - 4 / rows)
    assert measured["prompt_tokens"] > 5, "of the prompts that were read"
    server.always = FILTERED
    with pytest.raises(Infeasible, match="refuses all 8 prompts of this point: 400: the content filter"):
        task.fit({"template": "brief"}, Control())


@pytest.fixture
def exported(server: ChatServer, tmp_path: Path) -> tuple[Any, Path, Manifest]:
    fitted = load(tmp_path, server.url).fit(POINT, Control())
    (tmp_path / "model").mkdir()
    described = fitted.export(tmp_path / "model")
    manifest = Manifest.model_construct(task="prompt-optimization", labels=described.labels)
    return fitted, tmp_path / "model", manifest


def test_the_server_sends_the_very_prompts_of_the_search_on_and_needs_no_weights(
    server: ChatServer, exported: tuple[Any, Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, folder, manifest = exported
    assert {path.name for path in folder.iterdir()} == {"recipe.json"}
    assert KEY not in (folder / "recipe.json").read_text()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answerer = load_answerer(folder, manifest, threads=1)
    warm_up(answerer)
    expected = fitted.predict("test")
    searched = {body["messages"][0]["content"] for body in server.asked}
    server.asked.clear()
    rows = CASE.rows(12, 200)
    answers = answerer.predict([answerer.parse(CASE.asked(row), "data") for row in rows])
    assert [answer["answer"] for answer in answers] == list(expected.answers)
    assert all(answer["label"] in ("red", "green", "blue") for answer in answers)
    assert len(server.asked) == len(rows)
    assert {body["messages"][0]["content"] for body in server.asked} <= searched


def test_the_server_takes_the_key_from_its_secret_and_does_not_start_with_a_wrong_one(
    exported: tuple[Any, Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, manifest = exported
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "secrets/model").mkdir(parents=True)
    monkeypatch.setenv("AUTOGLM_SECRETS_ROOT", str(tmp_path / "secrets"))
    with pytest.raises(UnusableModelError, match="answers 401: give a valid API_KEY in the Secret of modelSecretRef"):
        warm_up(load_answerer(folder, manifest, threads=1))
    (tmp_path / "secrets/model/API_KEY").write_text(f"{KEY} {KEY}")
    with pytest.raises(UnusableModelError, match="the key in API_KEY has blanks or signs"):
        load_answerer(folder, manifest, threads=1)
    (tmp_path / "secrets/model/API_KEY").write_text(KEY)
    warm_up(load_answerer(folder, manifest, threads=1))


def test_a_client_of_the_server_is_told_what_it_can_do(
    server: ChatServer, exported: tuple[Any, Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, manifest = exported
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answerer = load_answerer(folder, manifest, threads=1)
    asked = [answerer.parse("the sky", "data")]
    server.faults.append(BUSY)
    assert answerer.predict(asked)
    for fault, status, code in ((BROKEN, 503, "EndpointUnavailable"), (FILTERED, 422, "PromptRefused")):
        server.always = fault
        with pytest.raises(Refused) as refused:
            answerer.predict(asked)
        assert (refused.value.status, refused.value.code) == (status, code)
    for item, code in (({"prompt": "x", "top_p": 1}, "BadItem"), ({}, "NoData"), (3, "NotText"), (" ", "NoData")):
        with pytest.raises(Refused) as refused:
            answerer.parse(item, "data")
        assert refused.value.code == code

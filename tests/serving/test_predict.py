"""Predictions over HTTP from a real server process, and every way of asking wrongly."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.processes import RunningServer

from autoglm_api.predict import MAX_CHARACTERS, MAX_ITEMS

JSON = {"content-type": "application/json"}


def ask(client: httpx.Client, data: object, **more: object) -> httpx.Response:
    return client.post("/v1/predict", json={"data": data, **more})


def refused(response: httpx.Response, status: int, code: str) -> str:
    """The sentence of a refusal."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert len(error["message"]) < 500
    return str(error["message"])


def test_one_text_gets_one_prediction_with_the_probability_of_every_label(
    client: httpx.Client, server: RunningServer
) -> None:
    answer = ask(client, "I lost my card", model_name="intents", task_type="text-classification")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["task_type"], body["digest"]) == ("intents", "text-classification", server.digest)
    (prediction,) = body["predictions"]
    assert prediction["label"] == "card"
    assert prediction["score"] == prediction["scores"]["card"] > 0.5
    assert sum(prediction["scores"].values()) == pytest.approx(1)


def test_a_list_is_answered_in_its_order_whatever_the_lengths(client: httpx.Client) -> None:
    texts = ["send money " * (index % 7 + 1) if index % 2 else "hello" for index in range(100)]
    labels = [found["label"] for found in ask(client, texts).json()["predictions"]]
    assert labels == ["transfer" if index % 2 else "greeting" for index in range(100)]


def test_a_text_is_cut_at_the_manifests_length_as_in_training(client: httpx.Client) -> None:
    (prediction,) = ask(client, "hello " * 8 + "card " * 50).json()["predictions"]
    assert prediction["label"] == "greeting"


def test_the_same_request_always_gets_the_same_bytes_also_in_parallel(server: RunningServer) -> None:
    body = json.dumps({"data": ["send my card", "hello", "money thanks pin"]})

    def once(_: int) -> bytes:
        return httpx.post(f"{server.url}/v1/predict", content=body, headers=JSON, timeout=30).content

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(once, range(40)))) == 1


def test_probes_answer_while_predictions_are_computed(server: RunningServer) -> None:
    long = json.dumps({"data": ["send money " * 4000] * 40})

    def heavy(_: int) -> int:
        return httpx.post(f"{server.url}/v1/predict", content=long, headers=JSON, timeout=60).status_code

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(heavy, index) for index in range(4)]
        answered = 0
        with httpx.Client(timeout=30) as probe:
            while not all(one.done() for one in running):
                answered += probe.get(f"{server.url}/healthz").status_code == 200
        assert [one.result() for one in running] == [200] * 4
    # Blocked by the predictions, the loop would come to a probe only between two of them.
    assert answered > 3 * len(running)


def test_model_summary_names_labels_metrics_and_where_it_came_from(client: httpx.Client, server: RunningServer) -> None:
    summary = client.get("/v1/model").json()
    assert summary["digest"] == server.digest
    assert summary["labels"] == ["card", "transfer", "greeting"]
    assert summary["test"] == {"f1_macro": 0.88}
    assert summary["provenance"]["study"] == "intents"


def test_metrics_count_requests_by_code_and_keep_their_labels_few(client: httpx.Client) -> None:
    ask(client, "hello")
    for number in range(20):
        client.post("/v1/predict", content=b"{", headers=JSON)
        client.get(f"/v1/nothing-{number}")
        ask(client, "hello", model_name=f"other-{number}")
    text = client.get("/metrics").text
    counted = [line for line in text.splitlines() if line.startswith("autoglm_serving_requests_total{")]
    codes = {line.split('code="')[1][:3] for line in counted}
    assert {"200", "400", "404"} <= codes
    assert len(counted) == len(codes)
    assert "autoglm_serving_request_duration_seconds_bucket" in text
    assert "autoglm_serving_in_flight_requests 0.0" in text
    assert 'autoglm_serving_model_info{digest="sha256:' in text
    assert "nothing-" not in text
    assert "other-" not in text


@pytest.mark.parametrize(
    ("document", "code", "sentence"),
    [
        ([], "BadRequest", "must be an object with data, got a list"),
        ("hello", "BadRequest", "got a text"),
        ({}, "NoData", "data is missing"),
        ({"data": None}, "NotText", "got null"),
        ({"data": 3}, "NotText", "got a number"),
        ({"data": True}, "NotText", "got a boolean"),
        ({"data": {"text": "hello"}}, "NotText", "got an object"),
        ({"data": ""}, "NoData", "data is empty"),
        ({"data": " \n\t"}, "NoData", "data is empty"),
        ({"data": []}, "NoData", "empty list"),
        ({"data": ["hello", ""]}, "NoData", "data[1] is empty"),
        ({"data": ["hello", 7]}, "NotText", "data[1] must be a text, got a number"),
        ({"data": [["hello"]]}, "NotText", "data[0] must be a text, got a list"),
        ({"data": "card\0"}, "NotText", "NUL"),
        ({"data": ["hello"] * (MAX_ITEMS + 1)}, "TooManyItems", f"{MAX_ITEMS + 1} items; at most {MAX_ITEMS}"),
        ({"data": "a" * (MAX_CHARACTERS + 1)}, "TextTooLong", f"at most {MAX_CHARACTERS}"),
        ({"data": "hello", "task_type": "translation"}, "WrongTask", "'text-classification', not 'translation'"),
        ({"data": "hello", "task_type": 3}, "BadRequest", "task_type"),
        ({"data": "hello", "model_name": "x" * 300}, "BadRequest", "model_name"),
        ({"data": "hello", "temperature": 1}, "BadRequest", "temperature"),
    ],
    ids=lambda value: None if isinstance(value, str) else json.dumps(value)[:40],
)
def test_wrong_content_is_refused_with_a_sentence(
    client: httpx.Client, document: object, code: str, sentence: str
) -> None:
    assert sentence in refused(client.post("/v1/predict", json=document), 422, code)


def test_another_models_name_is_not_found(client: httpx.Client) -> None:
    sentence = refused(ask(client, "hello", model_name="fraud"), 404, "ModelNotFound")
    assert "'intents', not 'fraud'" in sentence


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"data": "hello"} tail',
        b'{"data": NaN}',
        b'{"data": "\xff"}',
        b'{"data": "\\ud800"}',
        b'{"data": "raw \x00 byte"}',
        b"[" * 100_000,
        b"\xef\xbb\xbf{}",
        b"{'data': 'hello'}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_bad_json_is_refused_with_a_sentence(client: httpx.Client, body: bytes) -> None:
    assert "not JSON" in refused(client.post("/v1/predict", content=body, headers=JSON), 400, "BadJson")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_another_content_type_is_refused(client: httpx.Client, content_type: str) -> None:
    response = client.post("/v1/predict", content=b'{"data": "hello"}', headers={"content-type": content_type})
    assert "application/json" in refused(response, 415, "UnsupportedMediaType")


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    headers = JSON | {"content-encoding": "gzip"}
    refused(client.post("/v1/predict", content=b"\x1f\x8b", headers=headers), 415, "UnsupportedMediaType")


def test_json_with_a_charset_is_accepted(client: httpx.Client) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/v1/predict", content='{"data": "你好 hello"}'.encode(), headers=headers).status_code == 200


def test_a_body_over_the_limit_is_refused_while_it_still_arrives(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"data": "'
        for _ in range(20):
            yield b"a" * 1024 * 1024

    chunked = client.post("/v1/predict", content=endless(), headers=JSON)
    assert "4194304 bytes" in refused(chunked, 413, "BodyTooLarge")
    sized = client.post("/v1/predict", content=b"a" * (5 * 1024 * 1024), headers=JSON)
    refused(sized, 413, "BodyTooLarge")


def test_a_body_that_breaks_off_harms_nobody(client: httpx.Client, server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        )
    assert ask(client, "hello").status_code == 200


def test_unknown_paths_and_methods_get_a_sentence(client: httpx.Client) -> None:
    assert client.get("/v2/predict").json()["error"]["code"] == "NotFound"
    response = client.get("/v1/predict")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "MethodNotAllowed"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=10,
)
_requests = st.fixed_dictionaries(
    {"data": _json | st.text(max_size=200) | st.lists(st.text(max_size=40), max_size=5)},
    optional={"model_name": _json, "task_type": _json, "extra": _json},
)
_bodies = st.one_of(
    st.binary(max_size=300),
    _json.map(lambda value: json.dumps(value).encode()),
    _requests.map(lambda value: json.dumps(value).encode()),
    _requests.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16")),
    _requests.flatmap(lambda value: st.integers(0, 40).map(lambda cut: json.dumps(value).encode()[:-cut])),
)


@given(body=_bodies)
def test_no_body_whatever_makes_a_server_error(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/predict", content=body, headers=JSON)
    answer: dict[str, Any] = response.json()
    if response.status_code == 200:
        assert answer["predictions"]
    else:
        assert 400 <= response.status_code < 500, (response.status_code, body)
        assert answer["error"]["message"]

"""A server that is told to go finishes what it has begun, and no client that heeds readiness ever sees an error."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.serving.conftest import TinyModel
from tests.serving.processes import RunningServer, running_server, serve_command
from tests.waiting import wait_until

BODY = json.dumps({"data": ["hello"]}).encode()
HEAD = (
    b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    + f"content-length: {len(BODY)}\r\n\r\n".encode()
)


def listens(server: RunningServer) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return True
    except ConnectionError:
        return False


def is_unready(server: RunningServer) -> bool:
    return httpx.get(f"{server.url}/readyz").status_code == 503


def has_in_flight(server: RunningServer) -> bool:
    return "in_flight_requests 1.0" in httpx.get(f"{server.url}/metrics").text


def test_sigterm_makes_it_unready_while_it_still_answers_then_it_exits_0(model: TinyModel) -> None:
    with running_server(model.uri, model.digest, AUTOGLM_DRAIN_SECONDS="2") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_unready(server), "503 from /readyz", 2)
        answer = httpx.post(f"{server.url}/v1/predict", json={"data": "hello"})
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert "autoglm_serving_draining 1.0" in httpx.get(f"{server.url}/metrics").text
        assert server.process.wait(timeout=20) == 0


def test_sigterm_while_it_loads_ends_it_and_what_it_has_downloaded(tmp_path: Path) -> None:
    model, scratch = tmp_path / "model", tmp_path / "scratch"
    for folder in (model, scratch):
        folder.mkdir()
    os.mkfifo(model / "manifest.json")  # a store that is slow to answer
    told = {"AUTOGLM_MODEL_URI": model.as_uri(), "AUTOGLM_MODEL_DIGEST": "sha256:0", "AUTOGLM_SCRATCH": str(scratch)}
    process = serve_command(told)
    wait_until(lambda: any(scratch.iterdir()), "the server loading")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert not any(scratch.iterdir())


def test_a_request_in_flight_is_answered_after_the_server_has_stopped_listening(model: TinyModel) -> None:
    with running_server(model.uri, model.digest, AUTOGLM_DRAIN_SECONDS="0") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(HEAD + BODY[:5])
            wait_until(lambda: has_in_flight(server), "the request in flight")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(server), "listening stopped")
            raw.sendall(BODY[5:])
            raw.settimeout(20)
            assert raw.recv(65_536).startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=20) == 0


def test_a_client_that_never_finishes_cannot_hold_the_server(model: TinyModel) -> None:
    with (
        running_server(model.uri, model.digest, AUTOGLM_DRAIN_SECONDS="0", AUTOGLM_FINISH_SECONDS="1") as server,
        socket.create_connection(("127.0.0.1", server.port)) as raw,
    ):
        raw.sendall(HEAD + BODY[:5])
        wait_until(lambda: has_in_flight(server), "the request in flight")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0


def test_a_second_signal_ends_it_without_waiting(model: TinyModel) -> None:
    with running_server(model.uri, model.digest, AUTOGLM_DRAIN_SECONDS="60") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_unready(server), "503 from /readyz")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
def test_no_request_fails_while_one_of_two_servers_drains_under_load(
    model: TinyModel, tmp_path: Path, keep_alive: bool
) -> None:
    """Clients choose among the ready servers, as a Service does, a little late."""
    with (
        running_server(model.uri, model.digest, AUTOGLM_DRAIN_SECONDS="2") as old,
        running_server(model.uri, model.digest) as new,
    ):
        ready = [old, new]
        outcomes: Counter[str] = Counter()
        stop = threading.Event()

        def load() -> None:
            limits = None if keep_alive else httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(timeout=30, limits=limits or httpx.Limits()) as client:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    server = ready[turn % len(ready)]
                    try:
                        status = client.post(f"{server.url}/v1/predict", json={"data": "hello"}).status_code
                    except httpx.TransportError as error:
                        outcomes[repr(error)] += 1
                    else:
                        outcomes[f"{status} {'old' if server is old else 'new'}"] += 1

        clients = [threading.Thread(target=load) for _ in range(6)]
        for client in clients:
            client.start()
        wait_until(lambda: outcomes["200 old"] > 50, "load on the old server")
        old.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_unready(old), "503 from /readyz", 2)
        ready.remove(old)
        assert old.process.wait(timeout=20) == 0
        after = outcomes["200 new"]
        wait_until(lambda: outcomes["200 new"] > after + 50, "load on the new server")
        stop.set()
        for client in clients:
            client.join()
        assert set(outcomes) == {"200 old", "200 new"}

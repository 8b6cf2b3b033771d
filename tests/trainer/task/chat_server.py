"""A real HTTP server with OpenAI's chat interface, answered by the tiny GLM; it misbehaves where a test says so."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.trainer.task.making import colour_rows, make_places, make_run, write_model, write_rows

from autoglm_api.prompting import Decoding
from autoglm_trainer.model.base import load_model
from autoglm_trainer.prompting.local import LocalModel
from autoglm_trainer.rows.prompts import load_prompts
from autoglm_trainer.tokens.prompts import Conversations

KEY = "sk-right"
MODEL = "tiny-glm"

Fault = tuple[int, dict[str, str], bytes]
BUSY: Fault = (429, {"Retry-After": "0"}, b'{"error": {"message": "too many requests"}}')
BROKEN: Fault = (500, {}, b"oops")
MALFORMED: Fault = (200, {}, b'{"choices": [')
UNREADABLE: Fault = (200, {"content-encoding": "gzip"}, b"no gzip")
FILTERED: Fault = (400, {}, b'{"error": {"message": "the content filter does not like this"}}')
ELSEWHERE: Fault = (307, {"Location": "http://169.254.169.254/latest"}, b"")


@dataclass
class ChatServer:
    """Attributes:
    url: what `/chat/completions` follows. faults: answered in turn before anything else is.
    asked: bodies of the requests that were answered. most: requests in flight at once.
    gather: no request is answered before so many have been in flight at once, or ten seconds have passed.
    """

    url: str
    model: LocalModel
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    most: int = 0
    gather: int = 1
    _flying: int = 0
    _lock: threading.Condition = field(default_factory=lambda: threading.Condition(threading.Lock()))

    def answer(self, path: str, authorization: str | None, body: dict[str, Any]) -> Fault:
        """Status, headers and payload."""
        with self._lock:
            self.requests += 1
            self._flying += 1
            self.most = max(self.most, self._flying)
            self._lock.notify_all()
            self._lock.wait_for(lambda: self.most >= self.gather, timeout=10)
        try:
            return self._answer(path, authorization, body)
        finally:
            with self._lock:
                self._flying -= 1

    def _answer(self, path: str, authorization: str | None, body: dict[str, Any]) -> Fault:
        if path != "/v1/chat/completions" or body["model"] != MODEL:
            return 404, {}, b'{"error": {"message": "no such model"}}'
        if authorization != f"Bearer {KEY}":
            return 401, {}, json.dumps({"error": {"message": f"wrong key {authorization}"}}).encode()
        with self._lock:
            fault = self.faults.popleft() if self.faults else self.always
        if fault is not None:
            return fault
        with self._lock:
            self.asked.append(body)
            prompt = body["messages"][0]["content"]
            decoding = Decoding(max_new_tokens=body["max_tokens"])
            (response,) = self.model.answer([prompt], decoding, labels=(), heartbeat=lambda: None)
        said = {
            "choices": [{"message": {"role": "assistant", "content": response.text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": int(response.prompt_tokens), "completion_tokens": 1},
        }
        return 200, {}, json.dumps(said).encode()


def taught_writer(folder: Path) -> LocalModel:
    """The tiny GLM that follows one phrasing, in memory."""
    model = write_model(folder / "model", "glm-taught")
    rows = [{"prompt": row["text"], "answer": row["label"]} for row in colour_rows(12)]
    run = make_run(
        f"file://{model}",
        write_rows(folder / "rows.jsonl", rows),
        task="text-generation",
        objectives=[{"metric": "rouge_l", "direction": "Maximize"}],
    )
    places = make_places(folder)
    base = load_model(run.model, places, writes=True)
    conversations = Conversations(base, load_prompts(run.data, places.data, seed=0))
    return LocalModel(
        conversations.writer.model, base.tokenizer, conversations.frame(base.max_tokens, 1), base.max_tokens
    )


@contextmanager
def serving(model: LocalModel, host: str = "127.0.0.1") -> Iterator[ChatServer]:
    """The server on a port of its own, until the block ends."""
    state = ChatServer("", model)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, headers, payload = state.answer(self.path, self.headers["authorization"], body)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(payload))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    state.url = f"http://{host}:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

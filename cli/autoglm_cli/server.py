"""The model server as a child of `autoglm run`: started, waited for, asked one real question."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from autoglm_api import environment as env
from autoglm_api.attempts import Export
from autoglm_api.predict import PredictRequest, PredictResponse

from .errors import CliError, InterruptedRunError, UsageError
from .machine import cores
from .pool import Pool, Process, log_tail

HOST = "127.0.0.1"
PREFERRED_PORT = 8080
READY_SECONDS = 60.0
SERVER = "server"


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    process: Process
    url: str


def start_server(pool: Pool, export: Export, name: str, stopped: Callable[[], bool]) -> Running:
    """Start the server on the exported model and wait until it is ready.

    Args:
        pool: starts the process.
        export: the model.
        name: what clients call it.
        stopped: whether somebody wants to end.

    Raises:
        CliError: it did not become ready; with the end of its log.
        InterruptedRunError: somebody wanted to end.
    """
    port = free_port(PREFERRED_PORT)
    instructions = {
        env.MODEL_URI: export.uri,
        env.MODEL_DIGEST: export.digest,
        env.MODEL_NAME: name,
        env.CPU_LIMIT: str(cores()),
        "AUTOGLM_HOST": HOST,
        "AUTOGLM_PORT": str(port),
        "AUTOGLM_DRAIN_SECONDS": "0",
    }
    process = pool.start(SERVER, "autoglm_serving.main", ["serve"], instructions)
    url = f"http://{HOST}:{port}"
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        if stopped():
            raise InterruptedRunError("interrupted while the server was starting; go on with the same command again")
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise CliError(f"the server did not start. The end of {process.log}:\n{log_tail(process.log)}")
        time.sleep(0.1)
    return Running(process, url)


def free_port(preferred: int) -> int:
    """`preferred` if nobody listens there, else any free one."""
    try:
        return open_port(HOST, preferred)
    except UsageError:
        return open_port(HOST, 0)


def open_port(host: str, port: int) -> int:
    """The port to listen on: `port` if nobody else does, for 0 any free one.

    Raises:
        UsageError: nothing can listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a connection that still lingers from the last run is no reason to go elsewhere.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        told = f"cannot listen on {host}:{port} ({error.strerror})"
        raise UsageError(f"{told}; name another --port, or --host, an address of this machine") from error


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310  http by construction
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def predict(url: str, request: PredictRequest) -> PredictResponse:
    """One prediction over HTTP.

    Raises:
        CliError: the server answered something else.
    """
    body = request.model_dump_json(exclude_none=True).encode()
    question = urllib.request.Request(  # noqa: S310  http by construction
        f"{url}/v1/predict", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(question, timeout=30) as answer:  # noqa: S310
            return PredictResponse.model_validate_json(answer.read())
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise CliError(f"{url}/v1/predict: {error}") from error


def curl(url: str, request: PredictRequest) -> str:
    """The same question as a command to copy."""
    body = json.dumps(request.model_dump(exclude_none=True), ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s {url}/v1/predict -H 'Content-Type: application/json' -d '{body}'"

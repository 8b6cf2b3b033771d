"""The server and an S3 store as real processes, waited for by what they answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from tests.waiting import wait_until


@dataclass(frozen=True)
class RunningServer:
    process: subprocess.Popen[bytes]
    port: int
    digest: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def serve_command(environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AUTOGLM_", "AWS_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "autoglm_serving.main", "serve"],
        env=inherited | dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@contextmanager
def running_server(uri: str, digest: str, **environ: str) -> Iterator[RunningServer]:
    """A ready server on a free port; killed at the end if it is still there."""
    port = free_port()
    told = {
        "AUTOGLM_MODEL_URI": uri,
        "AUTOGLM_MODEL_DIGEST": digest,
        "AUTOGLM_MODEL_NAME": "intents",
        "AUTOGLM_HOST": "127.0.0.1",
        "AUTOGLM_PORT": str(port),
        "AUTOGLM_CPU_LIMIT": "1",
    }
    process = serve_command(told | environ)
    try:
        server = RunningServer(process, port, digest)
        wait_until(lambda: process.poll() is not None or answers(f"{server.url}/readyz"), "server ready")
        if process.returncode is not None:
            output = process.stdout.read().decode() if process.stdout else ""
            raise AssertionError(f"the server ended with {process.returncode}: {output}")
        yield server
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running_s3() -> Iterator[str]:
    """An S3 API as a process; yields its endpoint URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/moto-api/"), "moto_server")
        yield url
    finally:
        process.kill()
        process.wait()

"""A server's life: load, check, warm up, answer, drain. Used in pods and by `autoglm serve` alike."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from typing_extensions import override

from autoglm_api.environment import DEFAULT_CLAIMS_ROOT
from autoglm_api.manifest import Manifest

from .answerer import Answerer, load_answerer, warm_up
from .app import MAX_BODY_BYTES, Service, Traffic, create_app
from .folders import open_folder
from .metrics import ServerMetrics
from .verified import bring, describe

KEEP_ALIVE_SECONDS = 75

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drain:
    """How a server goes away: it answers `linger_seconds` more, then has `finish_seconds` for what is in flight."""

    linger_seconds: float = 3.0
    finish_seconds: int = 30


@dataclass(frozen=True)
class Loaded:
    """A model in memory, warmed up."""

    manifest: Manifest
    digest: str
    answerer: Answerer


def load_model(
    uri: str,
    digest: str | None,
    *,
    scratch: Path,
    threads: int,
    claims_root: Path = Path(DEFAULT_CLAIMS_ROOT),
    credentials: Mapping[str, str] | None = None,
) -> Loaded:
    """Check, bring here, load and warm up a model.

    Raises:
        ServingError: with the exit code and the sentence for this failure.
    """
    folder = open_folder(uri, claims_root=claims_root, credentials=credentials or {})
    described = describe(folder, digest)
    path = bring(folder, described, scratch)
    answerer = load_answerer(path, described.manifest, threads=threads)
    warm_up(answerer)
    _log.info("model loaded", extra={"uri": uri, "digest": described.digest, "task": described.manifest.task})
    return Loaded(described.manifest, described.digest, answerer)


def run_server(
    uri: str,
    digest: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    name: str | None = None,
    threads: int | None = None,
    scratch: Path | None = None,
    claims_root: Path = Path(DEFAULT_CLAIMS_ROOT),
    credentials: Mapping[str, str] | None = None,
    drain: Drain | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> None:
    """Serve the model at `uri` until SIGTERM or SIGINT; returns after the drain. For the main thread.

    Args:
        uri: the model's folder, `file://`, `pvc://` or `s3://`.
        digest: of its manifest; None serves what is there.
        host: address to listen on.
        port: TCP port; 0 = any free one, see the log.
        name: what `model_name` in requests must say; default the study's name.
        threads: for the graph; default all cores.
        scratch: where a remote model is downloaded to; default a temporary folder.
        claims_root: folder below which claims are mounted, for `pvc://`.
        credentials: of the store; default the process's own environment.
        drain: how to go away.
        max_body_bytes: limit of a request's body.

    Raises:
        ServingError: nothing was served; with the exit code and the sentence for this failure.
    """
    # Loading takes minutes where a model is big. Without a handler the first process of a container hears no SIGTERM,
    # and others would leave what they have downloaded.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threads = threads or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="autoglm-model-", dir=scratch) as folder:
        model = load_model(
            uri,
            digest,
            scratch=Path(folder),
            threads=threads,
            claims_root=claims_root,
            credentials=credentials,
        )
        service = Service(
            name=name or model.manifest.provenance.study,
            manifest=model.manifest,
            digest=model.digest,
            answerer=model.answerer,
            metrics=ServerMetrics(task=model.manifest.task, digest=model.digest),
            executor=ThreadPoolExecutor(max_workers=threads, thread_name_prefix="predict"),
            traffic=Traffic(),
            max_body_bytes=max_body_bytes,
        )
        _serve(service, host, port, drain or Drain())


def _serve(service: Service, host: str, port: int, drain: Drain) -> None:
    config = uvicorn.Config(
        create_app(service),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain.finish_seconds,
    )
    _DrainingServer(config, service, drain).run()


class _DrainingServer(uvicorn.Server):
    """SIGTERM makes it unready at once, and lets it answer while the cluster stops sending; only then it closes."""

    def __init__(self, config: uvicorn.Config, service: Service, drain: Drain) -> None:
        super().__init__(config)
        self._service, self._drain = service, drain

    @override
    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        await super().startup()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The signal is not kept for re-raising: a drained server has ended well, and exits 0.
        if self._service.traffic.draining or sig != signal.SIGTERM:
            self._service.traffic.draining = True
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        self._service.traffic.draining = True
        self._service.metrics.draining.set(1)
        _log.info("draining", extra={"in_flight": self._service.traffic.in_flight})
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain.linger_seconds, self._close)

    def _close(self) -> None:
        self.should_exit = True

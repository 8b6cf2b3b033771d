"""`autoglm-operator`: reads its settings, waits for the CRDs, and runs watcher, queue and HTTP server until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from functools import partial
from time import monotonic
from typing import Any

import kopf

from . import logs, metrics
from .children import Children
from .databases import Databases
from .endpoint.reconcile import reconcile as reconcile_endpoint
from .handlers import build_registry, build_settings
from .hearing import Hearing, listen
from .kube import ENDPOINTS, STUDIES, Kube, KubeError, connection
from .observe import Sight
from .queue import Key, WorkQueue
from .server import serve
from .settings import Settings, SettingsError
from .study import StudyReconciler
from .uninstall import uninstall

log = logging.getLogger(__name__)

STUCK_SECONDS = 600.0
CRD_POLL_SECONDS = 5.0
REST_SECONDS = 30.0


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="autoglm-operator", description="Watches studies and endpoints.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="watch and reconcile (the default)")
    remove = commands.add_parser("remove-finalizers", help="before uninstalling: stop the operator, free all objects")
    remove.add_argument("--deployment", help="<namespace>/<name> of the operator to stop first")
    remove.add_argument("--namespace", action="append", default=[], help="where to look; left out = everywhere")
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(f"autoglm-operator: {error}", file=sys.stderr)  # noqa: T201 - logging is not configured yet
        return 64
    logs.configure(settings.log_level, settings.log_format)
    if arguments.command == "remove-finalizers":
        return asyncio.run(_remove_finalizers(arguments.deployment, arguments.namespace))
    _calm_garbage_collection()
    return asyncio.run(run(settings))


def _calm_garbage_collection() -> None:
    """Leave out what was imported, which is never garbage, and look less often: events are many short dicts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _remove_finalizers(deployment: str | None, namespaces: list[str]) -> int:
    try:
        async with await Kube.connect() as kube:
            await uninstall(kube, deployment=deployment, namespaces=namespaces)
    except (KubeError, TimeoutError) as error:
        log.error("finalizers could not be removed: %s", error)  # noqa: TRY400 - a sentence, no traceback
        return 1
    return 0


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    databases = Databases(
        threads=settings.storage_threads,
        timeout_seconds=settings.storage_timeout_seconds,
        max_age_seconds=settings.trials_max_age_seconds,
    )
    async with await Kube.connect(timeout_seconds=settings.kube_timeout_seconds) as kube:
        sight = Sight(kube, databases, Children(), settings)
        queue = WorkQueue(
            {
                STUDIES.plural: StudyReconciler(sight),
                ENDPOINTS.plural: partial(_endpoint, kube, settings),
            },
            reconcilers=settings.reconcilers,
        )
        hearing = Hearing()
        metrics.QUEUE_DEPTH.set_function(lambda: queue.depth)
        runner = await serve(settings.http_host, settings.http_port, partial(_health, queue, hearing))
        try:
            return await _watch(sight, queue, hearing, stop)
        finally:
            await runner.cleanup()
            databases.close()


async def _watch(sight: Sight, queue: WorkQueue, hearing: Hearing, stop: asyncio.Event) -> int:
    await _wait_for_crds(sight.kube, stop)
    if stop.is_set():
        return 0
    watcher = asyncio.create_task(_run_kopf(queue, sight, hearing, stop))
    beside = (queue.run(), _rest(sight.databases), listen(sight.kube, hearing, sight.settings.namespaces))
    helpers = [asyncio.create_task(work) for work in beside]
    log.info("watching %s", ", ".join(sight.settings.namespaces) or "all namespaces")
    done, _ = await asyncio.wait([watcher, *helpers], return_when=asyncio.FIRST_COMPLETED)
    for task in helpers:
        task.cancel()
    stop.set()
    await asyncio.gather(watcher, *helpers, return_exceptions=True)
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            log.error("stopped by a defect", exc_info=task.exception())
            return 70
    return 0


async def _run_kopf(queue: WorkQueue, sight: Sight, hearing: Hearing, stop: asyncio.Event) -> None:
    registry = build_registry(queue, sight.children, hearing, sight.echoes)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await connection())

    await kopf.operator(
        registry=registry,
        settings=build_settings(),
        standalone=True,
        clusterwide=not sight.settings.namespaces,
        namespaces=sight.settings.namespaces,
        stop_flag=stop,
    )


async def _endpoint(kube: Kube, settings: Settings, key: Key) -> float | None:
    return await reconcile_endpoint(kube, settings, key.namespace, key.name)


async def _wait_for_crds(kube: Kube, stop: asyncio.Event) -> None:
    """Kopf learns once, at its start, which kinds there are."""
    while not stop.is_set():
        try:
            missing = [kind.plural for kind in (STUDIES, ENDPOINTS) if not await kube.serves(kind)]
        except KubeError as error:
            log.warning("the API server does not answer: %s", error)
        else:
            if not missing:
                return
            log.warning("waiting for the CRDs of %s", ", ".join(missing))
        try:
            await asyncio.wait_for(stop.wait(), CRD_POLL_SECONDS)
        except TimeoutError:
            continue


async def _rest(databases: Databases) -> None:
    while True:
        await asyncio.sleep(REST_SECONDS)
        await databases.rest()


def _health(queue: WorkQueue, hearing: Hearing) -> str | None:
    seconds = queue.longest_run_seconds()
    if seconds > STUCK_SECONDS:
        return f"a reconcile has been running for {seconds:.0f} s"
    return hearing.problem(monotonic())


if __name__ == "__main__":
    sys.exit(main())

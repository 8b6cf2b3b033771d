"""One container of a pod across its restarts: start, probes, stop, and the state that the API shows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from e2e.cluster import probes
from e2e.cluster.api import ApiError
from e2e.cluster.environment import ReferenceNotFoundError
from e2e.cluster.images import ImageNotFoundError
from e2e.cluster.process import ContainerProcess
from e2e.cluster.sandbox import Sandbox

Json = dict[str, Any]
Prepare = Callable[["Container"], Awaitable[Sandbox]]
RETRY_SECONDS = 0.5
BACK_OFF_SECONDS = (0.5, 10.0)
TERMINATION_MESSAGE_BYTES = 4096
MINIMUM_GRACE_SECONDS = 2.0
LIVENESS_GRACE_SECONDS = 10.0
log = logging.getLogger(__name__)


def timestamp() -> str:
    """Now, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Container:
    """Runs a container's command until its restart policy is satisfied.

    Args:
        spec: the container's specification.
        directory: holds its logs, scripts and termination message.
        prepare: makes the sandbox; may raise `ImageNotFoundError` or `ReferenceNotFoundError`.
        changed: called after each change of state.
    """

    def __init__(self, spec: Json, directory: Path, prepare: Prepare, changed: Callable[[], None]) -> None:
        self.name: str = spec["name"]
        self.spec = spec
        self.directory = directory
        self.address = ""
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self.restarts = self._runs = 0
        self.started = self.ready = False
        self.forced_reason: str | None = None
        self._prepare, self._changed = prepare, changed
        self._process: ContainerProcess | None = None
        self._grace_seconds = 0.0
        self._stopping = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def termination_log(self) -> Path:
        """The file behind `terminationMessagePath`."""
        return self.directory / "termination-log"

    def log_file(self, *, previous: bool = False) -> Path:
        """Output of the newest run, which may be over, or of the one before."""
        return self.directory / f"{self._runs - previous}.log"

    @property
    def exit_code(self) -> int | None:
        """Of the last run, when it is over."""
        terminated = self.state.get("terminated")
        return int(terminated["exitCode"]) if terminated else None

    async def run(self, restart_policy: str) -> None:
        """Returns when the container is over for good, or was stopped."""
        back_off = BACK_OFF_SECONDS[0]
        while not self._stopping.is_set():
            sandbox = await self._ready_sandbox()
            if sandbox is None:
                return
            await self._run_once(sandbox)
            if restart_policy == "Never" or (restart_policy == "OnFailure" and self.exit_code == 0):
                return
            if self._stopping.is_set():
                return
            self.last_state, self.restarts = self.state, self.restarts + 1
            message = f"back-off {back_off:g}s restarting failed container={self.name}"
            self._wait_for("CrashLoopBackOff", message)
            await self._pause(back_off)
            back_off = min(back_off * 2, BACK_OFF_SECONDS[1])

    async def stop(self, grace_seconds: float) -> None:
        """preStop hook, SIGTERM, SIGKILL when the grace is over. Returns when the process has ended."""
        self._grace_seconds = grace_seconds
        self._stopping.set()
        if self._process is not None:
            await self._end_process(grace_seconds)

    def processes(self) -> list[int]:
        """All processes of the container by their number on this machine, process 1 first."""
        return self._process.all() if self._process else []

    async def execute(self, argv: list[str], timeout_seconds: float) -> tuple[int, str]:
        """Runs a command beside the container's own; returns exit code and output. Past the limit: 124."""
        if self._process is None:
            return 126, f"container {self.name} is not running"
        return await self._process.execute(argv, timeout_seconds)

    def status(self, image: str) -> Json:
        """The container's entry in the pod's status."""
        return {
            "name": self.name,
            "image": image,
            "imageID": f"process://{image}" if self.started or self.restarts or self.exit_code is not None else "",
            "containerID": f"process://{self._process.first}" if self._process else "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    def wait_with(self, reason: str, message: str = "") -> None:
        """Shows the container as waiting, unless it has run."""
        if "waiting" in self.state and not self.restarts:
            self._wait_for(reason, message)

    async def _ready_sandbox(self) -> Sandbox | None:
        pulls = 0
        while not self._stopping.is_set():
            try:
                return await self._prepare(self)
            except ImageNotFoundError as error:
                pulls += 1
                self._wait_for("ErrImagePull" if pulls == 1 else "ImagePullBackOff", str(error))
            except ReferenceNotFoundError as error:
                self._wait_for("CreateContainerConfigError", str(error))
            except (ApiError, aiohttp.ClientError) as error:
                log.info("container %s, once more: %s", self.name, error)
            await self._pause(RETRY_SECONDS)
        return None

    async def _run_once(self, sandbox: Sandbox) -> None:
        self.termination_log.write_bytes(b"")
        self.termination_log.chmod(0o666)
        started, self._runs = timestamp(), self._runs + 1
        self._process = await ContainerProcess.start(sandbox, self.directory / "start.sh", self.log_file())
        self.started = "startupProbe" not in self.spec
        self.ready = self.started and "readinessProbe" not in self.spec
        self.state = {"running": {"startedAt": started}}
        self._changed()
        if self._stopping.is_set():  # stopped while it was starting
            self._ending = asyncio.create_task(self._end_process(self._grace_seconds))
        watching = asyncio.create_task(self._watch_probes())
        try:
            code = await self._process.wait()
        finally:
            watching.cancel()
        self._process = None
        self.ready = self.started = False
        self.state = {"terminated": self._terminated(code, started)}
        self._changed()

    def _terminated(self, exit_code: int, started: str) -> Json:
        forced, self.forced_reason = self.forced_reason, None
        message = self.termination_log.read_bytes()[:TERMINATION_MESSAGE_BYTES].decode(errors="replace")
        if exit_code and not message and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            lines = self.log_file().read_bytes()[-2048:].decode(errors="replace").splitlines(keepends=True)
            message = "".join(lines[-80:])
        reason = forced or ("Error" if exit_code else "Completed")
        terminated = {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": timestamp()}
        return terminated | ({"message": message} if message else {})

    async def _end_process(self, grace_seconds: float) -> None:
        process, deadline = self._process, asyncio.get_running_loop().time() + grace_seconds
        if process is None:
            return
        hook = self.spec.get("lifecycle", {}).get("preStop")
        if hook and grace_seconds > 0:
            await self._handle(hook, grace_seconds)
        if grace_seconds > 0:
            remaining = max(deadline - asyncio.get_running_loop().time(), MINIMUM_GRACE_SECONDS)
            process.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), remaining)
                return
        process.signal(signal.SIGKILL)
        await process.wait()

    async def _watch_probes(self) -> None:
        if "startupProbe" in self.spec:
            await self._until_started(self.spec["startupProbe"])
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in self.spec:
                probe = self.spec["readinessProbe"]
                group.create_task(probes.watch(probe, self._asks(probe), self._became_ready))
            if "livenessProbe" in self.spec:
                probe = self.spec["livenessProbe"]
                group.create_task(probes.watch(probe, self._asks(probe), self._lives))

    async def _until_started(self, probe: Json) -> None:
        done = asyncio.Event()

        def decided(success: bool) -> None:
            if success:
                self.started, self.ready = True, "readinessProbe" not in self.spec
                self._changed()
                done.set()
            else:
                self._lives(False)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(probes.watch(probe, self._asks(probe), decided))
            await done.wait()
            task.cancel()

    def _became_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._changed()

    def _lives(self, alive: bool) -> None:
        ending = self._stopping.is_set() or (self._ending is not None and not self._ending.done())
        if not alive and not ending:
            self._ending = asyncio.create_task(self._end_process(LIVENESS_GRACE_SECONDS))

    def _asks(self, probe: Json) -> Callable[[float], Awaitable[bool]]:
        return lambda timeout: self._handle(probe, timeout)

    async def _handle(self, handler: Json, timeout_seconds: float) -> bool:
        async def execute(argv: list[str], limit: float) -> int:
            return (await self.execute(argv, limit))[0]

        ports = {port["name"]: port["containerPort"] for port in self.spec.get("ports", []) if "name" in port}
        return await probes.handle(handler, self.address, ports, execute, timeout_seconds)

    def _wait_for(self, reason: str, message: str = "") -> None:
        state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        if state != self.state:
            self.state = state
            self._changed()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

"""One run of a container's command: its process 1 as this machine sees it, signals, and commands beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from e2e.cluster.sandbox import Sandbox


class ContainerProcess:
    """A started container. `first` is its process 1 by its number on this machine; None if it ended at once."""

    def __init__(self, sandbox: Sandbox, outer: asyncio.subprocess.Process, first: int | None) -> None:
        self.first = first
        self._sandbox, self._outer = sandbox, outer

    @classmethod
    async def start(cls, sandbox: Sandbox, script: Path, output: Path) -> ContainerProcess:
        """Starts the container, output to a file, and returns when its own command runs (or has ended)."""
        sandbox.root.mkdir(exist_ok=True)
        script.touch(mode=0o600)  # it holds the environment, Secrets included
        script.write_text(sandbox.script())
        with output.open("wb") as stream:
            outer = await asyncio.create_subprocess_exec(
                *sandbox.outer_argv(script), stdin=asyncio.subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        return cls(sandbox, outer, await _first_process(outer, script))

    async def wait(self) -> int:
        """The exit code, 128 + n after signal n."""
        code = await self._outer.wait()
        return 128 - code if code < 0 else code

    def signal(self, number: signal.Signals) -> None:
        """Signals process 1, as a kubelet does. A container that has ended is no error."""
        if self.first is not None and self._outer.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first, number)

    def all(self) -> list[int]:
        """All processes of the container by their number on this machine, process 1 first."""
        namespace = _pid_namespace(self.first) if self.first else None
        if self.first is None or namespace is None:
            return []
        numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [self.first, *(each for each in numbers if each != self.first and _pid_namespace(each) == namespace)]

    async def execute(self, argv: list[str], timeout_seconds: float) -> tuple[int, str]:
        """Runs a command in the container as its user; returns exit code and output. Past the limit: 124."""
        if self.first is None:
            return 126, "the container has ended"
        process = await asyncio.create_subprocess_exec(
            *self._sandbox.exec_argv(self.first, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout_seconds)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            return 124, f"no end after {timeout_seconds:g} s"
        return process.returncode or 0, output.decode(errors="replace")


def _pid_namespace(process: int) -> str | None:
    try:
        return str(Path(f"/proc/{process}/ns/pid").readlink())
    except OSError:
        return None


async def _first_process(outer: asyncio.subprocess.Process, script: Path) -> int | None:
    """The container's process 1 once it is the container's command and no longer our script; None if it has ended."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.returncode is None:
        try:
            numbers = children.read_text().split()
            if numbers and str(script).encode() not in Path(f"/proc/{numbers[0]}/cmdline").read_bytes():
                return int(numbers[0])
        except OSError:
            pass
        await asyncio.sleep(0.005)
    return None

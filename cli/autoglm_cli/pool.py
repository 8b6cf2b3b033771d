"""Worker processes: started in slots, watched, ended. None of them outlives the supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from autoglm_api import environment as env
from autoglm_api.exits import ExitCode, Termination

from .folder import RunFolder

LOG_TAIL_LINES = 12


@dataclass
class Process:
    """A running child.

    Attributes:
        name: `worker-0`, `export`, `server`; also the name of its log.
        identity: what it writes as owner of its trials.
    """

    name: str
    popen: subprocess.Popen[bytes]
    identity: str
    log: Path
    termination: Path


@dataclass(frozen=True)
class Ended:
    """A child that has ended; `code` is negative for a signal, as in `subprocess`."""

    process: Process
    code: int
    told: Termination | None

    @property
    def sentence(self) -> str:
        """How it ended, for people."""
        if self.told:
            return self.told.message
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return f"ended with exit code {self.code}{_meaning(self.code)}"


def _meaning(code: int) -> str:
    return f" ({ExitCode(code).name.lower().replace('_', ' ')})" if code in list(ExitCode) else ""


@dataclass
class Pool:
    """All children of one run.

    Attributes:
        shared: environment variables of every child, beside this process's own.
    """

    folder: RunFolder
    shared: Mapping[str, str]
    alive: dict[str, Process] = field(default_factory=dict)

    def start(
        self, name: str, module: str, arguments: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> Process:
        """Start `python -m module arguments` as the child called `name`; its output goes to `logs/<name>.log`."""
        started = f"{time.time():.3f}"
        termination = self.folder.scratch / f"{name}.termination"
        scratch = self.folder.scratch / name
        scratch.mkdir(parents=True, exist_ok=True)
        termination.write_bytes(b"")
        environ = {
            **os.environ,
            **self.shared,
            **(extra or {}),
            env.OWNER_NAME: name,
            env.OWNER_IDENTITY: started,
            env.TERMINATION_LOG: str(termination),
            env.SCRATCH: str(scratch),
        }
        program = [sys.executable, "-m", module, *arguments]
        log = self.folder.logs / f"{name}.log"
        with log.open("ab") as output:
            # A session of its own: Ctrl-C at the terminal reaches the supervisor alone, which then asks politely.
            popen = subprocess.Popen(
                [sys.executable, "-m", "autoglm_cli.child", str(os.getpid()), *program],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, popen, f"{popen.pid}@{started}", log, termination)
        self.alive[name] = process
        return process

    def reap(self) -> list[Ended]:
        """The children that have ended since the last call."""
        ended = []
        for process in list(self.alive.values()):
            code = process.popen.poll()
            if code is not None:
                del self.alive[process.name]
                ended.append(Ended(process, code, _read_termination(process.termination)))
        return ended

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every child."""
        for process in self.alive.values():
            process.popen.send_signal(number)

    def identities(self) -> set[str]:
        """The owners that may still be training."""
        return {process.identity for process in self.alive.values()}

    def kill(self) -> None:
        """End every child now and wait for it."""
        self.signal(signal.SIGKILL)
        for process in self.alive.values():
            process.popen.wait()


def _read_termination(path: Path) -> Termination | None:
    content = path.read_bytes()
    if not content:
        return None
    try:
        return Termination.model_validate_json(content)
    except ValidationError:
        return None


def log_tail(log: Path) -> str:
    """The last lines of a child's log, indented, for error messages."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if log.is_file() else []
    return "\n".join(f"    {line}" for line in lines)

"""Log lines to stderr, plain or as JSON with study, namespace and trial, and the last of them kept for the trial."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from contextvars import ContextVar
from datetime import UTC, datetime

from typing_extensions import override

from autoglm_api.environment import LOG_FORMAT
from autoglm_api.exits import LOG_TAIL_BYTES

current_trial: ContextVar[int | None] = ContextVar("current_trial", default=None)

_NOISY = (
    "alembic",
    "botocore",
    "fsspec",
    "httpx",
    "onnx_ir",
    "onnxscript",
    "optuna.storages",
    "optuna.study",
    "s3fs",
    "urllib3",
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, study: str) -> None:
        super().__init__()
        namespace, name, _uid = study.split("/", 2) if study.count("/") == 2 else ("", study, "")
        self._names = {"namespace": namespace, "study": name}

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._names,
        }
        if (trial := current_trial.get()) is not None:
            line["trial"] = trial
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TailHandler(logging.Handler):
    """Keeps the last lines, as people read them; they go into a trial that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: deque[str] = deque()
        self._size = 0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self._lines.append(line)
        self._size += len(line)
        while self._size - len(self._lines[0]) > LOG_TAIL_BYTES:
            self._size -= len(self._lines.popleft())

    def text(self) -> str:
        """What has been kept; at most a line more than four kilobytes."""
        return "\n".join(self._lines)

    def clear(self) -> None:
        """Begin anew, with a new trial."""
        self._lines.clear()
        self._size = 0


def configure(study: str) -> None:
    """Send all log records to stderr in the format that the environment asks for."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get(LOG_FORMAT) == "json":
        handler.setFormatter(JsonFormatter(study))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns at its import of a faster kernel for CPUs, which nobody here computes with.
    logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.ERROR)

"""The last word of a process: cause and message for whoever looks after it."""

from __future__ import annotations

import logging
from pathlib import Path

from autoglm_api.exits import MESSAGE_BYTES, Cause, Termination

logger = logging.getLogger(__name__)


def write_termination(path: Path, cause: Cause, message: str, trial: int | None = None) -> None:
    """Write the termination message; a place that cannot be written is logged, the exit code still tells the rest."""
    short = message.encode()[:MESSAGE_BYTES].decode(errors="ignore")
    try:
        path.write_text(Termination(cause=cause, message=short, trial=trial).model_dump_json(by_alias=True))
    except OSError as error:
        logger.warning("the termination message cannot be written: %s", error)

"""`autoglm-serving serve|copy|delete`: told by the environment alone, ends with a code of `autoglm_api.exits`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoglm_api import environment as env
from autoglm_api.exits import MESSAGE_BYTES, ExitCode, Termination
from autoglm_api.locations import read_credentials

from .errors import BadInstructionError, ServingError
from .folders import Folder, check_removable, open_folder
from .logs import configure_logging
from .moves import copy_model

HOST = "AUTOGLM_HOST"
PORT = "AUTOGLM_PORT"
DRAIN_SECONDS = "AUTOGLM_DRAIN_SECONDS"
FINISH_SECONDS = "AUTOGLM_FINISH_SECONDS"

_log = logging.getLogger(__name__)


def serve(environ: Mapping[str, str]) -> None:
    """Serve AUTOGLM_MODEL_URI, which must be the model AUTOGLM_MODEL_DIGEST names."""
    # Copying and deleting need no model runtime: those jobs start in a quarter of the time without it.
    from .server import Drain, run_server

    run_server(
        _required(environ, env.MODEL_URI),
        _required(environ, env.MODEL_DIGEST),
        environ.get(HOST, "0.0.0.0"),  # noqa: S104  a pod's server is reached from outside the pod
        _number(environ, PORT, 8080),
        name=environ.get(env.MODEL_NAME) or None,
        threads=max(1, _number(environ, env.CPU_LIMIT, 1)),
        scratch=Path(environ[env.SCRATCH]) if environ.get(env.SCRATCH) else None,
        claims_root=_claims_root(environ),
        credentials=_credentials(environ, "artifacts"),
        drain=Drain(_number(environ, DRAIN_SECONDS, 3), _number(environ, FINISH_SECONDS, 30)),
    )


def copy(environ: Mapping[str, str]) -> None:
    """Copy the model AUTOGLM_MODEL_DIGEST from AUTOGLM_SOURCE_URI to AUTOGLM_TARGET_URI."""
    # Others of the volume's group must be able to remove what this process writes to a claim.
    os.umask(0o002)
    source = _folder(environ, env.SOURCE_URI, "source")
    target = _folder(environ, env.TARGET_URI, "artifacts")
    copy_model(source, target, _required(environ, env.MODEL_DIGEST))


def delete(environ: Mapping[str, str]) -> None:
    """Remove everything below AUTOGLM_TARGET_URI; nothing there is a success too."""
    check_removable(_required(environ, env.TARGET_URI))
    target = _folder(environ, env.TARGET_URI, "artifacts")
    _log.info("removed" if target.remove() else "nothing to remove", extra={"target": target.uri})


COMMANDS: Mapping[str, Callable[[Mapping[str, str]], None]] = {"serve": serve, "copy": copy, "delete": delete}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="autoglm-serving", description="Serve, copy or delete one model.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    command = parser.parse_args(arguments).command
    configure_logging("text" if os.environ.get(env.LOG_FORMAT) == "text" else "json")
    try:
        COMMANDS[command](os.environ)
    except ServingError as error:
        _log.error("%s", error, extra={"command": command, "exit_code": int(error.exit_code)})
        _write_termination(Path(os.environ.get(env.TERMINATION_LOG, env.DEFAULT_TERMINATION_LOG)), error)
        return error.exit_code
    return ExitCode.NOTHING_LEFT


def _required(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise BadInstructionError(f"the environment variable {name} is not set")
    return environ[name]


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdigit():
        raise BadInstructionError(f"{name} must be a whole number, got {text!r}")
    return int(text)


def _claims_root(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(env.CLAIMS_ROOT, env.DEFAULT_CLAIMS_ROOT))


def _credentials(environ: Mapping[str, str], place: str) -> dict[str, str]:
    return read_credentials(Path(environ.get(env.SECRETS_ROOT, env.DEFAULT_SECRETS_ROOT)) / place)


def _folder(environ: Mapping[str, str], name: str, place: str) -> Folder:
    uri = _required(environ, name)
    return open_folder(uri, claims_root=_claims_root(environ), credentials=_credentials(environ, place))


def _write_termination(path: Path, error: ServingError) -> None:
    """Tell the operator why, where there is a pod to tell it by."""
    if path.is_file():
        message = str(error).encode()[:MESSAGE_BYTES].decode(errors="ignore")
        path.write_text(Termination(cause=error.cause, message=message).model_dump_json())


if __name__ == "__main__":
    sys.exit(main())

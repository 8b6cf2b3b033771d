"""`autoglm`, also `kubectl autoglm`: one file a command; this one only gathers them and prints what went wrong."""

from __future__ import annotations

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from .errors import CliError
from .inspect import inspect
from .plan import plan
from .report import report
from .reproduce import reproduce
from .run import run
from .serve import serve
from .status import status
from .tasks import tasks
from .validate import validate

# What is wrong with the machine and not with the program: a full disk, a file that is somebody else's.
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

app = typer.Typer(
    name="autoglm",
    help="Finds the best model for a task and serves it: language models, tables, graphs, pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (validate, inspect, plan, run, status, report, reproduce, serve, tasks):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoglm {version('open-autoglm')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run one command; a `CliError` becomes its sentence and exit code, what the machine refuses one too."""
    try:
        app()
    except CliError as error:
        typer.echo(f"autoglm: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        typer.echo(f"autoglm: {place}{error.strerror}", err=True)
        sys.exit(CliError.exit_code)


if __name__ == "__main__":
    main()

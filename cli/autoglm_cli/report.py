"""`autoglm report`: where the report of a run is, or what would be in it so far."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import CliError
from .extras import require
from .folder import DEFAULT_ROOT, find_run


def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder.")],
    root: Annotated[Path, typer.Option("--dir", help="Where runs are kept.")] = DEFAULT_ROOT,
    browse: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Show a run's trials, best first, and the place of its report."""
    run = find_run(name, root)
    require("trainer")
    from autoglm_store.limits import read_limits, read_run

    from .local import open_study
    from .results import print_results

    study = open_study(run)
    trials = study.get_trials(deepcopy=False)
    console = Console(highlight=False)
    print_results(console, trials, read_run(study), read_limits(study))
    if not run.report.is_file():
        raise CliError(f"{run.path} has no report yet; `autoglm run` writes it when the search is over")
    console.print(f"\nreport  {run.report}", soft_wrap=True)
    if browse and not webbrowser.open(run.report.as_uri()):
        raise CliError(f"no browser could be opened; open {run.report} yourself")

"""`autoglm serve`: put a model that `autoglm run` has exported behind HTTP, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoglm_api.manifest import MANIFEST

from .errors import CliError, UsageError
from .extras import require
from .folder import DEFAULT_ROOT, RunFolder, find_run
from .server import open_port


def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run's name or folder, a model's folder, or its URI (s3://…).")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 = any free one.")] = 8080,
    root: Annotated[Path, typer.Option("--dir", help="Where runs are kept.")] = DEFAULT_ROOT,
) -> None:
    """Serve an exported model until Ctrl-C: POST /v1/predict, /healthz, /readyz, /metrics."""
    require("serving")
    uri, digest, name = find_model(model, root)
    from autoglm_serving.errors import ServingError
    from autoglm_serving.logs import configure_logging
    from autoglm_serving.server import run_server

    configure_logging("text")
    port = open_port(host, port)
    typer.echo(f"loading {uri}, to serve it on http://{host}:{port}; Ctrl-C ends")
    try:
        run_server(uri, digest, host, port, name=name)
    except ServingError as error:
        raise CliError(str(error)) from error


def find_model(model: str, root: Path) -> tuple[str, str | None, str | None]:
    """(URI, digest, name) of what a person means by `model`.

    Raises:
        UsageError: nothing is called so, or it holds no model.
    """
    if "://" in model:
        return model, None, None
    folder = Path(model)
    if (folder / MANIFEST).is_file():
        return folder.resolve().as_uri(), None, None
    if folder.is_dir() and not (folder / "run.json").is_file():
        raise UsageError(f"{folder} holds no {MANIFEST}: it is not an exported model")
    return _model_of(find_run(model, root))


def _model_of(run: RunFolder) -> tuple[str, str, str]:
    require("trainer")
    from autoglm_store.limits import read_export

    from .local import open_study

    exported = read_export(open_study(run))
    if exported is None:
        raise UsageError(f"{run.path} has no exported model yet; `autoglm run` makes one when the search is over")
    return exported.uri, exported.digest, run.read_record().name

"""Where `file://` leads on this machine: absolute with three slashes, else relative to the YAML file's folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from autoglm_api.study import StudySpec

FILE = "file://"


def resolve(uri: str, folder: Path) -> Path:
    """The path of a `file://` URI: `file:///data/x` is `/data/x`, `file://data/x` is `<folder>/data/x`."""
    return (folder / unquote(uri.removeprefix(FILE))).resolve()


def make_absolute(spec: StudySpec, folder: Path) -> StudySpec:
    """The same study with every relative `file://` place written out, so that workers need no folder."""
    data = spec.data
    validation = data.validation
    if validation.source:
        validation = validation.model_copy(update={"source": _absolute(validation.source, folder)})
    test = data.test and data.test.model_copy(update={"source": _absolute(data.test.source, folder)})
    edges = data.edges and data.edges.model_copy(update={"source": _absolute(data.edges.source, folder)})
    train = data.train.model_copy(update={"source": _absolute(data.train.source, folder)})
    model = spec.model
    if model and model.source:
        model = model.model_copy(update={"source": _absolute(model.source, folder)})
    artifacts = spec.artifacts and spec.artifacts.model_copy(update={"uri": _absolute(spec.artifacts.uri, folder)})
    return spec.model_copy(
        update={
            "model": model,
            "data": data.model_copy(update={"train": train, "validation": validation, "test": test, "edges": edges}),
            "artifacts": artifacts,
        }
    )


def _absolute(uri: str, folder: Path) -> str:
    return resolve(uri, folder).as_uri() if uri.startswith(FILE) else uri

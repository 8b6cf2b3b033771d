"""Where `file://` leads on this machine: absolute with three slashes, else relative to the YAML file's folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

from autoglm_api.shards import matching, numbered_parts, parted, pattern_of
from autoglm_api.study import StudySpec

FILE = "file://"


def resolve(uri: str, folder: Path) -> Path:
    """The path of a `file://` URI: `file:///data/x` is `/data/x`, `file://data/x` is `<folder>/data/x`."""
    return (folder / unquote(uri.removeprefix(FILE))).resolve()


def files_here(uri: str, folder: Path) -> list[Path]:
    """What is here of a `file://` URI: its file, its files in order where it names several, or its folder."""
    if pattern := pattern_of(uri):
        place = resolve(parted(uri)[0], folder)
        return [place / name for name in matching(_names(place), pattern)]
    path = resolve(uri, folder)
    if parts := numbered_parts(_names(path)):
        return [path / name for name in parts]
    return [path] if path.exists() else []


def _names(folder: Path) -> list[str]:
    """Of the files in a folder; none where it is none."""
    return [each.name for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []


def local_uri(path: Path) -> str:
    """The URI of a path on this machine, whose last part may be a pattern."""
    if path.exists() or "*" not in path.name:
        return path.resolve().as_uri()
    return f"{path.parent.resolve().as_uri().rstrip('/')}/{quote(path.name, safe='*')}"


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
    if not uri.startswith(FILE):
        return uri
    if pattern_of(uri):
        start, name = parted(uri)
        return f"{resolve(start, folder).as_uri().rstrip('/')}/{name}"
    return resolve(uri, folder).as_uri()

"""From a URI of ours to what fsspec needs: protocol, path, options. Pure; no file system is opened here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .shards import check_pattern
from .stores import STORES

# Two kinds of the hub's own branches have slashes in their names.
_HUB_FILE = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>refs/(convert/[\w.-]+|pr/\d+)|[^/]+))?/(?P<path>.+)"
)
_HUB_MODEL = re.compile(r"hf://(?!datasets/)[^/@]+(/[^/@]+)?/?")
_HUB_PARQUET = {"~parquet": "refs/convert/parquet"}
CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


@dataclass(frozen=True)
class Location:
    """Where something is: `fsspec.filesystem(protocol, **options)` and the path in it."""

    protocol: str
    path: str
    options: Mapping[str, object] = field(default_factory=dict)

    def __truediv__(self, name: str) -> Location:
        """The location of `name` below this one."""
        return Location(self.protocol, f"{self.path.rstrip('/')}/{name}", self.options)


def locate(uri: str, *, claims_root: Path, credentials: Mapping[str, str]) -> Location:
    """Translate `file://`, `pvc://`, and the schemes of `STORES`.

    Args:
        uri: the place.
        claims_root: folder below which claims are mounted.
        credentials: the keys of the Secret that belongs to this place; empty = the process's own environment.

    Raises:
        ValueError: the scheme has no file system, or a path climbs out of its claim.
    """
    parts = urlsplit(uri)
    match parts.scheme:
        case "file":
            return Location("file", unquote(parts.netloc + parts.path))
        case "pvc":
            if not re.fullmatch(CLAIM, parts.netloc):
                raise ValueError(f"{uri} does not name a claim; write pvc://<claim>/<path>")
            root = (claims_root / parts.netloc).resolve()
            path = (root / unquote(parts.path).lstrip("/")).resolve()
            if not path.is_relative_to(root):
                raise ValueError(f"{uri} leaves the claim {parts.netloc}")
            return Location("file", str(path))
        case scheme if scheme in STORES:
            store = STORES[scheme]
            # A key may hold `#` and `?`.
            return Location(store.protocol, uri.partition("://")[2], store.options(credentials))
        case scheme:
            known = ", ".join(("file", "pvc", *STORES))
            raise ValueError(f"{uri}: {scheme}:// is not a place for files; known: {known}")


def check_rows_uri(uri: str) -> str:
    """The same URI, if it may name rows.

    Raises:
        ValueError: it names a model only: a package, or a repository of the hub that is no data set; or a `*` stands
            elsewhere than in the name of files.
    """
    if uri.startswith("package://"):
        raise ValueError(f"{uri}: packages carry models, no rows")
    if uri.startswith("hf://"):
        _locate_on_hub(uri, {})
    return check_pattern(uri)


def check_model_uri(uri: str) -> str:
    """The same URI, if it may name a model.

    Raises:
        ValueError: it names something else of the hub than a repository of a model.
    """
    if uri.startswith("hf://") and not _HUB_MODEL.fullmatch(uri):
        raise ValueError(f"{uri} names no model; write hf://<owner>/<name>, and its branch, tag or commit in revision")
    return uri


def locate_rows(uri: str, *, claims_root: Path, credentials: Mapping[str, str]) -> Location:
    """As `locate`, for rows, which may also be a file of a data set on the Hugging Face hub.

    Raises:
        ValueError: as `locate`.
    """
    check_rows_uri(uri)
    if uri.startswith("hf://"):
        return _locate_on_hub(uri, credentials)
    return locate(uri, claims_root=claims_root, credentials=credentials)


def _locate_on_hub(uri: str, credentials: Mapping[str, str]) -> Location:
    """A file of a data set: its path in the repository, with `repository`, `revision` and `token` as options.

    As Hugging Face's own clients write it, a slash in a revision is `%2F`, which those of `refs/convert/` and
    `refs/pr/` do not need; `~parquet` is the branch of Parquet files that the hub itself makes of a data set.
    """
    parts = _HUB_FILE.fullmatch(uri)
    path = unquote(parts["path"]) if parts else ""
    if parts is None or ".." in path.split("/"):
        form = "hf://datasets/<owner>/<name>@"
        raise ValueError(
            f"{uri} names no file of a data set; write {form}<revision>/<path>, or"
            f" {form}~parquet/<subset>/<split>/*.parquet for the Parquet files that the hub itself makes"
        )
    revision = unquote(parts["revision"] or "")
    options = {
        "repository": parts["repository"],
        "revision": _HUB_PARQUET.get(revision, revision) or None,
        "token": credentials.get("HF_TOKEN") or None,
    }
    return Location("hf", path, options)


def read_credentials(folder: Path) -> dict[str, str]:
    """The files of a mounted Secret, name → text; empty when nothing is mounted."""
    if not folder.is_dir():
        return {}
    return {file.name: file.read_text().strip() for file in sorted(folder.iterdir()) if file.is_file()}

"""Reading from where the study says: one place that opens file systems and turns their errors into sentences."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from autoglm_api.locations import Location
from autoglm_api.shards import matching
from autoglm_api.stores import find_store, is_store_error

from .errors import SourceUnreachable, TrainerError
from .hub import data_file, matching_data_files

# What S3 answers to wrong keys; s3fs passes these on without turning them into PermissionError.
_DENIED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken", "403")

_PIECE_BYTES = 2**23


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine; a copy of one elsewhere lives as long as this object."""

    path: Path


def local_file(uri: str, location: Location, refusal: type[TrainerError]) -> LocalFile:
    """The file at `location`, to be read any number of times; copied to a temporary file where it is elsewhere.

    Args:
        uri: the place as the study names it, for messages.
        location: where that is.
        refusal: raised when the place answers but the file cannot be had.

    Raises:
        TrainerError: `refusal`, with a sentence that says what to do; or SourceUnreachable.
    """
    try:
        if location.protocol == "file":
            with Path(location.path).open("rb"):
                return LocalFile(Path(location.path))
        if location.protocol == "hf":
            return LocalFile(data_file(uri, location, refusal))
        # Not held open: a source may have more files than a process may have open ones.
        descriptor, name = tempfile.mkstemp(prefix="autoglm-")
        copy = LocalFile(Path(name))
        weakref.finalize(copy, os.unlink, name)
        with os.fdopen(descriptor, "wb") as target, file_system(location).open(location.path, "rb") as remote:
            shutil.copyfileobj(remote, target, _PIECE_BYTES)
    except TrainerError:
        raise
    except Exception as error:
        raise explain(uri, location, error, refusal) from error
    return copy


def matching_files(uri: str, location: Location, pattern: str, refusal: type[TrainerError]) -> dict[str, Location]:
    """The files of one folder whose names match, by name, in order; files of a hub are then on this machine.

    Args:
        uri: the place as the study names it, for messages.
        location: where that is; the last part of its path is not looked at.
        pattern: as `fnmatch` writes it.
        refusal: raised when the place answers but there is no such file.

    Raises:
        TrainerError: as `local_file`.
    """
    if location.protocol == "hf":
        found = matching_data_files(uri, location, pattern, refusal)
    else:
        folder = Location(location.protocol, location.path.rpartition("/")[0], location.options)
        found = {name: folder / name for name in matching(_names(uri, folder, refusal), pattern)}
    if not found:
        raise refusal(f"{uri}: no file there has such a name; check the pattern behind the last /")
    return found


def _names(uri: str, folder: Location, refusal: type[TrainerError]) -> list[str]:
    """Of the files in a folder, not of those below its folders."""
    try:
        if folder.protocol == "file":
            return [each.name for each in Path(folder.path or "/").iterdir() if each.is_file()]
        listed = file_system(folder).ls(folder.path, detail=True)
    except FileNotFoundError as error:
        raise refusal(f"{uri}: there is no such folder; {_where(folder)}") from error
    except Exception as error:
        raise explain(uri, folder, error, refusal) from error
    return [name for each in listed if each["type"] == "file" and (name := each["name"].rsplit("/", 1)[-1])]


def is_folder(uri: str, location: Location, refusal: type[TrainerError]) -> bool:
    """Whether there are files below `location`, and none is there itself.

    Raises:
        TrainerError: as `local_file`.
    """
    if location.protocol == "hf":
        return False  # a hub's data are named file by file
    try:
        return bool(file_system(location).isdir(location.path))
    except Exception as error:
        raise explain(uri, location, error, refusal) from error


def list_files(uri: str, location: Location, refusal: type[TrainerError]) -> dict[str, int]:
    """Files below `location`: path relative to it → size in bytes.

    Raises:
        TrainerError: as `local_file`; also when there is no such folder.
    """
    try:
        found: dict[str, dict[str, Any]] = file_system(location).find(location.path, detail=True)
    except Exception as error:
        raise explain(uri, location, error, refusal) from error
    root = location.path.strip("/")
    files = {
        path.strip("/").removeprefix(root).lstrip("/"): int(info["size"])
        for path, info in found.items()
        if not path.endswith("/")  # how consoles mark a folder in a store that has none
    }
    files.pop("", None)
    if not files:
        raise refusal(f"{uri}: there is no such folder, or it is empty; check the path")
    return files


def download_file(uri: str, location: Location, target: Path, refusal: type[TrainerError]) -> None:
    """Copy one file; `target` is whole or absent.

    Raises:
        TrainerError: as `local_file`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several workers may share a scratch folder; each writes its own part.
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        file_system(location).get_file(location.path, str(partial))
    except Exception as error:
        raise explain(uri, location, error, refusal) from error
    partial.rename(target)


def file_system(location: Location) -> fsspec.AbstractFileSystem:
    """The file system that `location` lies in."""
    return fsspec.filesystem(location.protocol, **location.options)


def explain(uri: str, location: Location, error: Exception, refusal: type[TrainerError]) -> TrainerError:
    """What `error` means for the person who wrote `uri`; anything not understood is raised again."""
    text = " ".join(str(error).split())[:300]
    denied = isinstance(error, PermissionError) or any(code in text for code in _DENIED)
    if isinstance(error, FileNotFoundError) or "NoSuchBucket" in text or "NoSuchKey" in text:
        return refusal(f"{uri}: there is no such file; {_where(location)}")
    if isinstance(error, IsADirectoryError):
        return refusal(f"{uri} is a folder, not a file; name a file in it")
    if denied:
        remedy = (
            "check the keys in the Secret that secretRef names and what they may read"
            if find_store(location.protocol)
            else "make it readable for the trainer's user"
        )
        return refusal(f"{uri}: access denied ({text}); {remedy}")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        store = find_store(location.protocol)
        keys = " and ".join(store.keys) if store else ""
        return refusal(f"{uri}: no credentials; give a secretRef with {keys}, or set them in the environment")
    if is_store_error(error):
        return SourceUnreachable(f"{uri}: cannot be read now ({text}); check the endpoint and the network")
    raise error


def _where(location: Location) -> str:
    if location.protocol == "s3":
        return "check bucket, key and AWS_ENDPOINT_URL"
    if location.protocol == "gcs":
        return "check bucket and path"
    return "check the path; on a cluster, pvc://<claim>/<path> names a mounted claim"

"""Folders in any store that fsspec knows: read, write whole files, remove. The stores' errors become ours here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from autoglm_api.locations import Location, locate
from autoglm_api.stores import STORES, is_store_error

from .errors import BadInstructionError, StorageUnreachableError

CHUNK_BYTES = 8 * 1024 * 1024
# s3fs repeats failed calls five times itself; botocore's own minute for a connection would make a typo a long hang.
_S3_CLIENT = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 1, "mode": "standard"}}
# Segments that a prefix must have below its bucket, claim or root before it may be removed.
_REMOVABLE_DEPTH = {**dict.fromkeys(STORES, 2), "pvc": 2, "file": 3}


@dataclass(frozen=True)
class Folder:
    """A folder by its URI; names in it are relative, with `/` between parts."""

    uri: str
    location: Location
    filesystem: Any

    @property
    def local(self) -> Path | None:
        """The folder on this machine, or None for a remote one."""
        return Path(self.location.path) if self.location.protocol == "file" else None

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, `CHUNK_BYTES` at a time.

        Raises:
            FileNotFoundError: there is no such file.
            StorageUnreachableError: the store refused or did not answer.
        """
        opened = self.filesystem.open
        with self._translated(f"read {name} in"), opened(self._path(name), "rb", block_size=CHUNK_BYTES) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def read(self, name: str) -> bytes:
        """A whole, small file. Raises as `chunks`."""
        return b"".join(self.chunks(name))

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file so that nobody ever sees half of it; an error while reading `chunks` leaves no file.

        Raises:
            StorageUnreachableError: the store refused or did not answer.
        """
        local = self.local
        if local is not None:
            _write_atomically(local / name, chunks, self.uri)
            return
        with self._translated(f"write {name} to"):
            try:
                # Without a transaction, leaving `open` by an error would still complete the upload.
                with self.filesystem.transaction, self.filesystem.open(self._path(name), "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
            except FileNotFoundError as error:
                raise StorageUnreachableError(f"cannot write {name} to {self.uri}: no such bucket") from error

    def remove(self) -> bool:
        """Remove everything in the folder; False if there was nothing.

        Raises:
            StorageUnreachableError: the store refused or did not answer.
        """
        with self._translated("remove"):
            try:
                self.filesystem.rm(self.location.path.rstrip("/"), recursive=True)
            except FileNotFoundError:
                return False
        return True

    def _path(self, name: str) -> str:
        return (self.location / name).path

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise StorageUnreachableError(
                f"cannot {doing} {self.uri}: access denied; check the Secret's keys"
            ) from error
        except Exception as error:
            if not is_store_error(error):
                raise
            raise StorageUnreachableError(f"cannot {doing} {self.uri}: {error}") from error


def open_folder(uri: str, *, claims_root: Path, credentials: Mapping[str, str]) -> Folder:
    """The folder at `uri`; nothing is read yet.

    Raises:
        BadInstructionError: the URI names no place for files.
    """
    try:
        location = locate(uri.rstrip("/"), claims_root=claims_root, credentials=credentials)
    except ValueError as error:
        raise BadInstructionError(str(error)) from error
    options: dict[str, object] = {"skip_instance_cache": True, **location.options}
    if location.protocol == "s3":
        options |= {"use_listings_cache": False, "config_kwargs": _S3_CLIENT}
    return Folder(uri.rstrip("/"), location, fsspec.filesystem(location.protocol, **options))


def check_removable(uri: str) -> None:
    """Refuse to remove what could be more than one model or one study.

    Raises:
        BadInstructionError: the prefix is a bucket, a claim, or too near to its root.
    """
    parts = urlsplit(uri)
    depth = _REMOVABLE_DEPTH.get(parts.scheme)
    if depth is None:
        raise BadInstructionError(
            f"{uri}: {parts.scheme}:// is not a place for files; known: {', '.join(_REMOVABLE_DEPTH)}"
        )
    path = unquote(parts.netloc + parts.path if parts.scheme == "file" else parts.path)
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    if ".." in segments or len(segments) < depth:
        raise BadInstructionError(
            f"{uri} will not be removed: a prefix needs at least {depth} folders below its root and no '..', "
            f"got {len(segments)}; give the prefix of one study or one endpoint"
        )


def _write_atomically(path: Path, chunks: Iterable[bytes], uri: str) -> None:
    """Write beside `path`, then rename: readers see the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageUnreachableError(f"cannot write {path.name} to {uri}: {error}") from error
    finally:
        part.unlink(missing_ok=True)

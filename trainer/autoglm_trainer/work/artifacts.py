"""The run's folder in the artifact store: weights, checkpoints, export. Any fsspec file system."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from autoglm_api.locations import Location
from autoglm_api.manifest import MANIFEST
from autoglm_api.stores import find_store, is_store_error
from autoglm_trainer.errors import DiskFull, SourceUnreachable, SpecError, TrainerError
from autoglm_trainer.sources import file_system

from .disk import disk_full

logger = logging.getLogger(__name__)

TRIES = 3
FIRST_DELAY_SECONDS = 1.0
_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "Forbidden")


class Artifacts:
    """Everything below one prefix.

    Args:
        uri: the prefix as the user knows it, for messages.
        root: where it is.
    """

    def __init__(self, uri: str, root: Location) -> None:
        self.uri = uri
        self.root = root

    def upload(self, folder: Path, path: str) -> None:
        """Copy the files of `folder` to `path` below the prefix; a manifest goes last, so half an upload is no model.

        Raises:
            SpecError: the store refuses; it would refuse every trial.
            DiskFull: there is no room.
            SourceUnreachable: the store does not answer now, after three tries.
        """
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        for file in sorted(files, key=lambda file: file.name == MANIFEST):
            self._try(self._put, file, f"{path}/{file.relative_to(folder).as_posix()}")

    def download(self, path: str, folder: Path) -> None:
        """Copy everything at `path` to `folder`, which is created.

        Raises:
            SpecError, DiskFull, SourceUnreachable: as `upload`; SpecError too when there is nothing at `path`.
        """
        self._try(self._get, path, folder)

    def delete(self, path: str) -> None:
        """Delete everything at `path`; nothing there is no error.

        Raises:
            SpecError, SourceUnreachable: as `upload`.
        """
        self._try(self._remove, path)

    def list(self, path: str) -> list[str]:
        """What lies directly in the folder `path`, below the prefix; empty where there is no such folder.

        Raises:
            SpecError, SourceUnreachable: as `upload`.
        """
        found: list[str] = self._try(self._names, path)
        return [f"{path}/{name}" for name in sorted(found)]

    def _names(self, path: str) -> Any:
        target = (self.root / path).path
        store = file_system(self.root)
        store.invalidate_cache()
        if not store.exists(target):
            return []
        return [found.rstrip("/").rpartition("/")[2] for found in store.ls(target, detail=False)]

    def _put(self, file: Path, path: str) -> None:
        target = (self.root / path).path
        store = file_system(self.root)
        if self.root.protocol == "file":
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        store.put_file(str(file), target)

    def _get(self, path: str, folder: Path) -> None:
        source = (self.root / path).path.rstrip("/")
        store = file_system(self.root)
        found: list[str] = store.find(source)
        if not found:
            raise FileNotFoundError(f"nothing at {path}")
        for file in found:
            target = folder / file.strip("/").removeprefix(source.strip("/")).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(file, str(target))

    def _remove(self, path: str) -> None:
        target = (self.root / path).path
        if self.root.protocol == "file":
            shutil.rmtree(target, ignore_errors=not Path(target).exists())
            return
        store = file_system(self.root)
        store.invalidate_cache()
        if store.exists(target):
            store.rm(target, recursive=True)

    def _try(self, call: Any, *args: Any) -> Any:
        delay = FIRST_DELAY_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                return call(*args)
            except Exception as error:
                explained = self._explain(error)
                if isinstance(explained, SpecError | DiskFull) or attempt == TRIES:
                    raise explained from error
                logger.warning("%s, trying again", explained)
                time.sleep(delay)
                delay *= 2
        raise AssertionError("the last try returns or raises")

    def _explain(self, error: Exception) -> TrainerError:
        """What the store's error means for the user; one that is not the store's is raised again."""
        if full := disk_full(error):
            return full
        text = " ".join(str(error).split())[:300]
        denied = isinstance(error, PermissionError) or any(code in text for code in _DENIED)
        if denied or (isinstance(error, OSError) and error.errno == errno.EROFS):
            return SpecError(
                f"artifacts.uri {self.uri} cannot be used: access denied ({text}); let the trainer's user, or the keys"
                " in artifacts.secretRef, read, write and delete there"
            )
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            store = find_store(self.root.protocol)
            keys = " and ".join(store.keys) if store else ""
            return SpecError(f"artifacts.uri {self.uri}: no credentials; give artifacts.secretRef with {keys}")
        if isinstance(error, FileNotFoundError | FileExistsError | NotADirectoryError) or "NoSuchBucket" in text:
            return SpecError(f"artifacts.uri {self.uri} is no folder or bucket ({text}); check the path")
        if is_store_error(error):
            return SourceUnreachable(f"artifacts.uri {self.uri} does not answer now: {text}")
        raise error

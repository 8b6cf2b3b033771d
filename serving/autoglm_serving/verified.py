"""From a folder to a model that may be loaded: its manifest first, then the size and sha256 of every file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from autoglm_api.manifest import FORMAT, MANIFEST, Manifest, ModelFile, digest

from .errors import DigestMismatchError, IncompleteModelError
from .folders import Folder, open_folder


@dataclass(frozen=True)
class Described:
    """A manifest with the bytes it was read from and their digest; its files are not yet checked."""

    manifest: Manifest
    raw: bytes
    digest: str


def describe(folder: Folder, wanted: str | None) -> Described:
    """Read the manifest.

    Args:
        folder: where the model is.
        wanted: the manifest's digest (`sha256:…`), or None to take whatever is there.

    Raises:
        IncompleteModelError: there is no manifest, or it is not one of this version.
        DigestMismatchError: it is another model's manifest.
        StorageUnreachableError: the store refused or did not answer.
    """
    try:
        raw = folder.read(MANIFEST)
    except FileNotFoundError as error:
        raise IncompleteModelError(
            f"{folder.uri} has no {MANIFEST}: nothing was exported there, or an upload did not finish"
        ) from error
    found = digest(raw)
    if wanted is not None and found != wanted:
        raise DigestMismatchError(f"{folder.uri}/{MANIFEST} has digest {found}, expected {wanted}")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise IncompleteModelError(f"{folder.uri}/{MANIFEST} is not a manifest: {field}: {first['msg']}") from error
    if manifest.format != FORMAT:
        raise IncompleteModelError(f"{folder.uri}/{MANIFEST} has format {manifest.format}, this version reads {FORMAT}")
    return Described(manifest, raw, found)


def checked_chunks(folder: Folder, file: ModelFile) -> Iterator[bytes]:
    """The file's bytes, passed on as they come; raises at the end if they were not the promised ones.

    Raises:
        IncompleteModelError: the file is missing.
        DigestMismatchError: size or sha256 differ from the manifest.
        StorageUnreachableError: the store refused or did not answer.
    """
    sha256, size = hashlib.sha256(), 0
    try:
        for chunk in folder.chunks(file.path):
            sha256.update(chunk)
            size += len(chunk)
            yield chunk
    except FileNotFoundError as error:
        raise IncompleteModelError(
            f"{folder.uri} lacks {file.path}, which its manifest names: half an upload"
        ) from error
    if size != file.size_bytes:
        raise DigestMismatchError(f"{folder.uri}/{file.path} has {size} bytes, its manifest says {file.size_bytes}")
    if sha256.hexdigest() != file.sha256:
        raise DigestMismatchError(
            f"{folder.uri}/{file.path} was changed: sha256 {sha256.hexdigest()}, not {file.sha256}"
        )


def check_files(folder: Folder, manifest: Manifest) -> None:
    """Read every file once and compare it with the manifest. Raises as `checked_chunks`."""
    for file in manifest.files:
        for _ in checked_chunks(folder, file):
            pass


def bring(folder: Folder, described: Described, scratch: Path) -> Path:
    """The checked model on this machine: in place if it is here already, else downloaded below `scratch`.

    Raises:
        IncompleteModelError: a file is missing, or (DigestMismatchError) is another.
        StorageUnreachableError: the store refused or did not answer, or scratch is full.
    """
    if folder.local is not None:
        check_files(folder, described.manifest)
        return folder.local
    target = scratch / described.digest.removeprefix("sha256:")
    local = open_folder(f"file://{target}", claims_root=scratch, credentials={})
    for file in described.manifest.files:
        local.write(file.path, checked_chunks(folder, file))
    return target

"""Folders of pictures by class, and zips of them, as rows: a picture's path, and as its label the folder it lies in.

In a zip a single outermost folder that has the zip's own name is no part of the paths.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from pydantic import JsonValue

from autoglm_api.catalog.image_classification import IMAGE_ENDINGS
from autoglm_api.locations import Location
from autoglm_trainer.errors import DataError
from autoglm_trainer.sources import LocalFile, local_file

COLUMNS = ("image", "label")
MAX_FILE_BYTES = 64 * 1024 * 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """The pictures of a folder or zip.

    Attributes:
        read: path below the source → how the file is read.
        others: how many files are no images, or hidden; they are passed over.
    """

    read: Mapping[str, Callable[[], bytes]]
    others: int


def read_picture(uri: str, location: Location) -> bytes:
    """A picture's file.

    Raises:
        DataError: it cannot be had, or is larger than 64 MiB.
    """
    file = local_file(uri, location, DataError)  # a copy lives as long as this
    content = file.path.read_bytes()
    check_size(uri, len(content))
    return content


def check_size(where: str, size: int) -> None:
    """Refuse a file that is larger than a picture may be.

    Raises:
        DataError: naming `where`, size and limit.
    """
    if size > MAX_FILE_BYTES:
        raise DataError(f"{where} has {size:,} bytes; an image may have {MAX_FILE_BYTES:,}")


def in_folder(source: str, location: Location, sizes: Mapping[str, int]) -> Files | None:
    """The pictures below a folder; None where there are none.

    Args:
        source: the folder's URI.
        location: where it is.
        sizes: of all files below it, in bytes, by path relative to it.

    Raises:
        DataError: a file is larger than a picture may be.
    """
    paths = _pictures(source, sizes)
    for path in paths:
        check_size(f"{source.rstrip('/')}/{path}", sizes[path])
    read = {path: partial(read_picture, f"{source.rstrip('/')}/{path}", location / path) for path in paths}
    return Files(read, len(sizes) - len(paths)) if read else None


def in_zip(source: str, file: LocalFile) -> Files | None:
    """The pictures in a zip; None where the file is no zip, or one of other things.

    Raises:
        DataError: the zip is broken.
    """
    if not zipfile.is_zipfile(file.path):
        return None
    try:
        archive = zipfile.ZipFile(file.path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{source}: the zip cannot be read ({error}); write or upload it again") from error
    members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
    wrapper = f"{PurePosixPath(source).stem}/"
    cut = wrapper if all(name.startswith(wrapper) for name in members) else ""
    paths = _pictures(source, members)
    for path in paths:
        if path.startswith("/"):
            raise DataError(f"{source}: {path} leads out of the zip; write the zip again, with paths below one folder")
        check_size(f"{source}: {path}", members[path].file_size)
    read = {path.removeprefix(cut): partial(_member, source, archive, members[path]) for path in paths}
    return Files(read, len(members) - len(paths)) if read else None


def _member(source: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        # RuntimeError is what a member with a password meets.
        raise DataError(f"{source}: {member.filename} cannot be read ({error}); write the zip again") from error


def _pictures(source: str, paths: Mapping[str, object]) -> list[str]:
    """Those that end as pictures do and are not hidden, in order."""
    found = [
        path
        for path in sorted(paths)
        if PurePosixPath(path).suffix.lower() in IMAGE_ENDINGS
        and not any(part.startswith((".", "__MACOSX")) for part in path.split("/"))
    ]
    if found and len(found) < len(paths):
        log.info("%s: %d files that are hidden or no images are passed over", source, len(paths) - len(found))
    return found


def picture_rows(source: str, files: Files) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """Each picture with its number, from 1.

    Raises:
        DataError: one lies in no folder.
    """
    for number, path in enumerate(files.read, start=1):
        label = PurePosixPath(path).parent.as_posix()
        if label == ".":
            raise DataError(f"{source}: {path} lies in no folder that would be its label; move it into one")
        yield number, dict(zip(COLUMNS, (path, label), strict=True))

"""The door for rows: what a source holds is told from its content, and read piece by piece, whatever its format."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from functools import partial

from autoglm_api.locations import Location
from autoglm_api.shards import beside, pattern_of
from autoglm_trainer.errors import DataError
from autoglm_trainer.sources import LocalFile, is_folder, list_files, local_file, matching_files

from . import conll, delimited, json_rows
from .detection import Detected, EmptyFile, detect
from .folders import COLUMNS, Files, in_folder, in_zip, picture_rows
from .opened import Opened
from .records import Locate, Numbered, Records
from .several import rows_of_folder, together

log = logging.getLogger(__name__)


def read_records(source: str, locate: Locate) -> Records:
    """Open a source and tell its format; the log says what it was taken for.

    Args:
        source: the URI of a file, of several by a pattern, or of a folder of pictures or parts of one table; an ending
            is a hint where the content fits several formats.
        locate: URI → location.

    Raises:
        DataError: it cannot be had, is empty, or of no known format or encoding; or files do not fit each other.
        SourceUnreachable: its place does not answer now.
    """
    location = _located(source, locate)
    if (pattern := pattern_of(source)) is not None:
        found = matching_files(source, location, pattern, DataError)
        files = {beside(source, name): place for name, place in found.items()}
        records = _several(source, files, locate)
    elif is_folder(source, location, DataError):
        sizes = list_files(source, location, DataError)
        if pictures := in_folder(source, location, sizes):
            records = _pictures(source, pictures)
        else:
            paths = rows_of_folder(source, sizes)
            files = {beside(f"{source.rstrip('/')}/", path): location / path for path in paths}
            records = _several(source, files, locate)
    else:
        records = _one(source, local_file(source, location, DataError))
    _tell(records)
    return records


def _located(uri: str, locate: Locate) -> Location:
    try:
        return locate(uri)
    except ValueError as error:
        raise DataError(f"data: {error}") from error


def _several(source: str, files: Mapping[str, Location], locate: Locate) -> Records:
    """The files of one source; `files`: URI → location."""
    parts = []
    for uri, place in files.items():
        # A hub's file is of the commit that was listed. Elsewhere a link may lead out of a claim, which `locate` sees.
        known = place if place.protocol == "hf" else _located(uri, locate)
        try:
            parts.append(_one(uri, local_file(uri, known, DataError)))
        except EmptyFile:
            log.info("%s is empty and passed over", uri)
    if not parts:
        raise DataError(f"{source}: each of the {len(files):,} files is empty; it needs rows")
    return together(source, parts)


def _one(source: str, file: LocalFile) -> Records:
    if pictures := in_zip(source, file):
        return _pictures(source, pictures)
    opened = Opened(source, file)
    try:
        return _records(source, opened, detect(source, opened))
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{source}: cannot be read ({error}); write or upload it again") from error


def _tell(records: Records) -> None:
    log.info("%s: read as %s", records.source, records.read_as)
    for column, names in records.classes.items():
        log.info("%s: the numbers in %r are read as the names of %d classes", records.source, column, len(names))


def _pictures(source: str, files: Files) -> Records:
    rows, find = partial(picture_rows, source, files), files.read.get
    return Records(source, Detected("Images", None), COLUMNS, rows, COLUMNS[:1], find, files.others)


def _records(source: str, opened: Opened, detected: Detected) -> Records:
    if detected.format in ("Parquet", "Arrow"):
        from .columnar import Columnar  # pyarrow takes its time to import

        file = Columnar(source, opened, detected.format)
        pictures, find = file.pictures, file.find_picture
        return Records(source, detected, file.columns, file.rows, pictures, find, classes=file.classes, rest=file.rest)
    columns = _columns(source, opened, detected)
    return Records(source, detected, columns, lambda: rows_of(source, opened, detected))


def rows_of(source: str, opened: Opened, detected: Detected) -> Numbered:
    """The rows of a text, by the format that was detected."""
    match detected.format:
        case "CSV" | "TSV":
            yield from delimited.delimited_rows(source, opened.lines(detected.encoding), detected.separator)
        case "JSONL":
            yield from json_rows.line_rows(source, opened.lines(detected.encoding, end="\n"))
        case "JSON":
            yield from json_rows.array_rows(source, opened.text(detected.encoding))
        case "SQuAD":
            yield from json_rows.squad_rows(source, opened.text(detected.encoding))
        case "CoNLL":
            yield from conll.conll_rows(source, opened.lines(detected.encoding, end="\n"))
        case _:
            raise AssertionError(f"{detected.format} is no text")


def _columns(source: str, opened: Opened, detected: Detected) -> tuple[str, ...]:
    match detected.format:
        case "CSV" | "TSV":
            return delimited.header(source, opened.lines(detected.encoding), detected.separator)
        case _:
            names: dict[str, None] = {}
            for count, (_, row) in enumerate(rows_of(source, opened, detected)):
                if count == json_rows.SEEN:
                    break
                names |= dict.fromkeys(row)
            return tuple(names)

"""The door for rows: what a source holds is told from its content, and read piece by piece, whatever its format."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from pydantic import JsonValue

from autoglm_api.locations import Location
from autoglm_trainer.errors import DataError
from autoglm_trainer.sources import is_folder, local_file

from . import conll, delimited, json_rows
from .detection import Detected, Format, detect
from .folders import COLUMNS, Files, in_folder, in_zip, picture_rows
from .opened import Opened

Locate = Callable[[str], Location]
Numbered = Iterator[tuple[int, dict[str, JsonValue]]]
# A picture's name → how its file is read; None where no picture has the name.
Find = Callable[[str], Callable[[], bytes] | None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Records:
    """The rows of one source. Each iteration reads the file anew, and never holds more of it than some rows.

    Attributes:
        source: the URI.
        detected: format and encoding.
        columns: of CSV and TSV the header's, of Parquet and Arrow the schema's, of CoNLL their numbers from 1; of JSON
            the names that its first 1,000 rows use. Columns without a name and columns of bytes are left out.
        pictures: of Images its first column, of Parquet and Arrow those of pictures' bytes; a row has a picture's name.
        find_picture: how a picture is read that a row names.
        passed_over: of Images, how many files beside them are hidden or no images.
    """

    source: str
    detected: Detected
    columns: tuple[str, ...]
    _begin: Callable[[], Numbered]
    pictures: tuple[str, ...] = ()
    find_picture: Find = lambda _: None
    passed_over: int = 0

    @property
    def format(self) -> Format:
        """CSV, TSV, JSON, JSONL, Parquet, Arrow, CoNLL, SQuAD, or Images in folders."""
        return self.detected.format

    @property
    def counted(self) -> str:
        """What rows are counted in: `line` in texts of a row a line, else `row`; from 1 either way."""
        return "line" if self.format in ("CSV", "TSV", "JSONL", "CoNLL") else "row"

    def where(self, number: int) -> str:
        """A row's place as messages name it: `s3://b/train.csv, line 3`."""
        return f"{self.source}, {self.counted} {number}"

    def through(self, step: Callable[[Numbered], Numbered]) -> Records:
        """The same source, its rows passed through `step`: left out, changed, or looked at."""
        return replace(self, _begin=lambda: step(iter(self)))

    def __iter__(self) -> Numbered:
        """Each row with its number: column → value.

        Values are strings in CSV and TSV, lists of strings in CoNLL, and as typed elsewhere (times as ISO 8601,
        decimals as numbers, classes by name where the schema has their names). None = missing: null, NaN, and an empty
        cell of CSV or TSV.

        Raises:
            DataError: a row is broken, or the file cannot be read to its end.
        """
        try:
            yield from self._begin()
        except (EOFError, zlib.error, OSError) as error:
            raise DataError(f"{self.source}: cannot be read to its end ({error}); write or upload it again") from error


def read_records(source: str, locate: Locate) -> Records:
    """Open a source and tell its format; the log says what it was taken for.

    Args:
        source: the URI; its ending is a hint where the content fits several formats.
        locate: URI → location.

    Raises:
        DataError: it cannot be had, is empty, or of no known format or encoding.
        SourceUnreachable: its place does not answer now.
    """
    try:
        location = locate(source)
    except ValueError as error:
        raise DataError(f"data: {error}") from error
    if is_folder(source, location, DataError):
        return _pictures(source, in_folder(source, location))
    file = local_file(source, location, DataError)
    if pictures := in_zip(source, file):
        return _pictures(source, pictures)
    opened = Opened(source, file)
    try:
        detected = detect(source, opened)
        records = _records(source, opened, detected)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{source}: cannot be read ({error}); write or upload it again") from error
    log.info("%s: read as %s", source, detected)
    return records


def _pictures(source: str, files: Files) -> Records:
    log.info("%s: read as Images, %d of them", source, len(files.read))
    detected = Detected("Images", None)
    rows, find = partial(picture_rows, source, files), files.read.get
    return Records(source, detected, COLUMNS, rows, COLUMNS[:1], find, files.others)


def _records(source: str, opened: Opened, detected: Detected) -> Records:
    if detected.format in ("Parquet", "Arrow"):
        from .columnar import Columnar  # pyarrow takes its time to import

        file = Columnar(source, opened, detected.format)
        for column, names in file.classes.items():
            log.info("%s: the numbers in %r are read as the names of %d classes", source, column, len(names))
        return Records(source, detected, file.columns, file.rows, file.pictures, file.find_picture)
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

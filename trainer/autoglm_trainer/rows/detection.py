"""What a file of rows is: its format by the first bytes, its encoding by all of them. The ending only breaks ties."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from typing_extensions import override

from autoglm_trainer.errors import DataError

from .conll import looks_tagged
from .delimited import SEPARATORS, separator_of
from .opened import GZIP, Opened

Format = Literal["CSV", "TSV", "JSON", "JSONL", "Parquet", "Arrow", "CoNLL", "SQuAD", "Images"]
FORMATS: tuple[Format, ...] = ("CSV", "TSV", "JSON", "JSONL", "Parquet", "Arrow", "CoNLL", "SQuAD")

_HEAD_BYTES = 2**18
_CHUNK_BYTES = 2**20
_BOM = "\ufeff"
_BINARY: tuple[tuple[bytes, Format], ...] = (
    (b"PAR1", "Parquet"),
    (b"ARROW1\0\0", "Arrow"),
    (b"\xff\xff\xff\xff", "Arrow"),  # a stream of Arrow messages begins with this mark
)
_REFUSED = (
    (b"PK\x03\x04", "a zip archive (Excel files are, too); unpack it, or save the sheet as CSV"),
    (b"FEA1", "Feather of version 1; write version 2 (pyarrow.feather.write_feather does)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it, or use gzip"),
    (b"BZh", "compressed by bzip2; unpack it, or use gzip"),
    (b"\xfd7zXZ", "compressed by xz; unpack it, or use gzip"),
    (b"%PDF", "a PDF; extract its rows"),
    (b"\x89HDF", "HDF5; write Parquet or CSV"),
    (b"SQLite format 3\0", "an SQLite database; write Parquet or CSV"),
    *((mark, "UTF-16; save it as UTF-8") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
    *(
        (mark, "a single picture; name a folder of pictures in folders by class, or a zip of it")
        for mark in (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
    ),
    (GZIP, "gzip inside gzip; unpack it once"),
)
_ENDINGS: dict[str, Format] = {
    ".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".json": "JSON", ".jsonl": "JSONL", ".ndjson": "JSONL",
    ".conll": "CoNLL", ".conllu": "CoNLL", ".bio": "CoNLL", ".iob": "CoNLL", ".iob2": "CoNLL",
}  # fmt: skip
_SQUAD = re.compile(r'\s*\{(\s*"version"\s*:\s*"[^"]*"\s*,)?\s*"data"\s*:\s*\[')
_PARAGRAPHS = re.compile(r'[{,]\s*"paragraphs"\s*:\s*\[')
_ARRAY = re.compile(r"\s*\[\s*[\[{\]]")
_OBJECT = re.compile(r'\s*\{\s*["}]')
# Where a tar archive has its mark.
_TAR = slice(257, 262)
# Chinese in GB18030 is nearly all of GB 2312's signs (.99 measured, .8 of traditional ones). Other encodings that
# happen to decode are not: Big5 .4, Western European ones 0. Of EUC-KR and EUC-JP it cannot be told by this.
_LEAST_COMMON_SIGNS = 0.6


class EmptyFile(DataError):  # noqa: N818 - what is so, not what broke
    """The file holds nothing; among several that is no mistake, since Spark writes such files, too."""


@dataclass(frozen=True)
class Detected:
    """A file's format.

    Attributes:
        encoding: None = it holds no text.
        ending: the format that its name promises, if any.
        separator: what stands between the cells of CSV and TSV.
    """

    format: Format
    encoding: str | None
    packed: bool = False
    ending: Format | None = None
    separator: str = ","

    @override
    def __str__(self) -> str:
        odd = f"separated by {SEPARATORS[self.separator]}" if self.format == "CSV" and self.separator != "," else None
        told = ", ".join(filter(None, (self.format, self.encoding, odd, "gzip" if self.packed else None)))
        other = self.ending is not None and self.ending != self.format
        other = other and {self.ending, self.format} != {"JSON", "SQuAD"}
        return f"{told} (by its content; its name says {self.ending})" if other else told


def detect(source: str, opened: Opened) -> Detected:
    """Tell format and encoding.

    Raises:
        EmptyFile: it is that.
        DataError: it is of no format that is read here.
    """
    with opened.binary() as file:
        head = file.read(_HEAD_BYTES)
    with opened.file.path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    if not head.strip():
        raise EmptyFile(f"{source}: the file is empty; it needs rows")
    names = PurePosixPath(source.removesuffix(".gz") if packed else source)
    ending = _ENDINGS.get(names.suffix.lower())
    for magic, known in _BINARY:
        if head.startswith(magic):
            return Detected(known, None, packed, ending)
    for magic, told in _REFUSED:
        if head.startswith(magic):
            raise DataError(f"{source}: the file is {told}; known formats: {', '.join(FORMATS)}")
    if head[_TAR] == b"ustar":
        raise DataError(f"{source}: the file is a tar archive; unpack it, or write a zip where it holds pictures")
    encoding = detect_encoding(source, opened)
    codec = codecs.getincrementaldecoder("gb18030" if encoding == "GB18030" else "utf-8")()
    text = codec.decode(head).removeprefix(_BOM)
    if "\0" in text:
        told = "UTF-16; save it as UTF-8" if _is_wide(text) else "binary, of no known format"
        raise DataError(f"{source}: the file is {told}; known formats: {', '.join(FORMATS)}")
    kind = _text_format(text, ending)
    between = "\t" if kind == "TSV" else separator_of(_first(text.split("\n")))
    return Detected(kind, encoding, packed, ending, between)


def detect_encoding(source: str, opened: Opened) -> str:
    """`UTF-8` where all bytes are; else `GB18030` where all bytes are and most signs are common Chinese ones.

    Raises:
        DataError: neither; naming the first byte that is not UTF-8.
    """
    place = _first_bad_byte(opened)
    if place is None:
        return "UTF-8"
    if _is_chinese(opened):
        return "GB18030"
    with opened.binary() as file:
        before = file.read(place[0] + 1)
    raise DataError(
        f"{source}, line {before.count(10, 0, place[0]) + 1}: not UTF-8, byte 0x{before[-1]:02x} at offset {place[0]},"
        " and not GB18030; save the file as UTF-8"
    )


def _first_bad_byte(opened: Opened) -> tuple[int] | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with opened.binary() as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            kept = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return (read - kept + error.start,)
            if not chunk:
                return None
            read += len(chunk)


def _is_chinese(opened: Opened) -> bool:
    decoder = codecs.getincrementaldecoder("gb18030")()
    signs = common = 0
    with opened.binary() as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                return False
            if not chunk:
                return common >= _LEAST_COMMON_SIGNS * signs
            plain = sum(map(str.isascii, text))
            signs += len(text) - plain
            common += (len(text.encode("gb2312", "ignore")) - plain) // 2


def _text_format(head: str, ending: Format | None) -> Format:
    """The format of a text by its beginning.

    Arrays and objects are JSON whatever the name says; what else might be any of three is as its name says, or else
    CoNLL where a column holds nothing but tags, and TSV where the first line has more tabs than commas.
    """
    if _SQUAD.match(head) and _PARAGRAPHS.search(head):
        return "SQuAD"
    if _OBJECT.match(head):
        return "JSONL"
    if _ARRAY.match(head):
        return "JSON"
    if ending is not None:
        return ending
    if _is_json_line(head):
        return "JSONL"
    lines = head.split("\n")
    if looks_tagged(lines[:-1] if len(lines) > 1 else lines):
        return "CoNLL"
    first = _first(lines)
    return "TSV" if first.count("\t") > first.count(",") else "CSV"


def _is_wide(text: str) -> bool:
    """Whether every other byte is 0, as those of Latin letters are in UTF-16."""
    halves = text[::2], text[1::2]
    return (
        len(text) > 4
        and any(half.count("\0") > len(half) / 2 for half in halves)
        and any("\0" not in half for half in halves)
    )


def _is_json_line(head: str) -> bool:
    try:
        return not isinstance(json.loads(head.split("\n", 1)[0]), int | float)
    except (ValueError, RecursionError):
        return False


def _first(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.strip()), "")

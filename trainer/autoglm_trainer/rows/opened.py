"""A file of rows as bytes and as text, unpacked where it is gzip, with a limit on what one line may hold."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO, cast

from autoglm_trainer.errors import DataError
from autoglm_trainer.sources import LocalFile

GZIP = b"\x1f\x8b"
LONGEST_LINE = 2**26


@dataclass(frozen=True)
class Opened:
    """A source's file on this machine."""

    source: str
    file: LocalFile

    def binary(self) -> BinaryIO:
        """A fresh reader from the start; seekable."""
        with self.file.path.open("rb") as raw:
            packed = raw.read(len(GZIP)) == GZIP
        return cast("BinaryIO", gzip.open(self.file.path)) if packed else self.file.path.open("rb")

    def text(self, encoding: str | None, end: str = "") -> TextIO:
        """A fresh reader of characters; a byte order mark is left out.

        Args:
            encoding: UTF-8 or GB18030; the whole file is known to be of it.
            end: what lines end with, the empty string for any line end; all are kept as they are.
        """
        name = "utf-8-sig" if encoding == "UTF-8" else "gb18030"
        return io.TextIOWrapper(self.binary(), encoding=name, newline=end)

    def lines(self, encoding: str | None, end: str = "") -> Iterator[str]:
        """Lines with their ends.

        Raises:
            DataError: a line has more than 64 Mi characters.
        """
        with self.text(encoding, end) as text:
            number = 0
            while line := text.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise DataError(
                        f"{self.source}, line {number}: longer than {LONGEST_LINE:,} characters;"
                        " write a row a line (JSONL, CSV), or Parquet"
                    )
                yield line

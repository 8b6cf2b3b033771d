"""What the numbers of rows say: a line or row of a file, and where several files are one source, which of them."""

from __future__ import annotations

from dataclasses import dataclass

# No file has as many lines. So numbers grow from row to row over all files, and one tells file and line alike.
_FILE = 2**40


def number_of(file: int, number: int) -> int:
    """The number of a file's row among those of all files; `file` counts from 0."""
    return file * _FILE + number


@dataclass(frozen=True)
class Numbering:
    """How the rows of a source are numbered.

    Attributes:
        counted: `line` or `row`, from 1 in each file.
        files: the URIs of several files that are one source; empty = the source is one file.
    """

    counted: str = "line"
    files: tuple[str, ...] = ()

    def where(self, source: str, number: int) -> str:
        """A row's place as messages name it: `s3://b/train.csv, line 3`; of several files with the URI of its own."""
        file, own = divmod(number, _FILE)
        return f"{self.files[file] if self.files else source}, {self.counted} {own}"

    def short(self, number: int) -> str:
        """A row's place where the source is known: `line 3`; of several files `part-1.csv, line 3`."""
        file, own = divmod(number, _FILE)
        name = f"{self.files[file].rpartition('/')[2]}, " if self.files else ""
        return f"{name}{self.counted} {own}"

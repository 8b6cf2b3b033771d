"""What the pictures of a source are like, each of them decoded: sizes, colours, and which a study would refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from autoglm_api.pictures import PictureError, decode
from autoglm_trainer.errors import DataError

from .cleaning import Cleaning
from .images import LabelledPicture, cleanable, picture_of
from .records import Locate, Records
from .splits import Change, Rows


@dataclass(frozen=True)
class Pictures:
    """The pictures of one source.

    Attributes:
        rows: those that can be read, repetitions left out.
        changes: what cleaning would do.
        sizes: how many have each width and height.
        broken: why pictures are refused, a sentence each.
    """

    rows: Rows[LabelledPicture]
    changes: tuple[Change, ...]
    sizes: Counter[tuple[int, int]]
    broken: tuple[str, ...]

    @property
    def singles(self) -> list[str]:
        """Labels of one picture alone, which is trained on and never judged."""
        counts = Counter(row.label for row in self.rows)
        return [label for label, count in counts.items() if count == 1]


def inspect_pictures(records: Records, locate: Locate, columns: Mapping[str, str]) -> Pictures:
    """Read and decode all pictures. `columns`: role → name, both roles given.

    Raises:
        DataError: the source itself cannot be read.
    """
    cleaning = Cleaning(records, cleanable(columns))
    read, sizes, broken = [], Counter[tuple[int, int]](), []
    for number, row in cleaning.wash(iter(records)):
        try:
            picture = picture_of(records, number, row, locate, columns)
            sizes[_size(picture)] += 1
        except DataError as error:
            broken.append(str(error))
        else:
            read.append(picture)
    rows = cleaning.without_repetitions(Rows(records.source, tuple(read), records.numbering))
    return Pictures(rows, cleaning.changes, sizes, tuple(broken))


def _size(picture: LabelledPicture) -> tuple[int, int]:
    try:
        return decode(picture.load()).size
    except PictureError as error:
        raise DataError(f"{picture.where} {error}") from error

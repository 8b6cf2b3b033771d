"""Labelled pictures: folders by class, a zip of them, or a table that names or holds them; read, checked and split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

from pydantic import JsonValue

from autoglm_api.catalog.image_classification import IMAGE_CLASSIFICATION, IMAGE_ENDINGS
from autoglm_api.pictures import PictureError, is_grey, unpack
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import text
from .cleaning import Cleanable
from .folders import check_size, read_picture
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, cut, some


@dataclass(frozen=True)
class LabelledPicture:
    """One labelled picture; its pixels are decoded when they are needed.

    Attributes:
        name: its file below the source, or its row.
        where: what messages call it, its source included.
        digest: sha256 of its bytes.
        grey: whether it has no colours.
        read: its bytes, anew from the source.
    """

    name: str
    where: str = field(repr=False)
    label: str
    line: int
    digest: str
    grey: bool
    read: Callable[[], bytes] = field(repr=False, compare=False)

    def load(self) -> bytes:
        """Its bytes, the same as when its digest was taken.

        Raises:
            DataError: they are gone, or others.
        """
        content = self.read()
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise DataError(f"{self.where} changed while it was read; start again when nobody writes it")
        return content

    @property
    def content(self) -> JsonValue:
        """Digest and label."""
        return [self.digest, self.label]

    @property
    def unit(self) -> str:
        """The bytes' digest: the same file twice is one picture."""
        return self.digest


_HOLD_OUT = HoldOut[LabelledPicture](stratum=lambda row: row.label, single="every label has a single picture")


@dataclass(frozen=True)
class LabelledPictures:
    """A study's pictures. `labels` are sorted; a label's place in it is the model's output index."""

    splits: Splits[LabelledPicture]
    labels: tuple[str, ...]

    def targets(self, split: str) -> list[int]:
        """Label indices of a split's rows, in order."""
        index = {label: place for place, label in enumerate(self.labels)}
        return [index[row.label] for row in self.splits.by_name[split]]


def load_pictures(data: Data, locate: Locate, *, seed: int) -> LabelledPictures:
    """Read all sources, hold out validation pictures if asked to, and check that they fit each other.

    Args:
        data: the study's `data`.
        locate: URI → location.
        seed: chooses the held-out pictures.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = IMAGE_CLASSIFICATION.named_columns(data.columns)
    splits = read_splits(
        data,
        locate,
        lambda records: read_pictures(records, locate, columns),
        hold_out=lambda _: _HOLD_OUT,
        seed=seed,
        cleanable=cleanable(columns),
    )
    labels = tuple(sorted({row.label for row in splits.train}))
    if len(labels) < 2:
        raise DataError(
            f"{data.train.source}: all {len(splits.train)} training pictures have the label {labels[0]!r}; a"
            " classifier needs at least two labels"
        )
    for split, rows in splits.by_name.items():
        _check_labels(rows, split, data.train.source, labels)
    return LabelledPictures(splits, labels)


def cleanable(columns: Mapping[str, str]) -> Cleanable:
    """What cleaning may do to training rows. `columns`: role → name."""
    return Cleanable((columns["image"], columns["label"]))


def read_pictures(records: Records, locate: Locate, columns: Mapping[str, str]) -> Rows[LabelledPicture]:
    """The pictures of one source. `columns`: role → name, both roles given.

    Raises:
        DataError: they cannot be read, or none is there.
    """
    found = [picture_of(records, number, row, locate, columns) for number, row in records]
    return some(records, found, (columns["image"], columns["label"]))


def picture_of(
    records: Records, number: int, row: Mapping[str, JsonValue], locate: Locate, columns: Mapping[str, str]
) -> LabelledPicture:
    """The picture of one row; its header is looked at, so that what is no image is refused before anything is trained.

    Raises:
        DataError: it cannot be read.
    """
    where = records.where(number)
    image_column, label_column = columns["image"], columns["label"]
    image, label = (text(records, number, row, column) for column in (image_column, label_column))
    for column, value in ((image_column, image), (label_column, label)):
        if not value.strip():
            raise DataError(f"{where}: {column!r} is empty; fill it in or drop the row")
    name = records.numbering.short(number)
    if read := records.find_picture(image):
        if records.format == "Images":
            return _picture(f"{records.source}: {image}", image, label, number, read)
        return _picture(f"{where}: {image_column!r}", name, label, number, read)
    if PurePosixPath(image).suffix.lower() in IMAGE_ENDINGS:
        return _picture(f"{where}: {image}", image, label, number, _beside(records.source, where, image, locate))
    held = partial(bytes, _unpacked(f"{where}: {image_column!r} ({cut(image, 40)})", image))
    return _picture(where, name, label, number, held)


def _beside(source: str, where: str, path: str, locate: Locate) -> Callable[[], bytes]:
    """How a picture that a table names is read; it stays below the table's folder."""
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts or "://" in path:
        raise DataError(f"{where}: the image {cut(path)} does not lie below the table's folder; move it there")
    uri = f"{source.rsplit('/', 1)[0]}/{place}"
    return partial(read_picture, uri, locate(uri))


def _unpacked(where: str, image: str) -> bytes:
    try:
        return unpack(image)
    except PictureError as error:
        raise DataError(f"{where} {error}, or write a file's name that ends in {', '.join(IMAGE_ENDINGS)}") from error


def _picture(where: str, name: str, label: str, line: int, read: Callable[[], bytes]) -> LabelledPicture:
    content = read()
    check_size(where, len(content))
    try:
        grey = is_grey(content)
    except PictureError as error:
        raise DataError(f"{where} {error}") from error
    return LabelledPicture(name, where, label, line, hashlib.sha256(content).hexdigest(), grey, read)


def _check_labels(rows: Rows[LabelledPicture], split: str, train_source: str, labels: Sequence[str]) -> None:
    unknown = Counter(row.label for row in rows if row.label not in labels)
    if unknown:
        first = next(row for row in rows if row.label in unknown)
        others = sorted(label for label in unknown if label != first.label)
        told = f" (so do {', '.join(map(cut, others[:5]))})" if others else ""
        raise DataError(
            f"{rows.source}: {first.name} has the label {cut(first.label)}, which stands in the {split} pictures only"
            f"{told}, never in {train_source}; add training pictures for it or drop these"
        )

"""What the server asks of a task: its items, checked one by one, and their answers. Everything else is HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from autoglm_api.catalog import find_task
from autoglm_api.manifest import Manifest
from autoglm_api.plugins import resolve

from .errors import UnusableModelError
from .requests import Refused


class Answerer(Protocol):
    """One loaded model. Safe to call from several threads; the same items always get the same answers.

    Attributes:
        item: JSON schema of one item of `data`. answer: JSON schema of one prediction.
    """

    item: ClassVar[Mapping[str, Any]]
    answer: ClassVar[Mapping[str, Any]]

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder.

        Raises:
            UnusableModelError: the files are not what this task needs.
        """

    def parse(self, item: object, where: str) -> Any:  # what `predict` takes
        """Check one item; `where` names it (`data[3]`).

        Raises:
            Refused: it cannot be answered.
        """

    def predict(self, items: Sequence[Any]) -> list[dict[str, Any]]:
        """One JSON object an item, in order.

        Raises:
            UnusableModelError: the model fails.
        """

    def samples(self) -> Sequence[Any]:
        """A short and a long item, to warm up with."""


def load_answerer(folder: Path, manifest: Manifest, *, threads: int) -> Answerer:
    """The model in a checked folder.

    Raises:
        UnusableModelError: the task is unknown here, or its files are not what it needs.
    """
    try:
        kind: type[Answerer] = resolve(find_task(manifest.task).server)
    except (ValueError, ImportError) as error:
        raise UnusableModelError(
            f"the model's task is {manifest.task!r}, which this server cannot answer: {error}"
        ) from error
    return kind(folder, manifest, threads=threads)


def warm_up(answerer: Answerer) -> None:
    """Answer once, so that the first request pays for nothing and a broken model never serves.

    Raises:
        UnusableModelError: it fails.
    """
    short, *longer = answerer.samples()
    try:
        answerer.predict([short])
        answerer.predict(longer or [short])
    except Refused as refused:
        raise UnusableModelError(refused.message) from refused

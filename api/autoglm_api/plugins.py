"""Tasks, methods and stores of other distributions: entry points whose objects are declarations of ours.

A declaration names the code behind it as `module:attribute`, which is imported when it is first needed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar


class Declaration(Protocol):
    """Anything that is known by its name."""

    @property
    def name(self) -> str:
        """Its name."""


D = TypeVar("D", bound=Declaration)


def installed(group: str, kind: type[D], own: Mapping[str, D]) -> tuple[dict[str, D], dict[str, str]]:
    """Our declarations and those of installed distributions, by name.

    Args:
        group: the entry points' group; an entry point's name is the declaration's.
        kind: what an entry point must load.
        own: the built-in ones, which nobody can replace.

    Returns:
        what can be used, and a sentence for each plug-in that cannot; a broken plug-in harms nobody else.
    """
    usable: dict[str, D] = dict(own)
    unusable: dict[str, str] = {}
    for entry in entry_points(group=group):
        where = f"the plug-in {entry.name!r} of {entry.dist.name if entry.dist else entry.value}"
        if entry.name in usable:
            unusable.setdefault(f"{entry.name} of {entry.value}", f"{where} has a name that is taken already")
            continue
        loaded = _load(entry, kind, where)
        if isinstance(loaded, str):
            unusable[entry.name] = loaded
        else:
            usable[entry.name] = loaded
    return usable, unusable


def _load(entry: EntryPoint, kind: type[D], where: str) -> D | str:
    try:
        loaded = entry.load()
    except Exception as error:  # noqa: BLE001 - somebody else's module may raise anything
        return f"{where} cannot be imported: {type(error).__name__}: {error}"
    if not isinstance(loaded, kind):
        return f"{where} is a {type(loaded).__name__}, not a {kind.__name__}"
    if loaded.name != entry.name:
        return f"{where} calls itself {loaded.name!r}"
    return loaded


@functools.cache
def resolve(reference: str) -> Any:  # a class whose protocol the caller knows
    """The attribute that `reference` names.

    Args:
        reference: `package.module:attribute`.

    Raises:
        ImportError: the module cannot be imported, for whatever reason, or has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # somebody else's module may raise anything
        told = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise ImportError(f"{reference} cannot be loaded in this image: {told}") from error

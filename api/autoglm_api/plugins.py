"""From a declaration's `module:attribute` to the code behind it, imported when it is first needed."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any


@functools.cache
def resolve(reference: str) -> Any:  # a class whose protocol the caller knows
    """The attribute that `reference` names.

    Args:
        reference: `package.module:attribute`.

    Raises:
        ImportError: the module cannot be imported or has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{reference} cannot be loaded in this image: {error}") from error

"""What the Hugging Face hub's tables say of their columns: which hold pictures, and what numbers of classes mean.

`datasets` writes its features as JSON into the schema's metadata, below the key `huggingface`
(https://huggingface.co/docs/datasets/about_dataset_features).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import JsonValue

_KEY = b"huggingface"
# The number that stands for a class nobody has told, in test rows of competitions.
_UNKNOWN = -1


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """Column → feature as `datasets` wrote it; nothing where it did not."""
    try:
        features = json.loads((schema.metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def kind_of(feature: Any) -> str | None:
    """What it is: `Image`, `Audio`, `ClassLabel`, or another name; None = not told."""
    return feature.get("_type") if isinstance(feature, dict) else None


def class_names(feature: Any) -> Sequence[str] | None:
    """The names of the classes whose numbers a column, or its lists, hold; None = it holds no such numbers."""
    if isinstance(feature, list):  # how lists were written until version 4
        return class_names(feature[0]) if len(feature) == 1 else None
    if kind_of(feature) in ("Sequence", "List", "LargeList"):
        return class_names(feature.get("feature"))
    names = feature.get("names") if kind_of(feature) == "ClassLabel" else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def named(value: JsonValue, names: Sequence[str]) -> JsonValue:
    """The name for a class's number, the names for a list of them; what is no number stays, and -1 is missing.

    Raises:
        ValueError: there is no class of that number.
    """
    if isinstance(value, list):
        return [named(each, names) for each in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if value == _UNKNOWN:
        return None
    if not 0 <= value < len(names):
        raise ValueError(f"is {value}, but the schema names {len(names)} classes, from 0")
    return names[value]

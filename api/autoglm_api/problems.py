"""From pydantic's errors to sentences: which field, which value, which limit, and what was probably meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

FieldPath = tuple[str | int, ...]

_SHOWN = 80
_HUB_PAGE = re.compile(
    r"https://(huggingface|hf)\.co/(?P<kind>datasets/)?(?P<name>[^/?#]+/[^/?#]+)"
    r"(/(blob|resolve|raw|tree)/(?P<revision>refs%2F[^/]+|[^/?#]+)(?P<path>/[^?#]+)?)?/?([?#].*)?"
)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        path: the field, from the document's root: `("spec", "trials", "max")`.
        message: what is wrong, with value and limit; no full stop.
    """

    path: FieldPath
    message: str

    @property
    def field(self) -> str:
        """The path as people write it: `spec.parameters[0].float.min`."""
        return field_name(self.path)

    @property
    def sentence(self) -> str:
        """`field: message`, or the message alone where the whole document is meant."""
        return f"{self.field}: {self.message}" if self.path else self.message


def field_name(path: FieldPath) -> str:
    """`("spec", "parameters", 0, "name")` → `spec.parameters[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_field_name(text: str) -> FieldPath:
    """The reverse of `field_name`."""
    return tuple(int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", text))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean x?` when a known word is close, else the known words."""
    names = sorted(known)
    lower = {name.lower(): name for name in names}
    longer = [name for name in lower if word and name.startswith(word.lower())]
    near = longer[:1] or difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[near[0]]}?" if near else f"; known: {', '.join(names)}"


def shown(value: object) -> str:
    """A value as it would be written in YAML's flow style, cut at 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def problems(error: ValidationError, data: object, model: type[BaseModel], *, root: FieldPath = ()) -> list[Problem]:
    """Every error as a sentence, in the order of the document.

    Args:
        error: what `model.model_validate` raised.
        data: what it was given.
        model: the model, for the names it knows.
        root: where `data` stands in the document, usually `("spec",)`.
    """
    grouped: dict[FieldPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_real_path(detail, data), []).append(detail)
    return [
        _problem(path, details, data, model, root)
        for path, details in grouped.items()
        if not (_only_counts(details) and any(other[: len(path)] == path and other != path for other in grouped))
    ]


def _real_path(detail: ErrorDetails, data: object) -> FieldPath:
    """The error's place without the tags that pydantic adds for the members of a union."""
    path: list[str | int] = []
    value = data
    for key in detail["loc"]:
        inside, value = _member(value, key)
        if not inside and detail["type"] != "missing":
            break
        path.append(key)
    return tuple(path)


def _member(value: object, key: str | int) -> tuple[bool, object]:
    """Whether `value` has the member `key`, and the member."""
    if isinstance(value, Mapping):
        return key in value, value.get(key)
    if isinstance(value, list) and isinstance(key, int):
        return True, value[key]
    return False, None


def _only_counts(details: list[ErrorDetails]) -> bool:
    """A list whose members were refused is also called too short: that says nothing new."""
    return all(detail["type"] == "too_short" and detail["input"] for detail in details)


def _problem(
    path: FieldPath, details: list[ErrorDetails], data: object, model: type[BaseModel], root: FieldPath
) -> Problem:
    # In a union the member that looked at the value itself says more than those that refused its type.
    telling = [detail for detail in details if not detail["type"].endswith("_type")]
    if len(details) > 1 and not telling:
        value = details[0]["input"]
        return Problem((*root, *path), f"must be a text, a number, true or false, got {shown(value)}")
    detail = (telling or details)[0]
    if detail["type"] == "value_error":
        return locate_sentence(str(detail["ctx"]["error"]), data, root=root, at=path)
    known = _fields_at(model, path[:-1]) if detail["type"] == "extra_forbidden" else ()
    return Problem((*root, *path), _sentence(detail, str(path[-1]) if path else "", known))


def locate_sentence(sentence: str, data: object, *, root: FieldPath = (), at: FieldPath = ()) -> Problem:
    """A `ValueError` of this package as a problem: its text may begin with the field it means (`enqueue[0]: …`).

    A parameter is meant by its name (`parameters: lora_r …`); the path then points at its place in the list.
    """
    match = re.match(r"([a-z][A-Za-z]*(?:\[\d+\])?(?:\.[a-z][A-Za-z]*)*): (.+)", sentence, re.DOTALL)
    if not match:
        return Problem((*root, *at), sentence)
    path = read_field_name(match[1])
    if path == ("parameters",) and isinstance(data, Mapping):
        words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_-]*", match[2])[:8])
        for index, parameter in enumerate(data.get("parameters") or ()):
            if isinstance(parameter, Mapping) and parameter.get("name") in words:
                return Problem((*root, "parameters", index), match[2])
    return Problem((*root, *path), match[2])


def _fields_at(model: type[BaseModel], path: FieldPath) -> tuple[str, ...]:
    """The names that are known where `path` leads."""
    current: type[BaseModel] | None = model
    for key in path:
        if isinstance(key, int):
            continue
        fields = current.model_fields.values() if current else ()
        current = next((_model_in(field.annotation) for field in fields if field.alias == key), None)
    if current is None:
        return ()
    return tuple(field.alias or name for name, field in current.model_fields.items())


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _sentence(detail: ErrorDetails, name: str, known: Sequence[str]) -> str:
    got = f"got {shown(detail['input'])}"
    if detail["input"] is None and detail["type"] != "missing":
        got = "got nothing"
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown field {name}{did_you_mean(name, known)}" if known else f"unknown field {name}"
        case "missing":
            return "is required"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", str(context["expected"]))
            return f"must be one of {', '.join(choices)}, {got}"
        case "string_pattern_mismatch":
            return f"{_pattern(str(context['pattern']))}, {got}{_meant(str(detail['input']), detail['loc'])}"
        case "finite_number":
            return f"must be a finite number, {got}"
        case "datetime_parsing" | "datetime_from_date_parsing" | "datetime_type" | "timezone_aware":
            return f"must be a time with its zone, such as 2026-12-01T18:00:00Z, {got}"
        case other:
            return f"{_bound(other, context) or _shape(other) or detail['msg']}, {got}"


def _bound(kind: str, context: Mapping[str, object]) -> str | None:
    match kind:
        case "greater_than_equal":
            return f"must be ≥ {_number(context['ge'])}"
        case "greater_than":
            return f"must be > {_number(context['gt'])}"
        case "less_than_equal":
            return f"must be ≤ {_number(context['le'])}"
        case "less_than":
            return f"must be < {_number(context['lt'])}"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_too_short":
            return f"must have at least {context['min_length']} characters"
        case "too_long":
            return f"must have at most {context['max_length']} members, has {context['actual_length'] or 'more'}"
        case "too_short":
            return f"must have at least {context['min_length']} members"
        case _:
            return None


def _shape(kind: str) -> str | None:
    return {
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "string_type": "must be a text",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must be a mapping",
        "model_type": "must be a mapping",
        "model_attributes_type": "must be a mapping",
    }.get(kind)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pattern(pattern: str) -> str:
    schemes = re.match(r"\^\(([a-z|0-9]+)\)://", pattern)
    if schemes:
        known = ", ".join(f"{scheme}://" for scheme in schemes[1].split("|"))
        return f"must begin with one of {known} and have no spaces, ? or #"
    if pattern.startswith("^[0-9.]+("):
        return "must be a quantity such as 2, 500m or 16Gi"
    if pattern.startswith("^[a-z0-9]"):
        return "must be a lower-case name of letters, digits and -"
    return f"must match {pattern}"


def _meant(value: str, location: tuple[int | str, ...]) -> str:
    """How a place is written of which a path, a repository's name or the hub's page was given; a sentence's end."""
    if location[-1:] != ("source",):
        return ""
    if page := _HUB_PAGE.fullmatch(value):
        revision = f"@{page['revision']}{page['path'] or ''}" if page["revision"] and page["kind"] else ""
        return f"; on the hub it is hf://{page['kind'] or ''}{page['name']}{revision}"
    if re.match(r"(?!file://)[A-Za-z0-9]+:", value):
        return ""
    if "model" in location and re.fullmatch(r"[\w.-]+/[\w.-]+", value):
        return f"; on the hub it is hf://{value}"
    return f"; of a file here it is file://{quote(value.removeprefix('file://').removeprefix('./'), safe='/%*')}"

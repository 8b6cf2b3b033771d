"""YAML files as plain data that still knows its lines. Nothing is judged here but that it is YAML at all."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from autoglm_api.problems import FieldPath

from .errors import CliError, UsageError

STDIN = "-"
MAX_BYTES = 3 * 2**20
MAX_NODES = 100_000


@dataclass(frozen=True)
class Document:
    """One YAML document.

    Attributes:
        file: its name as given, `<stdin>` for `-`.
        index: its place in the file, from 0.
        data: mappings, lists and scalars as JSON knows them.
        lines: line (from 1) of every field.
    """

    file: str
    index: int
    data: object
    lines: Mapping[FieldPath, int] = field(default_factory=dict)

    def line(self, path: FieldPath) -> int:
        """The line of a field, or of the nearest field around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class NotYamlError(CliError):
    """The text cannot be read; `line` is where, if that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read(name: str) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        UsageError: there is no such file, or it cannot be opened.
        NotYamlError: it holds no text.
    """
    if not name:
        raise UsageError(f"{name!r}: there is no such file")
    content = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _read_file(Path(name))
    if len(content) > MAX_BYTES:
        raise NotYamlError(f"is larger than {MAX_BYTES // 2**20} MiB; no cluster would take it")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NotYamlError("is UTF-16 text; save it as UTF-8")
    if b"\0" in content:
        raise NotYamlError("is a binary file, not YAML")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotYamlError(f"is not UTF-8 text (byte 0x{content[error.start]:02x})", line) from error


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the files in it, such as {path}/*.yaml")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def parse(text: str, file: str) -> Iterator[Document]:
    """The documents of a text, those without content left out.

    Raises:
        NotYamlError: after the documents before the error.
    """
    reader = YAML(typ="rt", pure=True)
    try:
        for index, tree in enumerate(reader.load_all(text)):
            if tree is not None:
                lines: dict[FieldPath, int] = {}
                data = _plain(tree, (), lines)
                yield Document(file, index, data, lines)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context or "cannot be read").split("\n")[0]
        if "'\\t'" in problem:
            problem = "a tab stands where only spaces may; indent with spaces"
        raise NotYamlError(f"is not YAML: {problem}", mark.line + 1 if mark else None) from error
    except YAMLError as error:
        raise NotYamlError(f"is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise NotYamlError("is nested too deeply") from error
    except ValueError as error:
        raise NotYamlError(f"is not YAML: {error}") from error


def _plain(node: object, path: FieldPath, lines: dict[FieldPath, int]) -> object:
    """The tree that ruamel read as JSON-like data; notes the line of every field on the way."""
    # Aliases of aliases can unfold a small file into more than memory holds.
    if len(lines) > MAX_NODES:
        raise NotYamlError(f"has more than {MAX_NODES} fields")
    match node:
        case CommentedMap():
            plain: dict[str, object] = {}
            own = node.lc.data or {}
            for key, value in node.items():
                place = (*path, str(key))
                # Keys that come from a merge (`<<`) have no place of their own.
                lines[place] = own[key][0] + 1 if key in own else lines.get(path, 1)
                plain[str(key)] = _plain(value, place, lines)
            return plain
        case CommentedSeq():
            items: list[object] = []
            own = node.lc.data or {}
            for index, value in enumerate(node):
                place = (*path, index)
                lines[place] = own[index][0] + 1 if index in own else lines.get(path, 1)
                items.append(_plain(value, place, lines))
            return items
        case _:
            return _scalar(node)


def _scalar(node: object) -> object:
    match node:
        case bool() | None:
            return node
        case ScalarBoolean():
            return bool(node)
        case int():
            return int(node)
        case float():
            return float(node)
        case datetime() | date():
            return node.isoformat()
        case TaggedScalar():
            return str(node.value)
        case _:
            return str(node)

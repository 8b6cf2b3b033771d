"""Writes what follows from `crds/`, the API and the chart: tables of the reference, the chart's copy of the CRDs.

The pages are written by people except between `<!-- generated: … -->` and `<!-- end -->`. `make reference` runs this;
a test fails when something is not what the script makes of the sources as they are now.
"""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML

from autoglm_api.catalog import METHODS, TASKS
from autoglm_api.catalog.methods import IMAGE_METHODS
from autoglm_api.pruners import PRUNERS
from autoglm_api.samplers import SAMPLERS

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "charts/autoglm/values.yaml"
CHART_PAGE = ROOT / "charts/autoglm/README.md"
CRD_PAGE = ROOT / "docs/reference/crd.md"
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
SEARCH_PAGE = ROOT / "docs/reference/search.md"
TASKS_PAGE = ROOT / "docs/reference/tasks.md"
HIDDEN = "apiVersion", "kind", "metadata"


def pages() -> dict[Path, str]:
    """Every file that is made or has generated parts, as it must be."""
    crd_page = CRD_PAGE.read_text()
    for path in CRDS:
        crd = YAML(typ="safe").load(path)
        crd_page = replaced(crd_page, crd["spec"]["names"]["kind"], crd_table(crd))
    search_page = replaced(SEARCH_PAGE.read_text(), "samplers", samplers_table())
    tasks_page = replaced(TASKS_PAGE.read_text(), "tasks", tasks_table())
    return {
        TASKS_PAGE: replaced(tasks_page, "methods", methods_table()),
        SEARCH_PAGE: replaced(search_page, "pruners", pruners_table()),
        CRD_PAGE: crd_page,
        CHART_PAGE: replaced(CHART_PAGE.read_text(), "values", values_table(VALUES.read_text())),
        **{ROOT / "charts/autoglm/files/crds" / path.name: path.read_text() for path in CRDS},
    }


def tasks_table() -> str:
    """One row a task: what for, its columns, its metrics."""
    rows = ["| `task` | What it does | Columns | Metrics |", "|---|---|---|---|"]
    for task in TASKS.values():
        columns = ", ".join(f"`{role}`" for role in task.columns)
        metrics = ", ".join(f"`{metric}`" for metric in task.metrics)
        rows.append(f"| `{task.name}` | {_cell(task.summary)} | {columns} | {metrics} |")
    return "\n".join(rows)


def methods_table() -> str:
    """One row a method: what it trains, its own parameters, its default rate."""
    rows = ["| `method` | What is trained | Own parameters | Default `learning_rate` |", "|---|---|---|---|"]
    for method in {**METHODS, **IMAGE_METHODS}.values():
        knobs = ", ".join(f"`{name}`" for name in method.knobs)
        rate = f"{method.learning_rate:g}" if method.learning_rate else ""
        rows.append(f"| `{method.name}` | {_cell(method.summary)} | {knobs} | {rate} |")
    return "\n".join(rows)


def replaced(page: str, name: str, text: str) -> str:
    """`page` with `text` between the two marks of `name`.

    Raises:
        ValueError: the page has no such marks.
    """
    start, end = f"<!-- generated: {name} -->", "<!-- end -->"
    if start not in page:
        raise ValueError(f"no {start} in the page")
    before, rest = page.split(start, 1)
    return f"{before}{start}\n{text}\n{end}{rest.split(end, 1)[1]}"


def crd_table(crd: dict[str, Any]) -> str:
    """One row a field: path, type with its limits, default, description."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rows = ["| Field | Type | Default | What it is |", "|---|---|---|---|"]
    for name, part in schema["properties"].items():
        if name not in HIDDEN:
            rows += _rows(f"{name}", part, required=name in schema["required"])
    return "\n".join(rows)


def _rows(path: str, node: dict[str, Any], *, required: bool) -> Iterator[str]:
    default = f"`{json.dumps(node['default'])}`" if node.get("default", {}) != {} else "required" if required else ""
    yield f"| `{path}` | {_type(node)} | {default} | {_cell(node.get('description', ''))} |"
    items = node.get("items", {})
    inside, suffix = (items, "[]") if "properties" in items else (node, "")
    for name, child in inside.get("properties", {}).items():
        yield from _rows(f"{path}{suffix}.{name}", child, required=name in inside.get("required", ()))


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{value}`" if value else "empty" for value in node["enum"])
    kind = node.get("format") if node.get("format") == "date-time" else node.get("type", "scalar")
    if kind == "array":
        inside = node["items"].get("type", "scalar")
        return f"list of {inside}, at most {node['maxItems']}"
    if kind == "object" and isinstance(node.get("additionalProperties"), dict):
        return f"map of {node['additionalProperties'].get('type', 'scalar')}"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        left, right = ("(" if node.get("exclusiveMinimum") else "["), (")" if node.get("exclusiveMaximum") else "]")
        return f"{kind} in {left}{low}, {high}{right}"
    if low is not None:
        return f"{kind} {'>' if node.get('exclusiveMinimum') else '≥'} {low}"
    return str(kind)


def samplers_table() -> str:
    """One row a sampler: what it can be combined with, and its own fields."""
    rows = [
        "| Sampler | Categorical | Conditional | Constraints | Several objectives | Its fields | What it does |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, sampler in SAMPLERS.items():
        answers = (sampler.categorical, sampler.conditional, sampler.constraints, sampler.objectives)
        cells = [f"`{name}`", *("yes" if answer else "no" for answer in answers), _fields(sampler.fields), sampler.how]
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(rows)


def pruners_table() -> str:
    """One row a pruner: what it does, its fields and what they are when left out."""
    rows = ["| Pruner | What it does | Its fields |", "|---|---|---|"]
    for name, pruner in PRUNERS.items():
        told = []
        for field, default in pruner.defaults.items():
            left_out = "required" if field in pruner.required else "" if default is None else f"{default:g}"
            told.append(f"`{to_camel(field)}`{f' ({left_out})' if left_out else ''}")
        rows.append(f"| {' | '.join(map(_cell, (f'`{name}`', pruner.how, ', '.join(told))))} |")
    return "\n".join(rows)


def _fields(names: Iterable[str]) -> str:
    return ", ".join(f"`{to_camel(name)}`" for name in sorted(names))


def values_table(text: str) -> str:
    """One row a value that has a `# --` comment in values.yaml."""
    values = YAML(typ="safe").load(text)
    rows = ["| Value | Default | What it does |", "|---|---|---|"]
    for path, description in described_values(text):
        value = values
        for key in path.split("."):
            value = value[key]
        rows.append(f"| `{path}` | `{json.dumps(value, ensure_ascii=False)}` | {_cell(description)} |")
    return "\n".join(rows)


def described_values(text: str) -> Iterator[tuple[str, str]]:
    """Path and comment of every described value, in the file's order."""
    keys: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and comment:
            comment.append(stripped.removeprefix("# "))
        elif match := re.match(r"( *)([A-Za-z][\w]*):", line):
            indent = len(match[1])
            keys = [*(key for key in keys if key[0] < indent), (indent, match[2])]
            if comment:
                yield ".".join(name for _, name in keys), " ".join(comment)
            comment = []
        else:
            comment = []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for page, content in pages().items():
        page.write_text(content)

"""`autoglm tasks`: what can be asked for, from the declarations alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from autoglm_api.catalog import METHODS, TASKS, UNUSABLE_TASKS, Knob, TaskDeclaration
from autoglm_api.catalog.methods import UNUSABLE_METHODS
from autoglm_api.problems import did_you_mean

from .errors import UsageError
from .plan import domain_of
from .sections import Section, print_sections


def tasks(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="One task, with everything it knows.")] = None,
) -> None:
    """List the tasks with their metrics and methods; or one with its columns, default space and parameters."""
    if name is not None and name not in TASKS:
        reason = UNUSABLE_TASKS.get(name, f"unknown task {name}{did_you_mean(name, TASKS)}")
        raise UsageError(reason)
    print_sections(_one(TASKS[name]) if name else _all())


def _all() -> Iterator[Section]:
    for task in TASKS.values():
        yield (
            f"{task.name}: {task.summary}",
            [
                ("columns", ", ".join(task.columns)),
                ("metrics", ", ".join(task.metrics)),
                *([("methods", ", ".join(map(str, task.methods)))] if task.methods else []),
            ],
        )
    unusable = [*UNUSABLE_TASKS.items(), *UNUSABLE_METHODS.items()]
    if unusable:
        yield "Plug-ins that cannot be used", unusable


def _one(task: TaskDeclaration) -> Iterator[Section]:
    yield f"{task.name}: {task.summary}", [("asked with", json.dumps(task.example, ensure_ascii=False))]
    yield (
        "Columns (data.columns)",
        [
            (role, f"{column.meaning}{'' if column.default == role else '; default ' + (column.default or 'none')}")
            for role, column in task.columns.items()
        ],
    )
    yield "Metrics", [(metric, direction) for metric, direction in task.metrics.items()]
    if task.methods:
        known = {**METHODS, **task.own_methods}
        yield "Methods", [(str(method), known[str(method)].summary) for method in task.methods]
    yield "Searched by default", [(parameter.name, domain_of(parameter)) for parameter in task.parameters]
    yield "Every parameter", [(name, _knob(task, knob)) for name, knob in task.knobs.items()]


def _knob(task: TaskDeclaration, knob: Knob) -> str:
    return f"{_allowed(knob)}; default {_defaults(knob)}{_users(task, knob)}"


def _allowed(knob: Knob) -> str:
    if knob.choices:
        return ", ".join(map(str, knob.choices))
    return "any text" if isinstance(knob.default, str) else f"{knob.low:g} to {knob.high:g}"


def _defaults(knob: Knob) -> str:
    return ", ".join([str(knob.default), *(f"{value} for {method}" for method, value in knob.by_method.items())])


def _users(task: TaskDeclaration, knob: Knob) -> str:
    """The methods that look at it, said the shorter way; nothing where all do."""
    others = [str(method) for method in task.methods if method not in knob.methods]
    if not knob.methods or not others:
        return ""
    return f"; not of {', '.join(others)}" if len(others) < len(knob.methods) else f"; of {', '.join(knob.methods)}"

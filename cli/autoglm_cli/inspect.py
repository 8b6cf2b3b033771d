"""`autoglm inspect`: what a study would read of a file, before there is a study."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoglm_api.catalog import TASKS, TaskDeclaration, recognised_roles
from autoglm_api.locations import locate_rows
from autoglm_api.problems import did_you_mean
from autoglm_api.shards import check_pattern

from .errors import CliError, UsageError
from .extras import require
from .sections import Section, print_sections
from .sources import FILE, files_here, local_uri

if TYPE_CHECKING:
    from autoglm_trainer.rows.inspection import Column, Inspection
    from autoglm_trainer.rows.picture_inspection import Pictures
    from autoglm_trainer.rows.records import Records
    from autoglm_trainer.rows.splits import Change

_SHOWN = 20
_SUSPECTS = 10


def inspect(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="A file or folder here, a pattern in quotes ('part-*.csv'), or a URI (s3://, gs://, hf://).",
        ),
    ],
    task: Annotated[str | None, typer.Option(help="Look at it as this task; left out, the one that fits.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="ROLE=NAME, as in data.columns; may be repeated.")] = None,
    claims: Annotated[Path, typer.Option(help="The folder that stands for a cluster's claims.")] = Path(),
) -> None:
    """Show what would be read: rows, columns, types, labels, problems, and the task that fits."""
    roles = _roles(column or [])
    if task is not None and task not in TASKS:
        raise UsageError(f"unknown task {task}{did_you_mean(task, TASKS)}")
    source = _source(data)
    require("trainer")
    from autoglm_trainer.errors import TrainerError
    from autoglm_trainer.rows.door import read_records
    from autoglm_trainer.rows.inspection import inspect as inspect_rows
    from autoglm_trainer.rows.picture_inspection import inspect_pictures

    locate = partial(locate_rows, claims_root=claims, credentials={})
    try:
        records = read_records(source, locate)
        found = inspect_rows(records)
    except TrainerError as error:
        raise CliError(str(error)) from error
    _refuse_unknown(roles, TASKS[task] if task else None, {*found.columns, *found.records.pictures})
    chosen, named = _task(found, TASKS[task] if task else None, roles)
    print_sections(_sections(data[0], found, chosen, named))
    if chosen is None:
        return
    try:
        if chosen.name == "image-classification":
            _show_pictures(inspect_pictures(records, locate, named), records.passed_over)
        else:
            print_sections(_problems(chosen, records, named))
    except TrainerError as error:
        raise CliError(f"{chosen.name} cannot read it: {error}") from error


def _source(data: list[str]) -> str:
    """The URI of what is named."""
    if len(data) > 1:
        told = f"{data[0]} and {len(data) - 1} more; name one, or several by a pattern in quotes, such as 'part-*.csv'"
        raise UsageError(told)
    if "://" in data[0]:
        return data[0]
    path = Path(data[0])
    if not path.exists():
        _check_pattern(data[0])
    uri = local_uri(path)
    if not files_here(uri, Path("/")):
        raise UsageError(f"{data[0]}: there is no such file")
    return uri


def _check_pattern(path: str) -> None:
    try:
        check_pattern(f"{FILE}{path}")
    except ValueError as error:
        raise UsageError(str(error)) from error


def _roles(given: list[str]) -> dict[str, str]:
    for one in given:
        if not all(one.partition("=")):
            raise UsageError(f"--column {one}: write ROLE=NAME, such as text=review")
    return {role: name for role, _, name in (one.partition("=") for one in given)}


def _refuse_unknown(roles: Mapping[str, str], task: TaskDeclaration | None, columns: Collection[str]) -> None:
    """A role that no task has, or a column that the rows have not, would only be passed over."""
    known = task.columns if task else dict.fromkeys(role for each in TASKS.values() for role in each.columns)
    for role, name in roles.items():
        if role not in known:
            asked = f"{task.name} has" if task else "no task has"
            no = "no " if task else "a "
            raise UsageError(f"--column {role}={name}: {asked} {no}column {role}{did_you_mean(role, known)}")
        if name not in columns:
            raise UsageError(f"--column {role}={name}: the rows have no column {name}{did_you_mean(name, columns)}")


def _task(
    found: Inspection, task: TaskDeclaration | None, roles: Mapping[str, str]
) -> tuple[TaskDeclaration | None, dict[str, str]]:
    """The task that is asked for, or whose columns are there; and its role → column."""
    if found.records.format == "CoNLL" and task is None:
        task = TASKS["token-classification"]
    if task is None:
        wanted = {**recognised_roles(TASKS, found.columns), **roles}
        task = next((each for each in TASKS.values() if wanted and _fits(each, wanted, roles, found.columns)), None)
        if (task is None or task.wide) and not roles and _of_a_graph(found.columns.keys()):
            task = TASKS["node-classification"]
    if task is None:
        return None, {}
    try:
        return task, task.named_columns(roles)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _fits(task: TaskDeclaration, wanted: Mapping[str, str], roles: Mapping[str, str], columns: Collection[str]) -> bool:
    """Whether a task knows the roles, and what it is asked with is there; a table is asked with all other columns."""
    if task.sources or not wanted.keys() <= task.columns.keys():
        return False
    return all((roles.get(role) or task.columns[role].default) in columns for role in task.asked)


def _of_a_graph(columns: AbstractSet[str]) -> bool:
    """Whether these are the columns of edges, or nodes with more to them than a name and a label."""
    edges = {"source", "target"} <= columns <= {"source", "target", "weight"}
    return edges or ({"id", "label"} <= columns and bool(columns & {"words", "split"}))


def _sections(
    data: str, found: Inspection, task: TaskDeclaration | None, named: Mapping[str, str]
) -> Iterator[Section]:
    yield data, [("read as", found.records.read_as), ("rows", f"{found.count:,}")]
    described = {name: _described(column, found.count) for name, column in found.columns.items()}
    yield "Columns", [*(described | dict.fromkeys(found.records.pictures, "pictures")).items()]
    if task is None:
        from autoglm_trainer.rows.delimited import HEADLESS

        told = "none of the known columns is there; name yours: --column text=NAME --column label=NAME"
        told = HEADLESS if found.records.headless else told
        yield "Task", [("task: auto", f"finds no task: {told}")]
        return
    from autoglm_trainer.rows.inspection import answer_column, columns_of

    there = columns_of(found.records, named)
    told = ", ".join(f"{role} = {name}" for role, name in there.items() if name in found.columns)
    yield "Task", [("task", f"{task.name}: {task.summary}"), ("columns", told or "none of its own are there")]
    answers = answer_column(task, there)
    if answers is not None and answers in found.columns:
        values = found.columns[answers].values
        more = [("…", f"{len(values) - _SHOWN:,} more")] if len(values) > _SHOWN else []
        shown = [(value[:60] if value.strip() else repr(value), f"{n:,}") for value, n in values.most_common(_SHOWN)]
        yield f"Labels ({answers})", [*shown, *more]


def _described(column: Column, count: int) -> str:
    from autoglm_trainer.rows.inspection import MOST_DISTINCT

    told = [column.kind]
    if column.missing:
        told.append(f"{column.missing:,} missing ({column.missing / max(1, count):.0%})")
    distinct = len(column.values)
    told.append(f"{distinct:,}{' or more' if distinct >= MOST_DISTINCT else ''} different")
    if column.kind in ("number", "whole number") and column.lowest <= column.highest:
        told.append(f"{column.lowest:,.10g} to {column.highest:,.10g}")
    if column.shortest is not None and column.kinds.keys() & {"text", "list"}:
        unit = "elements" if column.kinds.keys() == {"list"} else "characters"
        mean = column.total / max(1, count - column.missing)
        told.append(f"{column.shortest:,} to {column.longest:,} {unit}, {mean:,.0f} on average")
    return ", ".join(told)


def _problems(task: TaskDeclaration, records: Records, named: Mapping[str, str]) -> Iterator[Section]:
    """What cleaning would change, labels that contradict each other, and labels that a simple model doubts."""
    from autoglm_trainer.rows.inspection import conflicts, read_for
    from autoglm_trainer.rows.texts import LabelledText

    if task.wide and not task.sources:
        from autoglm_trainer.tables.inspection import inspect_table

        columns, problems = inspect_table(task, records, named)
        yield "Learned from", columns
        yield "Problems", problems or [("none", "the rows can be learned from")]
        return
    rows, changes = read_for(task, records, named)
    found = _changes(changes)
    for place, said in conflicts(rows)[:_SUSPECTS]:
        found.append(("one text, two labels", f"{_short(place)}, {said}"))
    if len(rows) and all(isinstance(row, LabelledText) and not row.several for row in rows):
        from autoglm_trainer.baselines.suspects import suspects

        for each in suspects(rows, _SUSPECTS):
            told = f"{each.label}; by the other rows {each.suggested} ({each.confidence:.0%})"
            found.append(("label in doubt", f"{_short(each.place)}: {each.text[:60]!r} is {told}"))
    yield "Problems", found or [("none", "cleaning would change nothing")]


def _changes(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """What cleaning would do, and the first row that it would befall."""
    found = []
    for change in changes:
        place, said = change.examples[0]
        counted = f"{change.count:,} {'row' if change.count == 1 else 'rows'}"
        found.append((change.what, f"{counted}; first {_short(place)}: {said}"))
    return found


def _short(place: str) -> str:
    return place.rsplit("/", 1)[-1]


def _show_pictures(found: Pictures, passed_over: int) -> None:
    """Sizes and problems.

    Raises:
        CliError: a study would refuse some of them.
    """
    print_sections(_pictures(found, passed_over))
    if found.broken:
        count = len(found.broken) + sum(found.sizes.values())
        raise CliError(f"image-classification cannot read it: {len(found.broken):,} of {count:,} pictures are refused")


def _pictures(found: Pictures, passed_over: int) -> Iterator[Section]:
    from autoglm_trainer.rows.inspection import conflicts

    told = [(f"{width} x {height}", f"{count:,}") for (width, height), count in found.sizes.most_common(_SUSPECTS)]
    more = [("…", f"{len(found.sizes) - _SUSPECTS:,} more")] if len(found.sizes) > _SUSPECTS else []
    grey = sum(picture.grey for picture in found.rows)
    yield "Pictures", [("grey", f"{grey:,}"), ("in colours", f"{len(found.rows) - grey:,}"), *told, *more]
    problems = [("cannot be read", sentence) for sentence in found.broken[:_SUSPECTS]]
    if len(found.broken) > _SUSPECTS:
        problems.append(("…", f"{len(found.broken) - _SUSPECTS:,} more"))
    problems += _changes(found.changes)
    problems += [("one picture, two labels", f"{name}: {said}") for name, said in conflicts(found.rows)]
    if singles := found.singles:
        problems.append(("labels of one picture", f"{', '.join(singles[:_SHOWN])}: trained on, never held out"))
    if passed_over:
        problems.append(("passed over", f"{passed_over:,} files that are hidden or no images"))
    yield "Problems", problems or [("none", "cleaning would change nothing")]

"""What a study would make of a table, before there is a study: what columns are taken for, answers that it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import JsonValue

from autoglm_api.catalog import TaskDeclaration
from autoglm_api.tables.cells import as_number, as_text, is_missing, quoted
from autoglm_trainer.rows.records import Records

from .detection import described, detect_columns

# Kinds are told from so many of the first rows, so that memory stays small.
SEEN = 10_000
Told = list[tuple[str, str]]


def inspect_table(task: TaskDeclaration, records: Records, named: Mapping[str, str]) -> tuple[Told, Told]:
    """Each column and what it would be taken for; each problem and where it is.

    Args:
        task: one that learns from any number of columns.
        records: the rows.
        named: role → column.

    Raises:
        DataError: they cannot be read.
    """
    (role,) = (role for role, column in task.columns.items() if column.answer)
    answer = named[role]
    apart = {answer, named.get("entity")}
    cells: dict[str, list[JsonValue]] = {name: [] for name in records.columns if name not in apart}
    answers = _Answers(is_class=role == "label")
    for number, row in records:
        answers.add(records.where(number), row.get(answer))
        if answers.count <= SEEN:
            for name, column in cells.items():
                column.append(row.get(name))
    kept, dropped = detect_columns(cells)
    columns = [(column.name, described(column)) for column in kept]
    return [*columns, *((each.name, f"left out: {each.why}") for each in dropped)], answers.problems(answer)


class _Answers:
    """The column of what is to be found, row by row."""

    def __init__(self, *, is_class: bool) -> None:
        self.is_class = is_class
        self.count = 0
        self.known: Counter[str | float] = Counter()
        self.wrong: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, where: str, value: JsonValue) -> None:
        self.count += 1
        found = as_text(value) if self.is_class else as_number(value)
        if is_missing(value):
            self._note("is missing", where)
        elif found is None:
            self._note("is of the wrong kind", f"{where}: {quoted(value)}")
        elif self.is_class or len(self.known) < 2:  # of numbers it matters only whether they differ
            self.known[found] += 1

    def _note(self, what: str, where: str) -> None:
        self.wrong[what] += 1
        self.first.setdefault(what, where)

    def problems(self, name: str) -> Told:
        wanted = "a text, a number or a boolean" if self.is_class else "a number"
        told = [
            (f"{name!r} {what}", f"{count:,} rows; first {_short(self.first[what])}; each row needs {wanted}")
            for what, count in self.wrong.items()
        ]
        if len(self.known) == 1:
            told.append(("nothing to learn", f"{name!r} is always {next(iter(self.known))!r}"))
        rare = [str(value) for value, count in self.known.items() if count == 1 and self.is_class]
        if rare and len(self.known) > 1:
            told.append(("classes of a single row", f"{', '.join(rare[:10])}: never judged on where rows are held out"))
        return told


def _short(place: str) -> str:
    return place.rsplit("/", 1)[-1]

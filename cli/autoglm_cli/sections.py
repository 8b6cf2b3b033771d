"""How commands print: titles with rows of a name and a value, and tables that stay readable wherever they go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Section = tuple[str, list[tuple[str, str]]]
Columns = Mapping[str, Literal["left", "right"]]
"""A table's titles, and where its cells stand."""
Row = tuple[Sequence[str], str]
"""Cells, and the style of them all."""

_WIDEST = 100_000
_INDENT = 7


def print_sections(sections: Iterable[Section]) -> None:
    """Each section with an empty line after it."""
    console = Console(highlight=False)
    for title, rows in sections:
        console.print(Text(title, style="bold"), soft_wrap=True)
        table = Table.grid(padding=(0, 3, 0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(name), Text(value))
        _print_whole(console, table)
        console.print()


def print_table(console: Console, columns: Columns, rows: Sequence[Row]) -> None:
    """A row a line: in a pipe or a file always, at a terminal if it is wide enough.

    At a narrow one the last column, which says most, stands below each row; if that does not help, each cell has a line
    of its own. No word is cut in two that would find room on a line.
    """
    rows = [([" ".join(cell.splitlines()) for cell in cells], style) for cells, style in rows]
    table, titles = _table(columns, rows), [*columns]
    but_last = {title: columns[title] for title in titles[:-1]}
    first = _table(but_last, [(cells[:-1], style) for cells, style in rows])
    if not console.is_terminal or _width(console, table) <= console.width:
        _print_whole(console, table)
    elif _width(console, first) <= console.width:
        lines = ["".join(segment.text for segment in line).rstrip() for line in console.render_lines(first, pad=False)]
        console.print(Text(lines[0], style="bold"))
        for line, (cells, style) in zip(lines[1:], rows, strict=True):
            console.print(Text(line, style=style))
            if cells[-1]:
                console.print(Padding(Text(cells[-1], style=style), (0, 0, 0, _INDENT)))
    else:
        for cells, style in rows:
            _print_one_by_one(console, titles, cells, style)


def _table(columns: Columns, rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title, side in columns.items():
        table.add_column(title, justify=side, overflow="fold")
    for cells, style in rows:
        table.add_row(*map(Text, cells), style=style)
    return table


def _print_one_by_one(console: Console, titles: Sequence[str], cells: Sequence[str], style: str) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(style=style, overflow="fold")
    for title, cell in zip(titles, cells, strict=True):
        if cell:
            grid.add_row(title, Text(cell))
    console.print(grid)
    console.print()


def _print_whole(console: Console, table: Table) -> None:
    """At a terminal as wide as that is; elsewhere as wide as its content, without blanks at the ends of lines."""
    if console.is_terminal:
        console.print(table)
        return
    wide = console.options.update(width=_width(console, table))
    for line in console.render_lines(table, wide, pad=False):
        console.print(Text("".join(segment.text for segment in line).rstrip()), soft_wrap=True)


def _width(console: Console, table: RenderableType) -> int:
    return Measurement.get(console, console.options.update(width=_WIDEST), table).maximum

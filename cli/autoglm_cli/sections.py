"""What `plan` and `tasks` print: titles, and rows of a name and a value below each."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

Section = tuple[str, list[tuple[str, str]]]


def print_sections(sections: Iterable[Section]) -> None:
    """Each section with an empty line after it."""
    console = Console(highlight=False, soft_wrap=True)
    for title, rows in sections:
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 3, 0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(name), Text(value))
        console.print(table)
        console.print()

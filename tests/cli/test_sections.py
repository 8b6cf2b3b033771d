"""Tables that stay readable in pipes and at narrow terminals."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from autoglm_cli.sections import Columns, Row, print_sections, print_table

COLUMNS: Columns = {
    "TRIAL": "right",
    "F1_MACRO": "right",
    "LATENCY_P95_MS": "right",
    "ACCURACY": "right",
    "STATE": "left",
    "PARAMETERS": "left",
}
ROWS: list[Row] = [
    (("3", "0.9812", "12.07", "0.9133", "complete", "lora  learning_rate 0.004303  batch_size 32  max_length 24"), ""),
    (("4", "", "", "", "failed: no message", "head  head_c 0.1  max_length 128"), "dim"),
]
WORDS = [word for cells in ([*COLUMNS][:-1], *(cells for cells, _ in ROWS)) for cell in cells for word in cell.split()]


def lines(width: int, *, terminal: bool) -> list[str]:
    file = io.StringIO()
    print_table(Console(file=file, width=width, force_terminal=terminal, color_system=None), COLUMNS, ROWS)
    return file.getvalue().splitlines()


def test_in_a_pipe_every_row_is_a_line_that_ends_with_its_last_word() -> None:
    head, first, second = lines(80, terminal=False)
    assert head.split() == [*COLUMNS]
    assert first.endswith("complete            lora  learning_rate 0.004303  batch_size 32  max_length 24")
    assert second.endswith("failed: no message  head  head_c 0.1  max_length 128")


def test_at_a_wide_terminal_it_is_the_same_table() -> None:
    assert [line.rstrip() for line in lines(140, terminal=True)] == lines(80, terminal=False)


def test_at_a_narrow_terminal_the_parameters_stand_below_their_row() -> None:
    told = lines(80, terminal=True)
    assert [line.split()[0] for line in told] == ["TRIAL", "3", "lora", "4", "head"]
    assert told[1].split() == ["3", "0.9812", "12.07", "0.9133", "complete"]


@pytest.mark.parametrize("width", [32, 48, 80, 100, 120])
def test_no_word_is_ever_cut(width: int) -> None:
    told = lines(width, terminal=True)
    assert all(len(line.rstrip()) <= width for line in told)
    seen = " ".join(told).split()
    assert all(word in seen for word in WORDS)


def test_what_plan_says_is_not_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    value = "a sentence of more than eighty characters, which people look for by grep in what was told"
    print_sections([("Study", [("task", value), ("trials", "at most 2")])])
    assert capsys.readouterr().out == f"Study\ntask     {value}\ntrials   at most 2\n\n"

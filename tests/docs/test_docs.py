"""Documents that cannot rot: links, commands, options, YAML and tables are held to the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from autoglm_api.conditions import Reason
from autoglm_api.exits import MAX_FREE_ATTEMPTS, Cause, ExitCode
from autoglm_cli.checks import check
from autoglm_cli.documents import parse
from autoglm_cli.errors import BusyError, CliError, InterruptedRunError, SpecChangedError, UsageError
from autoglm_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
PAGES = [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))
OWN_PAGES = [page for page in PAGES if page.parent.name != "reference" or page.name == "cli.md"]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]

pages = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def console_lines(page: Path) -> list[str]:
    return [line.split(" #")[0].strip() for block in blocks(page, "console") for line in block.splitlines() if line]


def options_of(command: str) -> set[str]:
    named = {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in named if name.startswith("-")} - {"--help"}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", page.read_text())
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    missing = [target for target in local if target and not (page.parent / target).exists()]
    assert missing == []


@pages
def test_yaml_of_ours_is_valid(page: Path) -> None:
    for block in blocks(page, "yaml"):
        for document in parse(block, str(page)):
            if isinstance(document.data, dict) and "spec" in document.data:
                assert [problem.sentence for problem in check(document).problems] == []


@pytest.mark.parametrize("page", OWN_PAGES, ids=[str(page.relative_to(ROOT)) for page in OWN_PAGES])
def test_commands_exist_with_their_options_and_files(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in console_lines(page):
        program, *arguments = shlex.split(line)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), line
        if program == "autoglm":
            assert arguments[0] in COMMANDS, line
            assert {word for word in arguments[1:] if word.startswith("-")} <= options_of(arguments[0]), line
        for word in arguments:
            if word.startswith(("examples/", "charts/")):
                assert (ROOT / word).exists(), line


def test_make_targets_in_running_text_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([a-z0-9-]+)`", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def sections() -> dict[str, str]:
    text = (ROOT / "docs/reference/cli.md").read_text()
    parts = re.split(r"^## autoglm (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_command_line_reference_has_every_command() -> None:
    assert set(sections()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_reference_has_exactly_the_options(command: str) -> None:
    rows = [row.split("|")[1] for row in sections()[command].splitlines() if row.startswith("| `-")]
    assert {name for row in rows for name in re.findall(r"`(-[^`]+)`", row)} == options_of(command)


def test_exit_codes_of_the_command_line_are_documented() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    raised = {error.exit_code for error in (CliError, UsageError, BusyError, SpecChangedError, InterruptedRunError)}
    assert documented == {0} | raised


def test_every_cause_is_explained() -> None:
    table = (ROOT / "docs/concepts.md").read_text()
    rows = {row.split("|")[1]: row for row in table.splitlines() if row.startswith("| `")}
    named = {name: row for cell, row in rows.items() for name in re.findall(r"`(\w+)`", cell)}
    assert set(named) == set(Cause)
    for cause in Cause:
        assert ("free" in named[cause]) == cause.free, cause
        assert ("attempt" in named[cause].rsplit("|", 2)[1]) == cause.retryable, cause
    assert f"up to {MAX_FREE_ATTEMPTS}" in table


def test_exit_codes_of_workers_are_documented() -> None:
    text = (ROOT / "docs/design/0002-protocols.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == set(ExitCode)


def test_the_runbook_knows_every_reason_for_trouble() -> None:
    table = (ROOT / "docs/reference/conditions.md").read_text()
    degraded = [row for row in table.splitlines() if row.startswith("|") and row.rstrip().endswith("Degraded |")]
    reasons = {
        reason
        for row in degraded
        for reason in re.findall(r"(?:Ready|Stalled|Failed|StorageReady)=(?:True|False)/(\w+)", row)
    } - {Reason.CONNECTED, Reason.SERVING, Reason.ROLLING_OUT}
    assert reasons, "the table of states has no Degraded row"
    runbook = (ROOT / "docs/runbook.md").read_text()
    assert sorted(reason for reason in reasons if f"`{reason}`" not in runbook) == []


def test_readme_says_first_which_project_this_is() -> None:
    first = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert "operator" in first
    assert "not" in first
    assert "phone agent" in first


def test_typer_is_what_is_documented() -> None:
    assert isinstance(app, typer.Typer)

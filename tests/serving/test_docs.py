"""docs/reference/serving.md says what the server does: its metrics, codes and variables, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import autoglm_serving
from autoglm_api import environment
from autoglm_serving import main
from autoglm_serving.metrics import ServerMetrics

DOCS = (Path(__file__).parents[2] / "docs" / "reference" / "serving.md").read_text()
SOURCES = "".join(path.read_text() for path in Path(autoglm_serving.__file__).parent.rglob("*.py"))


def first_cells(heading: str) -> set[str]:
    """The code words in the first column of the table below a heading."""
    section = DOCS.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_every_metric_is_documented() -> None:
    collected = ServerMetrics(task="t", digest="d").registry.collect()
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in collected}
    assert first_cells("Metrics") == names


def test_every_code_of_a_refusal_is_documented() -> None:
    raised = set(re.findall(r"Refused\(\s*\d+, \"(\w+)\"", SOURCES)) | set(
        re.findall(r"_error\(\d+, \"(\w+)\"", SOURCES)
    )
    section = DOCS.split("## Refusals\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| \d+ \| `(\w+)`", section, re.MULTILINE))
    assert documented == raised | {"NotFound", "MethodNotAllowed"}


def test_every_variable_is_documented() -> None:
    used = set(re.findall(r"\benv\.([A-Z_]+)", (Path(main.__file__)).read_text()))
    ours = {getattr(environment, name) for name in used if not name.startswith("DEFAULT_")}
    assert first_cells("Environment") == ours | {main.HOST, main.PORT, main.DRAIN_SECONDS, main.FINISH_SECONDS}

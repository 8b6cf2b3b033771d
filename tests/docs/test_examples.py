"""Every example is valid, and says what it is for."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from autoglm_api.study import StudySpec
from autoglm_cli.checks import local_sources
from autoglm_cli.documents import parse
from autoglm_cli.sources import resolve
from autoglm_cli.validate import examine

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


@examples
def test_example_is_valid(example: Path) -> None:
    verdict = examine(str(example))
    assert [finding.sentence for finding in verdict.findings if not finding.warning] == []


@examples
def test_example_begins_with_what_it_is_for(example: Path) -> None:
    assert example.read_text().startswith("# ")


@examples
def test_local_data_of_examples_are_shipped_or_its_first_lines_make_them(example: Path) -> None:
    told = " ".join(line for line in example.read_text().splitlines() if line.startswith("#"))
    for checked in examine(str(example)).checked:
        if isinstance(checked.spec, StudySpec):
            missing = [uri for _, uri in local_sources(checked.spec) if not resolve(uri, example.parent).exists()]
            unexplained = [uri for uri in missing if f" examples/{uri.removeprefix('file://')} " not in f"{told} "]
            assert unexplained == []


def test_the_examples_cover_what_the_readme_promises() -> None:
    text = {example.name: example.read_text() for example in EXAMPLES}
    assert len(text["smallest.yaml"].splitlines()) < 20
    assert "storage:" in text["s3-postgres.yaml"]
    assert "tolerations:" in text["glm4-lora-gpu.yaml"]
    assert "nodeSelector:" in text["glm4-lora-gpu.yaml"]
    assert "nvidia.com/gpu:" in text["glm4-qlora-gpu.yaml"]
    assert text["endpoint.yaml"].count("kind: AutoGLMStudy") == 2


@pytest.mark.parametrize("name", ["values-namespaced.yaml", "argocd-application.yaml"])
def test_installation_examples_use_values_that_the_chart_has(name: str) -> None:
    (document,) = parse((ROOT / "examples/install" / name).read_text(), name)
    assert isinstance(document.data, dict)
    data = document.data
    values = data if name.startswith("values") else data["spec"]["source"]["helm"]["valuesObject"]
    (defaults,) = parse((ROOT / "charts/autoglm/values.yaml").read_text(), "values.yaml")
    assert _unknown(values, defaults.data) == []


def _unknown(values: object, defaults: object, path: str = "") -> list[str]:
    if not isinstance(values, dict) or not isinstance(defaults, dict):
        return []
    found = [f"{path}{key}" for key in values if key not in defaults]
    return found + [name for key in values for name in _unknown(values[key], defaults.get(key), f"{path}{key}.")]


def test_a_tiny_glm_is_made_from_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "\n".join(json.dumps({"text": text}) for text in ("退款还没到", "包裹到哪了", "怎么退款", "包裹丢了"))
    )
    script = str(ROOT / "examples/make_tiny_glm.py")
    monkeypatch.setattr(sys, "argv", [script, str(rows), str(tmp_path / "glm")])
    runpy.run_path(script, run_name="__main__")  # in this process, which has PyTorch in memory by now
    config = json.loads((tmp_path / "glm/config.json").read_text())
    assert config["model_type"] == "glm"
    assert (tmp_path / "glm/model.safetensors").is_file()
    assert (tmp_path / "glm/tokenizer.json").is_file()

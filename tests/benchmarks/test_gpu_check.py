"""The check of a GPU: it runs on a CPU at a tiny size, and says so where there is none. `e2e` runs its workers too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks import gpu_check, method_costs, packing
from benchmarks.method_costs import Cost
from benchmarks.packing import Shared

from autoglm_api.catalog import METHODS


def test_without_a_gpu_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "sees no GPU here" in told.err


def test_every_method_is_measured_and_one_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {name: METHODS[name] for name in ("head", "lora", "qlora", "full")}
    monkeypatch.setattr(method_costs, "METHODS", {**chosen, "magic": METHODS["lora"]})
    assert gpu_check.main(["--small", "--only", "methods", "--json", str(tmp_path / "out.json")]) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    *found, magic = written["methods"]
    assert [each["method"] for each in found] == list(chosen)
    assert all(each["per_second"] > 0 and each["peak"] > 0 and each["estimated"] > 0 for each in found)
    head, lora, qlora, full = (each["trained"] for each in found)
    assert head < lora == qlora < full == written["parameters"] + head
    assert all(each["differs"] < 1e-4 for each in found)
    assert "unknown method 'magic'" in magic["trouble"]
    assert "packing" not in written
    table = capsys.readouterr().out
    assert table.count("\n| ") == len(found) + 2
    assert "GLM of" in table


def test_tables_compare_with_the_estimate_and_with_one_worker() -> None:
    costs = [
        Cost("lora", trained=1_000, per_second=80.0, peak=2**31, estimated=3 * 2**30, differs=0.01),
        Cost("full", trouble="no"),
    ]
    lines = method_costs.markdown(costs, method_costs.Batch(8, 256, 10)).splitlines()
    assert lines[-2:] == ["| lora | 1,000 | 80.0 | 2.00 | 3.00 | 1.50 | 0.01 |", "| full | no |"]
    shared = [Shared(1, 4, 60.0, 2**32), Shared(2, 8, 80.0, 2**33)]
    lines = packing.markdown(shared, packing.Work(4, 128, 128)).splitlines()
    assert lines[-2:] == ["| 1 | 240 | 1.00x | 4.0 |", "| 2 | 360 | 1.50x | 8.0 |"]

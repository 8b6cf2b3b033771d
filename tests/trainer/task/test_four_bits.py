"""`qlora`: weights of 4 bits while it trains, whole ones before, after and in what is exported; and its refusals."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit
from tests.trainer.task.making import Control, make_places, make_run, write_model, write_rows
from torch import nn

from autoglm_api.catalog import METHODS
from autoglm_trainer.errors import SpecError
from autoglm_trainer.methods import check_methods, get_method
from autoglm_trainer.methods.qlora import QLora
from autoglm_trainer.model.four_bits import BYTES, dequantised, quantised
from autoglm_trainer.model.weights import placed
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned

QLORA: dict[str, Any] = {"method": "qlora", "lora_r": 4, "epochs": 1, "batch_size": 16}
CPU = torch.device("cpu")

Load = Callable[[str], LoadedTuned]


@pytest.fixture(scope="module")
def task(load: Load) -> LoadedTuned:
    return load("bert")


def small_layers(module: nn.Module) -> list[Linear4bit]:
    return [layer for layer in module.modules() if isinstance(layer, Linear4bit)]


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_four_bits_computes_as_the_layer_it_stands_for(bias: bool) -> None:
    dense = nn.Linear(128, 48, bias=bias)
    before = dense.weight.clone()
    small = quantised(dense, CPU, torch.float32)
    texts = torch.randn(5, 128)
    assert small.weight.nbytes == dense.weight.nbytes // 8
    assert torch.allclose(dequantised(small)(texts), small(texts), atol=1e-5)
    assert not torch.equal(dequantised(small)(texts), dense(texts))
    assert torch.equal(dense.weight, before)
    assert not any(parameter.requires_grad for parameter in small.parameters())
    with pytest.raises(TypeError, match="got a Linear"):
        dequantised(dense)


def test_every_linear_layer_has_four_bits_in_training_and_its_own_again_afterwards(task: LoadedTuned) -> None:
    clean = {name: value.clone() for name, value in task.base.clean().state_dict().items()}
    dense = sum(isinstance(module, nn.Linear) for module in task.base.backbone.modules())
    fitted = task.fit(QLORA, Control())
    assert len(small_layers(fitted.network)) == dense
    after = task.base.clean().state_dict()
    assert after.keys() == clean.keys()
    assert all(torch.equal(value, clean[name]) for name, value in after.items())
    assert not small_layers(task.base.backbone)


def test_numbers_of_four_bits_are_counted_as_numbers(task: LoadedTuned) -> None:
    sizes = [task.fit({**QLORA, "method": method}, Control()).sizes for method in ("qlora", "lora")]
    assert sizes[0] == sizes[1]


def test_latency_is_that_of_the_model_as_it_will_serve(task: LoadedTuned, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = task.fit(QLORA, Control())
    before, seen = np.concatenate(fitted.logits("test")), []
    forward = Linear4bit.forward
    monkeypatch.setattr(Linear4bit, "forward", lambda *given: seen.append(1) or forward(*given))
    task.latencies.clear()
    assert fitted.latency("test") > 0
    assert not seen
    fitted._logits.clear()
    assert np.array_equal(np.concatenate(fitted.logits("test")), before)
    assert seen


def test_a_latency_for_which_a_gpu_has_no_room_is_not_measured(
    task: LoadedTuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    fitted = task.fit(QLORA, Control())
    before = np.concatenate(fitted.logits("test"))
    task.latencies.clear()
    with monkeypatch.context() as patch:
        patch.setattr("autoglm_trainer.model.pretrained.copy.deepcopy", no_room)
        assert np.isnan(fitted.evaluate("test")["latency_p95_ms"])
    fitted._logits.clear()
    assert np.array_equal(np.concatenate(fitted.logits("test")), before), "adapters and 4 bits are in place again"
    task.latencies.clear()


def test_the_estimate_has_four_bits_beside_the_weights_on_a_cpu_and_in_their_place_on_a_gpu(task: LoadedTuned) -> None:
    base, settings = task.base, task.problem.settings(QLORA)
    base.clean()
    weights = [module.weight for module in base.backbone.modules() if isinstance(module, nn.Linear)]
    packed, largest = BYTES * sum(map(torch.numel, weights)), max(weight.nbytes for weight in weights)
    assert QLora().footprint(base, settings).held == int(packed + largest)
    device, base.device = base.device, torch.device("cuda")
    try:
        spared = sum(weight.nbytes for weight in weights)
        assert QLora().footprint(base, settings).held == int(packed + largest) - spared < 0
    finally:
        base.device = device
    both = [task.estimate({**QLORA, "method": method}) for method in ("qlora", "lora")]
    assert both[0].needed - both[1].needed == int(packed + largest)  # type: ignore[union-attr]


def test_a_model_that_a_gpu_cannot_hold_stays_in_the_hosts_memory() -> None:
    asked = []

    class Big(nn.Linear):
        def to(self, device: Any) -> Any:  # type: ignore[override]
            asked.append(str(device))
            if asked[-1] == "cuda":
                raise torch.OutOfMemoryError
            return super().to(device)

    big = Big(2, 2)
    assert placed(big, torch.device("cuda")) is big
    assert asked == ["cuda", "cpu"], "what is there already comes back"


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_adapters_have_32_bits_on_a_model_of_16(load: Load, method: str) -> None:
    task = load("glm")
    task.base.backbone.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        fitted = task.fit({**QLORA, "method": method}, Control())
    assert {value.dtype for value in fitted.weights.values()} == {torch.float32}
    assert next(task.base.backbone.parameters()).dtype == torch.bfloat16


def test_a_model_that_writes_is_exported_with_what_four_bits_stand_for(tmp_path: Path) -> None:
    rows = [{"prompt": f"the {word} sky", "answer": f"so {word}"} for word in ("red", "green", "blue", "deep")] * 4
    run = make_run(
        f"file://{write_model(tmp_path / 'model', 'glm-causal')}",
        write_rows(tmp_path / "rows.jsonl", rows),
        task="text-generation",
        objectives=[{"metric": "loss", "direction": "Minimize"}],
        data={"validation": {"source": write_rows(tmp_path / "validation.jsonl", rows[:4])}},
    )
    loaded = get_task(run.task).load(run, make_places(tmp_path))
    fitted: Any = loaded.fit({**QLORA, "learning_rate": 1e-2, "max_new_tokens": 4}, Control())
    (tmp_path / "exported").mkdir()
    fitted.export(tmp_path / "exported")
    assert (tmp_path / "exported" / "model.safetensors").is_file()


def test_without_a_gpu_it_is_refused_before_anything_is_loaded_and_when_it_is_built(
    task: LoadedTuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match=r"method: qlora needs a GPU.*nvidia\.com/gpu"):
        check_methods(["lora", "qlora"])
    monkeypatch.setattr(QLora, "devices", ("cuda",))
    with pytest.raises(SpecError, match="qlora needs a GPU, and there is none here; use lora"):
        task.fit(QLORA, Control())
    task.fit({**QLORA, "method": "lora"}, Control())


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without the extra."""
    kept = {name: sys.modules.pop(name) for name in [*sys.modules] if "four_bits" in name or name.endswith(".qlora")}
    plain = builtins.__import__

    def refuse(name: str, *given: Any, **more: Any) -> Any:
        if name.startswith("bitsandbytes"):
            raise ImportError(f"No module named {name!r}")
        return plain(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr("autoglm_trainer.methods.resolve", _anew)
    yield
    sys.modules.update(kept)


def _anew(reference: str) -> Any:
    from autoglm_api.plugins import resolve

    return resolve.__wrapped__(reference)


@pytest.mark.usefixtures("without_library")
def test_without_its_library_the_sentence_says_how_to_get_it() -> None:
    with pytest.raises(SpecError, match=r"needs bitsandbytes: pip install 'open-autoglm\[trainer-gpu\]'"):
        get_method("qlora")
    assert METHODS["qlora"].needs_gpu
    get_method("lora")

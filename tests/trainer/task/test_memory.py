"""The estimate of a trial's memory: against what real training took, and what it says of the knobs."""

from __future__ import annotations

import ctypes
import gc
import json
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainer.task.drawing import write_folder
from tests.trainer.task.making import WORDS, Control, make_places, make_run, write_rows, write_tokenizer
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    GlmConfig,
    GlmModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from autoglm_trainer.model.memory import Pass, Shape, inference_bytes, resident_bytes
from autoglm_trainer.model.network import encode
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.picturing import LoadedPictures
from autoglm_trainer.tuning.task import LoadedTuned

FACTOR = 1.5
SIZES = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 500}
VIT = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
STATUS = Path("/proc/self/status")


class Brief(Control):
    """Two steps, of which the second is the fullest."""

    def heartbeat(self) -> None:
        super().heartbeat()
        if self.beats == 2:
            raise InterruptedError


def peak_bytes() -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedTuned]:
    folder = tmp_path_factory.mktemp("memory")
    rows = [
        {"text": " ".join(WORDS[(row * 7 + word) % 15] for word in range(62)), "label": "ab"[row % 2]}
        for row in range(80)
    ]

    def load(architecture: str) -> LoadedTuned:
        torch.manual_seed(0)
        model: Any = (
            BertModel(BertConfig(**SIZES, intermediate_size=1024))
            if architecture == "bert"
            else GlmModel(GlmConfig(**SIZES, intermediate_size=768, num_key_value_heads=2, head_dim=64, pad_token_id=0))
        )
        model.save_pretrained(folder / architecture)
        write_tokenizer(folder / architecture)
        run = make_run(f"file://{folder / architecture}", write_rows(folder / "train.jsonl", rows))
        task = get_task(run.task).load(run, make_places(folder))
        assert isinstance(task, LoadedTuned)
        return task

    return load


def estimated_over_taken(task: LoadedTuned | LoadedPictures, point: dict[str, Any]) -> float:
    """What a training was said to take beside what is loaded, as a multiple of what the process really took."""
    estimate = task.estimate(point)
    assert estimate is not None
    task._free()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    with pytest.raises(InterruptedError):
        task.fit(point, Brief())
    return (estimate.needed - task.resident) / (peak_bytes() - before)


@pytest.mark.skipif(not STATUS.exists(), reason="the kernel does not tell a process's peak")
@pytest.mark.parametrize("architecture", ["bert", "glm"])
def test_what_training_takes_is_what_was_estimated_within_a_factor(
    loaded: Callable[[str], LoadedTuned], architecture: str
) -> None:
    task, ratios = loaded(architecture), {}
    for method in ("full", "lora"):
        point = {"method": method, "batch_size": 16, "max_length": 64, "epochs": 1}
        ratios[method] = estimated_over_taken(task, point)
    assert all(1 / FACTOR < ratio < FACTOR for ratio in ratios.values()), ratios


GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 64, "pad_token_id": 0}


@pytest.mark.parametrize(
    "config",
    [
        GlmConfig(**{**GROUPED, "num_hidden_layers": 8}, intermediate_size=704),
        GlmConfig(**GROUPED, intermediate_size=128),
        BertConfig(**SIZES, intermediate_size=1024),
    ],
    ids=["glm of many layers", "glm of more attention", "bert"],
)
def test_a_pass_of_which_nothing_is_kept_takes_hardly_less_than_is_said(config: Any) -> None:
    model = AutoModel.from_config(config).eval()
    ids, mask = torch.ones(2, 32, 64, dtype=torch.long)
    mask[0, -1] = 0  # without padding some kernels take keys as they are
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        encode(model, ids, mask)
    events = sorted(watched.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    taken = max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))
    said = inference_bytes(Shape.of(config, ids.device, dropout=0), Pass(32, 64, 32, 2), half=False)
    assert 1 < said / taken < 1.25


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedPictures]:
    folder = tmp_path_factory.mktemp("pictures")
    source = write_folder(folder / "shapes", 48)

    @cache
    def load(architecture: str) -> LoadedPictures:
        torch.manual_seed(0)
        model: Any = (
            ResNetModel(ResNetConfig(embedding_size=32, hidden_sizes=[32, 64], depths=[2, 2], layer_type="basic"))
            if architecture == "resnet"
            else ViTModel(ViTConfig(**VIT, image_size=96, patch_size=8))
        )
        model.save_pretrained(folder / architecture)
        (folder / architecture / "preprocessor_config.json").write_text(json.dumps({"size": 96}))
        run = make_run(f"file://{folder / architecture}", source, task="image-classification")
        task = get_task(run.task).load(run, make_places(folder))
        assert isinstance(task, LoadedPictures)
        return task

    return load


@pytest.mark.skipif(not STATUS.exists(), reason="the kernel does not tell a process's peak")
@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_so_is_what_training_on_pictures_takes(pictures: Callable[[str], LoadedPictures], architecture: str) -> None:
    task = pictures(architecture)
    point = {"method": "full", "batch_size": 24, "epochs": 1}
    estimated_over_taken(task, point)  # at first libraries load what they need
    ratio = estimated_over_taken(task, point)
    assert 1 / FACTOR < ratio < FACTOR, ratio


def test_the_estimate_follows_what_the_memory_of_pictures_depends_on(
    pictures: Callable[[str], LoadedPictures],
) -> None:
    task = pictures("resnet")
    task._free()  # what another test has trained
    before = {name: value.clone() for name, value in task.base.backbone.state_dict().items()}

    def needed(**point: Any) -> int:
        estimate = task.estimate({"method": "full", "batch_size": 12, **point})
        assert estimate is not None
        return estimate.needed

    whole = needed()
    assert needed(batch_size=24) > whole > needed(method="unfreeze", unfrozen_layers=1) > task.resident
    assert needed(batch_size=24, accumulation=2) == whole
    assert needed(method="head") > task.resident
    assert needed(image_size=192) - whole > 48 * 3 * 192**2
    assert all(torch.equal(value, before[name]) for name, value in task.base.backbone.state_dict().items())


def test_the_estimate_follows_what_memory_depends_on(loaded: Callable[[str], LoadedTuned]) -> None:
    task = loaded("glm")

    def needed(**point: Any) -> int:
        estimate = task.estimate({"method": "lora", "batch_size": 32, "max_length": 64, **point})
        assert estimate is not None
        assert estimate.needed > task.resident > 0
        return estimate.needed

    whole = needed()
    assert needed(batch_size=64) > whole > needed(max_length=16)
    assert needed(accumulation=2, batch_size=64) == whole
    assert needed(method="full") - needed(method="unfreeze", unfrozen_layers=1) > 2 * 16 * 500_000
    assert needed(method="dora") > whole > needed(method="head")
    task.ranks.count = 2
    assert needed(batch_size=64) == 2 * whole, "both ranks are in one container"


def test_a_model_whose_config_tells_no_sizes_is_not_estimated(loaded: Callable[[str], LoadedTuned]) -> None:
    task = loaded("bert")
    config: Any = task.base.backbone.config
    written = json.loads(config.to_json_string())
    del written["num_attention_heads"]
    task.base.backbone.config = type("Config", (), {**written, "get_text_config": lambda self: self})()  # type: ignore[assignment]
    assert task.estimate({"method": "lora"}) is None

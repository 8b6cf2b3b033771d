"""Tiny models, written and loaded once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.trainer.task.making import colour_rows, make_places, make_run, write_model, write_rows

from autoglm_trainer.methods.qlora import QLora
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned


@pytest.fixture(scope="session", autouse=True)
def four_bits_on_a_cpu() -> Iterator[None]:
    """bitsandbytes computes with 4 bits on a CPU too, so the code that is meant for a GPU runs here as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QLora, "devices", ("cpu",))
        # A newer CPU would compute in 16 bits where nothing is trained, and repack the weights for it.
        patch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Architecture → folder of a tiny model."""
    known: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in known:
            known[architecture] = write_model(tmp_path_factory.mktemp(architecture), architecture)
        return known[architecture]

    return folder


@pytest.fixture(scope="session")
def load(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedTuned]:
    """Architecture → a task freshly loaded with colour rows, as a new process would have it."""
    folder = tmp_path_factory.mktemp("colours")
    train = write_rows(folder / "train.jsonl", colour_rows(60))
    test = write_rows(folder / "test.jsonl", colour_rows(30, start=100))

    def loaded(architecture: str) -> LoadedTuned:
        run = make_run(f"file://{model_folder(architecture)}", train, data={"test": {"source": test}})
        task = get_task("text-classification").load(run, make_places(folder))
        assert isinstance(task, LoadedTuned)
        return task

    return loaded

"""What this process makes results with: its libraries, its device, and the rows it has read."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version

from autoglm_api.attempts import Surroundings
from autoglm_trainer.contract import LoadedTask

_LIBRARIES = (
    "open-autoglm",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "onnxruntime",
    "scikit-learn",
    "lightgbm",
    "optuna",
)


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide what comes out."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def look_around(loaded: LoadedTask) -> Surroundings:
    """As they are now that `loaded` is in memory. A task without torch runs on the CPU, on one thread."""
    # The question alone is no reason to import torch; a task that needs it has it by now.
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available()
    return Surroundings(
        data=loaded.digests,
        versions=versions(),
        device=torch.cuda.get_device_name() if torch is not None and on_gpu else f"cpu {platform.machine()}",
        threads=torch.get_num_threads() if torch is not None else int(os.environ.get("OMP_NUM_THREADS", "1")),
    )

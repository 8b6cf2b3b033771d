"""What this machine has to share among workers: cores and GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from autoglm_api import environment as env


def cores() -> int:
    """Cores this process may use: the affinity mask, cut by a cgroup's quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        if limit != "max":
            available = min(available, max(1, int(limit) // int(period)))
    return available


def gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """NVIDIA GPUs by index, or those that CUDA_VISIBLE_DEVICES names."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name and name != "-1"]
    return sorted(entry.name.removeprefix("nvidia") for entry in devices.glob("nvidia[0-9]*"))


def share(slot: int, parallel: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of the worker in `slot` of `parallel`: its threads, and its GPU if there are any."""
    threads = max(1, cores() // parallel)
    found = gpus(environ)
    given = {
        env.CPU_LIMIT: str(threads),
        # More threads than cores make small matrices several times slower.
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        env.GPUS: "1" if found else "0",
    }
    if found and parallel > 1:
        given["CUDA_VISIBLE_DEVICES"] = found[slot % len(found)]
    return given

"""What a training goes on from: every number stands where the optimiser looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from autoglm_trainer.tuning.continuing import load_state, save_state

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize(("fused", "counted_on"), [(True, ELSEWHERE), (False, CPU)])
def test_steps_are_counted_where_the_optimisers_kernel_looks_for_them(
    tmp_path: Path, fused: bool, counted_on: torch.device
) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    save_state(tmp_path, optimizer, {"weight": weight}, CPU)

    moved = nn.Parameter(torch.ones(3, device=ELSEWHERE))
    resumed = torch.optim.AdamW([moved], fused=fused)
    load_state(tmp_path, resumed, {"weight": moved}, ELSEWHERE)
    devices = {kind: value.device for kind, value in resumed.state[moved].items()}
    assert devices == {"step": counted_on, "exp_avg": ELSEWHERE, "exp_avg_sq": ELSEWHERE}

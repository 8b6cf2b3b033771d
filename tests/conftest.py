"""Property tests draw the same examples in every run of the gate; `make fuzz` draws new ones, and more of them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW_MACHINES = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "gate", derandomize=True, database=None, deadline=None, max_examples=100, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile("fuzz", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

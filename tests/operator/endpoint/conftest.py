"""An endpoint for each test."""

from __future__ import annotations

import pytest
from tests.operator.endpoint.world import World


@pytest.fixture
def world() -> World:
    return World(replicas=2)

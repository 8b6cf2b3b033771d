from __future__ import annotations

from pathlib import Path

import pytest
from tests.store.conftest import database, postgres, url

__all__ = ["database", "postgres", "url"]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"

"""Settings: all documented with their defaults, and a wrong environment is refused with its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoglm_api import environment
from autoglm_operator.settings import PREFIX, Settings, SettingsError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference/settings.md"
CONTRACT = DOCS / "design/0004-pod-contract.md"


def documented() -> dict[str, str]:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (?:`([^`]*)`)? ?\|", PAGE.read_text(), re.MULTILINE)
    return {name.lower(): default for name, default in rows}


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert sorted(documented()) == sorted(Settings.model_fields)


def test_documented_defaults_are_the_defaults() -> None:
    given = {PREFIX + name.upper(): default for name, default in documented().items() if default}
    assert Settings.read(given) == Settings()


def test_every_variable_of_a_pod_is_in_the_contract() -> None:
    told = {value for value in vars(environment).values() if isinstance(value, str) and value.startswith("AUTOGLM_")}
    rows = [line for line in CONTRACT.read_text().splitlines() if line.startswith("| `AUTOGLM_")]
    assert {name for row in rows for name in re.findall(r"`(AUTOGLM_\w+)`", row.split("|")[1])} == told


def test_lists_are_split_and_empty_means_none() -> None:
    settings = Settings.read({f"{PREFIX}NAMESPACES": "team-a, team-b", f"{PREFIX}POD_FS_GROUP": ""})
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.pod_fs_group is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RECONCILER", "3", "is not a setting"),
        ("HTTP_PORT", "many", "integer"),
        ("RECONCILERS", "0", "greater"),
        ("ARTIFACTS_URI", "ftp://host/models", "pattern"),
        ("ARTIFACTS_URI", "/srv/models", "pattern"),
    ],
)
def test_wrong_environment_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({PREFIX + name: value})
    assert f"{PREFIX}{name}" in str(caught.value)
    assert words in str(caught.value)

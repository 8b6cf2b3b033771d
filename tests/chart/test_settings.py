"""Every setting of the operator can be reached from the chart's values, and what the chart sets the operator reads."""

from __future__ import annotations

import json

import pytest
from pydantic.alias_generators import to_camel
from tests.chart.rendering import CHART, Object, operator_environment, render

from autoglm_operator.settings import PREFIX, Settings

# Fixed by the image and the Service.
FIXED = {"http_host", "http_port"}


def read(values: Object) -> Settings:
    environment = operator_environment(render(values))
    return Settings.read({**environment, f"{PREFIX}DATABASE_URL": "postgresql://host/db"})


def test_default_values_are_the_operators_own_defaults() -> None:
    given, own = read({}).model_dump(), Settings().model_dump()
    del given["database_url"], own["database_url"]
    assert given == own


def test_every_setting_has_a_value_in_the_chart() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = set(schema["properties"]["operator"]["properties"]["settings"]["properties"])
    own_values = {name.removeprefix(PREFIX).lower() for name in operator_environment(render())} | {"database_url"}
    rest = set(Settings.model_fields) - own_values - FIXED
    assert free == {to_camel(name) for name in rest}


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        ({"watchNamespaces": ["a", "b"]}, "namespaces", ("a", "b")),
        (
            {"images": {"registry": "r.example", "trainer": {"tag": "2"}}},
            "trainer_image",
            "r.example/autoglm-trainer:2",
        ),
        ({"images": {"pullPolicy": "Always"}}, "image_pull_policy", "Always"),
        ({"images": {"pullSecrets": ["x", "y"]}}, "image_pull_secrets", ("x", "y")),
        ({"pods": {"fsGroup": None}}, "pod_fs_group", None),
        ({"pods": {"fsGroup": 1000730000}}, "pod_fs_group", 1000730000),
        ({"pods": {"proxy": {"https": "http://proxy:3128"}}}, "pod_https_proxy", "http://proxy:3128"),
        ({"pods": {"allowedSources": ["s3://ours/"]}}, "allowed_sources", ("s3://ours/",)),
        ({"artifacts": {"uri": "s3://b/p"}}, "artifacts_uri", "s3://b/p"),
        ({"artifacts": {"secret": "s3"}}, "artifacts_secret", "s3"),
        ({"artifacts": {"claim": {"storageClass": "fast"}}}, "artifacts_claim_class", "fast"),
        ({"operator": {"log": {"level": "DEBUG"}}}, "log_level", "DEBUG"),
        ({"operator": {"settings": {"pollSeconds": 0.5}}}, "poll_seconds", 0.5),
        ({"operator": {"settings": {"cleanupTimeoutSeconds": 2000000}}}, "cleanup_timeout_seconds", 2e6),
        ({"operator": {"settings": {"reconcilers": 4}}}, "reconcilers", 4),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_reach_the_operator(values: Object, name: str, expected: object) -> None:
    assert getattr(read(values), name) == expected


def test_the_database_url_names_the_bundled_service_or_its_fixed_address() -> None:
    url = operator_environment(render())[f"{PREFIX}DATABASE_URL"]
    assert url == "postgresql://postgres:$(POSTGRES_PASSWORD)@autoglm-postgresql.autoglm-system.svc:5432/postgres"
    fixed = {"database": {"bundled": {"clusterIP": "10.0.0.7"}}}
    assert "@10.0.0.7:5432" in operator_environment(render(fixed))[f"{PREFIX}DATABASE_URL"]

"""Names fit everywhere, and different things never share one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from autoglm_api.names import (
    bounded,
    database_name,
    endpoint_object_name,
    label_value,
    study_job_name,
    worker_job_name,
)

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
resource_names = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,70}[a-z0-9])?){0,2}", fullmatch=True
)
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@given(resource_names, st.integers(0, 999), st.integers(0, 99_999))
def test_job_names_are_labels_of_at_most_63_characters(name: str, slot: int, number: int) -> None:
    for built in (worker_job_name(name, UID, slot, number), study_job_name(name, UID, "cleanup")):
        assert len(built) <= 63
        assert DNS_LABEL.fullmatch(built)


@given(resource_names)
def test_endpoint_names_are_labels_of_at_most_63_characters(name: str) -> None:
    built = endpoint_object_name(name, "sha256:" + "ab" * 32, "cleanup")
    assert len(built) <= 63
    assert DNS_LABEL.fullmatch(built)


def test_endpoints_that_differ_in_a_dot_have_different_objects() -> None:
    assert endpoint_object_name("a.b", "sha256:12345678") != endpoint_object_name("a-b", "sha256:12345678")


def test_short_names_stay_readable() -> None:
    assert worker_job_name("demo", UID, 3, 1) == "demo-0f8fa-w3-1"
    assert endpoint_object_name("chat", "sha256:1234567890") == "chat-12345678"


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_database_names_need_no_quotes_and_fit(namespace: str) -> None:
    name = database_name(namespace)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert len(name) <= 63


def test_namespaces_that_differ_in_a_hyphen_have_different_databases() -> None:
    assert database_name("team-a") != database_name("team-a-")
    assert database_name("x" * 60 + "a") != database_name("x" * 60 + "b")


@given(st.text(alphabet="abc-.", min_size=1, max_size=200))
def test_bounded_names_differ_when_the_names_do(name: str) -> None:
    assert len(bounded(name, 40)) <= 40
    assert len(label_value(name)) <= 63
    assert bounded(name + "x" * 40, 40) != bounded(name + "y" * 40, 40)

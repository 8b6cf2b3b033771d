"""Kopf and our own client reach the API server in the same way, from a pod and from a desk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client
from kubernetes.aio.config import incluster_config

from autoglm_operator.kube import connection, read_proxy_once


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


async def test_a_pods_service_account_gives_its_bare_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("token", "abc.def"), ("ca.crt", "a certificate")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = await connection()
    assert found["server"] == "https://10.0.0.1:443"
    assert found["token"] == "abc.def"
    assert found["ca_path"] == str(tmp_path / "ca.crt")


async def test_a_kubeconfig_gives_its_bare_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"name": "c", "cluster": {"server": "https://10.0.0.2:6443"}}
    user = {"name": "u", "user": {"token": "abc.def"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    body = {"current-context": "x", "clusters": [cluster], "users": [user], "contexts": [context]}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **body}))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    found = await connection()
    assert (found["server"], found["token"]) == ("https://10.0.0.2:6443", "abc.def")


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "localhost,.svc"}, None),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, None),
    ],
    ids=["none", "one for https", "not for this host", "for another scheme"],
)
async def test_the_environments_proxy_is_used_and_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configuration: Any = client.Configuration(host="https://kubernetes.default.svc:443")
    read_proxy_once(configuration)
    assert configuration.proxy == proxy
    rest = client.ApiClient(configuration).rest_client
    session = rest._create_pool_manager()
    assert not session.trust_env
    await session.close()

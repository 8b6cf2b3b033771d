"""The one door to the API server: plain dicts in and out, and four errors instead of HTTP codes."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from autoglm_api.names import ENDPOINT_KIND, ENDPOINT_PLURAL, FIELD_MANAGER, STUDY_KIND, STUDY_PLURAL
from autoglm_api.study import GROUP, VERSION

Object = dict[str, Any]

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Resource:
    """A kind of object and where it lives in the API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As written in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection, of one object, or of its subresource; `namespace` None = all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        return root + where + "".join(f"/{part}" for part in (self.plural, name, subresource) if part is not None)


STUDIES = Resource(GROUP, VERSION, STUDY_PLURAL, STUDY_KIND)
ENDPOINTS = Resource(GROUP, VERSION, ENDPOINT_PLURAL, ENDPOINT_KIND)
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICES = Resource("", "v1", "services", "Service")
EVENTS = Resource("", "v1", "events", "Event")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")


class KubeError(Exception):
    """Root of what the API server may answer; the message is the server's own sentence."""


class NotFound(KubeError):  # noqa: N818 - named as Kubernetes names it
    """404: there is no such object."""


class Conflict(KubeError):  # noqa: N818
    """409: it exists already, or it is not the version or UID that was meant."""


class Rejected(KubeError):  # noqa: N818
    """400, 403, 422: the server refuses this request, and would refuse it again."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(KubeError):  # noqa: N818
    """The server cannot be reached, is overloaded, or failed; the same request may work later."""


class Kube:
    """A client with plain dicts.

    Every method raises `NotFound`, `Conflict`, `Rejected` or `Unavailable` and nothing else.
    """

    def __init__(self, api: client.ApiClient, *, timeout_seconds: float = 30.0) -> None:
        self._api: Any = api
        self._timeout = timeout_seconds

    @classmethod
    async def connect(cls, *, timeout_seconds: float = 30.0) -> Kube:
        """A client for the pod's service account, or else for the kubeconfig of the environment."""
        configuration = await _configuration()
        return cls(client.ApiClient(configuration), timeout_seconds=timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object, fresh from the server."""
        return await self._request("GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> builtins.list[Object]:
        """All objects with these labels; `namespace` None = everywhere."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else {}
        answer = await self._request("GET", resource.path(namespace), query=query)
        return list(answer.get("items", ()))

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """POST; `Conflict` when the name is taken."""
        return await self._request("POST", resource.path(namespace), body=body)

    async def apply(
        self, resource: Resource, namespace: str | None, body: Object, *, manager: str = FIELD_MANAGER
    ) -> Object:
        """Server-side apply; creates what is missing and takes over fields of ours that others changed."""
        query = {"fieldManager": manager, "force": "true"}
        path = resource.path(namespace, body["metadata"]["name"])
        return await self._request("PATCH", path, query=query, body=_typed(resource, body), content=_APPLY_PATCH)

    async def apply_status(self, resource: Resource, namespace: str | None, name: str, status: Object) -> Object:
        """Server-side apply of the status subresource: what is left out of `status` is removed there."""
        body = _typed(resource, {"metadata": {"name": name, "namespace": namespace}, "status": status})
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = resource.path(namespace, name, "status")
        return await self._request("PATCH", path, query=query, body=body, content=_APPLY_PATCH)

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Object, *, subresource: str | None = None
    ) -> Object:
        """Merge patch; with `metadata.resourceVersion` in `body` it is a `Conflict` when the object has moved on."""
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, body=body, content=_MERGE_PATCH)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None:
        """Delete exactly this object and, in the background, what it owns."""
        options: Object = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        await self._request("DELETE", resource.path(namespace, name), body=options)

    async def serves(self, resource: Resource) -> bool:
        """Whether the server knows this kind at all (its CRD is installed)."""
        root = resource.path(None).rsplit("/", 1)[0]
        try:
            answer = await self._request("GET", root)
        except NotFound:
            return False
        return any(entry.get("name") == resource.plural for entry in answer.get("resources", ()))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = _JSON,
    ) -> Object:
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {**self._api.default_headers, "Accept": _JSON, "Content-Type": content}
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            response = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {error or type(error).__name__}") from error
        if response.status >= 300:
            raise _translated(response.status, data, f"{method} {path}")
        answer: Object = json.loads(data)
        return answer


async def connection() -> dict[str, Any]:
    """How to reach the API server, read anew at each call: service account tokens change every hour.

    Returns:
        `server`, `ca_path`, `token`, `certificate_path`, `private_key_path`, `insecure`; the names are Kopf's.
    """
    configuration: Any = await _configuration()
    bearer = (await configuration.auth_settings()).get("BearerToken") or {}
    return {
        "server": configuration.host,
        "ca_path": configuration.ssl_ca_cert,
        # A kubeconfig says "Bearer …", a pod's service account "bearer …".
        "token": str(bearer.get("value") or "").rpartition(" ")[2] or None,
        "certificate_path": configuration.cert_file,
        "private_key_path": configuration.key_file,
        "insecure": not configuration.verify_ssl,
    }


async def _configuration() -> client.Configuration:
    """The pod's service account, or else the kubeconfig of the environment."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 64
    read_proxy_once(configuration)
    return configuration


def read_proxy_once(configuration: client.Configuration) -> None:
    """Take a proxy from the environment now; to ask for it and ~/.netrc each time is half of a request's CPU."""
    known: Any = configuration
    server = urlsplit(str(known.host))
    if not known.proxy and not proxy_bypass(server.hostname or ""):
        known.proxy = getproxies().get(server.scheme)
    known.client_session_kwargs = {"trust_env": False}


def _typed(resource: Resource, body: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _translated(status: int, data: bytes, request: str) -> KubeError:
    try:
        sentence = str(json.loads(data).get("message") or data.decode(errors="replace"))
    except (ValueError, AttributeError):
        sentence = data.decode(errors="replace")[:500]
    match status:
        case 404:
            return NotFound(sentence)
        case 409:
            return Conflict(sentence)
        case 400 | 403 | 405 | 422:
            return Rejected(sentence, status=status)
        case _:
            return Unavailable(f"{request}: HTTP {status}: {sentence}")

"""A database and a role for each namespace: made by the operator's administrator, opened only by the namespace."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64decode

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from autoglm_api.names import STORAGE_SECRET, STORAGE_SECRET_KEY, database_name

from .kube import SECRETS, Conflict, Kube, NotFound, Object
from .manifests.secret import storage_secret

LIMITS = {"idle_in_transaction_session_timeout": "30s", "lock_timeout": "20s", "statement_timeout": "60s"}
"""What a paused worker may hold up; set on the role, so that every client has them."""

_LOCK = 0x6175746F  # one provisioning at a time in the whole server: two at once would both create


class Provisioner:
    """Makes the databases of namespaces; whoever finds one missing while it is being made waits for the same making."""

    def __init__(self, kube: Kube, admin_url: str) -> None:
        self._kube = kube
        self._admin_url = admin_url
        self._running: dict[str, asyncio.Task[str]] = {}

    async def make(self, namespace: str) -> str:
        """Secret, role and database of a namespace, whatever of it is missing; the URL in the Secret.

        Raises:
            KubeError: as `Kube` translates them. psycopg.Error: the server refuses, or cannot be reached.
        """
        task = self._running.get(namespace)
        if task is None:
            task = self._running[namespace] = asyncio.create_task(self._make(namespace))
            task.add_done_callback(lambda _: self._running.pop(namespace))
        return await asyncio.shield(task)

    async def _make(self, namespace: str) -> str:
        url = await ensure_secret(self._kube, namespace, self._admin_url)
        await asyncio.to_thread(provision, self._admin_url, namespace, password_of(url))
        return url


async def ensure_secret(kube: Kube, namespace: str, admin_url: str) -> str:
    """The URL in the namespace's Secret; a Secret with a new password is created when there is none.

    The Secret rules: what it says is what the role is given afterwards.

    Raises:
        KubeError: as `Kube` translates them.
    """
    try:
        return secret_url(await kube.get(SECRETS, namespace, STORAGE_SECRET), STORAGE_SECRET_KEY) or ""
    except NotFound:
        name = database_name(namespace)
        url = _url(admin_url).set(username=name, password=secrets.token_urlsafe(24), database=name)
        fresh = url.render_as_string(hide_password=False)
    try:
        await kube.create(SECRETS, namespace, storage_secret(namespace, fresh))
    except Conflict:
        return secret_url(await kube.get(SECRETS, namespace, STORAGE_SECRET), STORAGE_SECRET_KEY) or ""
    return fresh


def secret_url(secret: Object, key: str) -> str | None:
    """One key of a Secret as text; None when it is not there."""
    value = (secret.get("data") or {}).get(key)
    return b64decode(value).decode().strip() if value is not None else None


def provision(admin_url: str, namespace: str, password: str) -> None:
    """Make role and database, or complete what is there; may be repeated and overlap with itself.

    Raises:
        psycopg.Error: the server refuses, or cannot be reached.
    """
    name = database_name(namespace)
    with psycopg.connect(_url(admin_url).render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _ensure_role(admin, name, password)
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def _ensure_role(admin: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    role, secret = sql.Identifier(name), sql.Literal(password)
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, secret))
        # Without superuser rights only a member may give a database to the role.
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    else:
        admin.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, secret))
    for setting, value in LIMITS.items():
        admin.execute(sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(setting), sql.Literal(value)))


def password_of(url: str) -> str:
    """The password in a URL of ours."""
    return str(_url(url).password or "")


def _url(text: str) -> URL:
    return make_url(text).set(drivername="postgresql")

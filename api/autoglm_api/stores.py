"""Stores of files beside `file://` and `pvc://`: which URIs lead to them, and what fsspec needs to open them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .plugins import installed

# Otherwise gcsfs asks by gRPC what kind a bucket is, before any file: a permission and a way out that reading does not
# need, and a minute of waiting where there is none.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@dataclass(frozen=True)
class StoreDeclaration:
    """A store that a study may name for rows, models and artifacts, as `<name>://<bucket>/<path>`.

    Attributes:
        name: the URI's scheme.
        protocol: fsspec's name of it; the package that implements it must be installed where files are read.
        options: from the keys of a Secret to arguments of fsspec's file system; no keys = the process's environment.
        keys: the Secret's keys that a sentence about missing credentials names.
        errors: modules whose exceptions mean that the store refused or did not answer.
    """

    name: str
    protocol: str
    options: Callable[[Mapping[str, str]], Mapping[str, object]]
    keys: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def s3_options(credentials: Mapping[str, str]) -> dict[str, object]:
    """s3fs's arguments from AWS's usual names; those left out come from the environment, as with any AWS client."""
    options: dict[str, object] = {}
    for key, name in (
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_ENDPOINT_URL", "endpoint_url"),
    ):
        if credentials.get(key):
            options[name] = credentials[key]
    if credentials.get("AWS_REGION"):
        options["client_kwargs"] = {"region_name": credentials["AWS_REGION"]}
    return options


def gs_options(credentials: Mapping[str, str]) -> dict[str, object]:
    """What gcsfs needs; without `GOOGLE_CREDENTIALS` it asks the environment, as any client of Google's does.

    `GOOGLE_CREDENTIALS` is a service account's key file as it was downloaded, JSON, or `anon` for public buckets;
    `STORAGE_EMULATOR_HOST` is the URL of a server that speaks the same interface.

    Raises:
        ValueError: the credentials are no JSON object.
    """
    options: dict[str, object] = {}
    if key := credentials.get("GOOGLE_CREDENTIALS"):
        options["token"] = key if key == "anon" else _key_file(key)
    if credentials.get("STORAGE_EMULATOR_HOST"):
        options["endpoint_url"] = credentials["STORAGE_EMULATOR_HOST"]
    if credentials.get("GOOGLE_CLOUD_PROJECT"):
        options["project"] = credentials["GOOGLE_CLOUD_PROJECT"]
    return options


def _key_file(text: str) -> dict[str, object]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ValueError("GOOGLE_CREDENTIALS must be a service account's key file, JSON, or the word anon") from error


S3 = StoreDeclaration(
    name="s3",
    protocol="s3",
    options=s3_options,
    keys=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    errors=("botocore", "aiohttp", "aiobotocore"),
)

GS = StoreDeclaration(
    name="gs",
    protocol="gcs",
    options=gs_options,
    keys=("GOOGLE_CREDENTIALS",),
    errors=("gcsfs", "aiohttp", "google.auth", "requests"),
)

STORES, UNUSABLE_STORES = installed("autoglm.stores", StoreDeclaration, {S3.name: S3, GS.name: GS})
_ERROR_MODULES = tuple(module for store in STORES.values() for module in store.errors)


def is_store_error(error: BaseException) -> bool:
    """Whether an exception says that a store refused or did not answer, and not that our code is wrong."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_ERROR_MODULES)


def find_store(protocol: str) -> StoreDeclaration | None:
    """The store that fsspec knows by this name; None = this machine's files."""
    return next((store for store in STORES.values() if store.protocol == protocol), None)

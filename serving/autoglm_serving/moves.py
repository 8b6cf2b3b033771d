"""The jobs run where the operator has no credentials: copy a model to an endpoint's prefix, remove a prefix."""

from __future__ import annotations

import logging

from autoglm_api.manifest import MANIFEST

from .errors import IncompleteModelError
from .folders import Folder
from .verified import Described, check_files, checked_chunks, describe

_log = logging.getLogger(__name__)


def copy_model(source: Folder, target: Folder, digest: str) -> bool:
    """Copy the model named by `digest`; False if the target already holds it, every byte.

    Safe to repeat and to run twice at once: a complete target is only read, files appear whole, the manifest last.

    Raises:
        IncompleteModelError: the source is incomplete or (DigestMismatchError) another model.
        StorageUnreachableError: one of the stores refused or did not answer.
    """
    if _holds(target, digest):
        _log.info("the target already holds the model", extra={"digest": digest, "target": target.uri})
        return False
    described = describe(source, digest)
    for file in described.manifest.files:
        target.write(file.path, checked_chunks(source, file))
    target.write(MANIFEST, [described.raw])
    _log.info("copied", extra={"digest": digest, "target": target.uri, "files": len(described.manifest.files)})
    return True


def _holds(target: Folder, digest: str) -> bool:
    try:
        described: Described = describe(target, digest)
        check_files(target, described.manifest)
    except IncompleteModelError:
        return False
    return True

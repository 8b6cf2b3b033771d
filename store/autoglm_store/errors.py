"""Every error of the store.

StoreError
├── StorageUnreachable  no answer from the database, or it refused us; trying again later may help
├── SchemaMismatch      the database holds tables of another Optuna; a person must decide
├── StudyNotFound       the database answers but knows no such study
└── LeaseLost           the attempt was finished by somebody else; its worker must stop
"""

from __future__ import annotations


class StoreError(Exception):
    """Root; the message is a sentence for the user and never holds a password."""


class StorageUnreachable(StoreError):  # noqa: N818 - a state of the world, as the condition's reason is
    """No answer from the database, or it refused us."""


class SchemaMismatch(StoreError):  # noqa: N818 - as the condition's reason
    """The database holds tables of another Optuna."""


class StudyNotFound(StoreError):  # noqa: N818 - as in Kubernetes
    """The database answers but knows no such study."""


class LeaseLost(StoreError):  # noqa: N818 - an outside event, not a fault
    """The attempt was finished by somebody else."""

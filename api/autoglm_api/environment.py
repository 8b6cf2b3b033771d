"""What a pod is told: names of environment variables and of mounted folders, read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .base import Model

STORAGE_URL = "AUTOGLM_STORAGE_URL"
STUDY = "AUTOGLM_STUDY"
OWNER_NAME = "AUTOGLM_POD_NAME"
OWNER_IDENTITY = "AUTOGLM_POD_UID"
CPU_LIMIT = "AUTOGLM_CPU_LIMIT"
GPUS = "AUTOGLM_GPUS"
RANKS = "AUTOGLM_RANKS"
SECRETS_ROOT = "AUTOGLM_SECRETS_ROOT"
CLAIMS_ROOT = "AUTOGLM_CLAIMS_ROOT"
SCRATCH = "AUTOGLM_SCRATCH"
TERMINATION_LOG = "AUTOGLM_TERMINATION_LOG"
LOG_FORMAT = "AUTOGLM_LOG_FORMAT"
LIMITS_SECONDS = "AUTOGLM_LIMITS_SECONDS"
MODEL_URI = "AUTOGLM_MODEL_URI"
MODEL_DIGEST = "AUTOGLM_MODEL_DIGEST"
MODEL_NAME = "AUTOGLM_MODEL_NAME"
SOURCE_URI = "AUTOGLM_SOURCE_URI"
TARGET_URI = "AUTOGLM_TARGET_URI"

DEFAULT_SECRETS_ROOT = "/var/run/autoglm/secrets"
DEFAULT_CLAIMS_ROOT = "/mnt/autoglm"
DEFAULT_TERMINATION_LOG = "/dev/termination-log"


class WorkerEnvironment(Model):
    """A trainer process's instructions beyond what the stored run holds.

    Attributes:
        storage_url: `postgresql+psycopg://…` or `journal:///path`.
        study: Optuna study name, `<namespace>/<name>/<uid>`.
        cpu_limit: whole cores for torch threads; at least 1.
        gpus: GPUs the pod holds: for GPU-seconds, and each a rank of data parallel training.
        ranks: processes that train one trial together; 0 = one for each GPU.
        secrets_root: a folder per place (`model`, `data`, `artifacts`), each a mounted Secret, if there is one.
        claims_root: a folder per mounted claim: `pvc://<claim>/<path>` is `<claims_root>/<claim>/<path>`.
        limits_seconds: how often the study's limits are read again while a trial is training.
    """

    storage_url: str
    study: str
    owner_name: str
    owner_identity: str
    cpu_limit: int = 1
    gpus: int = 0
    ranks: int = 0
    secrets_root: Path = Path(DEFAULT_SECRETS_ROOT)
    claims_root: Path = Path(DEFAULT_CLAIMS_ROOT)
    scratch: Path = Path("/tmp")
    termination_log: Path = Path(DEFAULT_TERMINATION_LOG)
    limits_seconds: float = 60.0

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> WorkerEnvironment:
        """Read the environment.

        Raises:
            KeyError: with the name of a required variable that is not set.
        """
        return cls(
            storage_url=environ[STORAGE_URL],
            study=environ[STUDY],
            owner_name=environ[OWNER_NAME],
            owner_identity=environ[OWNER_IDENTITY],
            cpu_limit=max(1, int(environ.get(CPU_LIMIT, "1") or "1")),
            gpus=int(environ.get(GPUS, "0") or "0"),
            ranks=int(environ.get(RANKS, "0") or "0"),
            secrets_root=Path(environ.get(SECRETS_ROOT, DEFAULT_SECRETS_ROOT)),
            claims_root=Path(environ.get(CLAIMS_ROOT, DEFAULT_CLAIMS_ROOT)),
            scratch=Path(environ.get(SCRATCH, "/tmp")),
            termination_log=Path(environ.get(TERMINATION_LOG, DEFAULT_TERMINATION_LOG)),
            limits_seconds=float(environ.get(LIMITS_SECONDS, "60") or "60"),
        )

"""From the process's environment and the run to places: data, model and artifacts, each with its own credentials."""

from __future__ import annotations

from functools import partial

from autoglm_api.environment import WorkerEnvironment
from autoglm_api.locations import locate, locate_rows, read_credentials
from autoglm_api.run import Run
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError

from .artifacts import Artifacts


def input_places(environment: WorkerEnvironment) -> Places:
    """Where the task finds rows and base model."""
    model = read_credentials(environment.secrets_root / "model")
    data = read_credentials(environment.secrets_root / "data")
    return Places(
        data=partial(locate_rows, claims_root=environment.claims_root, credentials=data),
        model=partial(locate, claims_root=environment.claims_root, credentials=model),
        model_credentials=model,
        scratch=environment.scratch,
    )


def artifact_place(environment: WorkerEnvironment, run: Run) -> Artifacts:
    """The run's folder in the artifact store.

    Raises:
        SpecError: the URI names no place for files.
    """
    credentials = read_credentials(environment.secrets_root / "artifacts")
    try:
        root = locate(run.artifacts_uri, claims_root=environment.claims_root, credentials=credentials)
    except ValueError as error:
        raise SpecError(f"artifacts.uri: {error}") from error
    return Artifacts(run.artifacts_uri, root)

"""The Jobs of a study: a worker for each slot, one export, one cleanup."""

from __future__ import annotations

from autoglm_api import environment
from autoglm_api.names import (
    LABEL_SLOT,
    LABEL_STUDY,
    LABEL_STUDY_UID,
    STUDY_KIND,
    Component,
    label_value,
    study_job_name,
    worker_job_name,
)
from autoglm_api.parts import Resources
from autoglm_api.run import Run
from autoglm_api.study import API_VERSION, StudySpec
from autoglm_operator.actions import StudyRef
from autoglm_operator.kube import Object
from autoglm_operator.observation import Study
from autoglm_operator.settings import Settings

from .pod import Container, Place, own_labels, plain_env, pod_template

TARGET_URI = "AUTOGLM_TARGET_URI"
EXPORT_GRACE_SECONDS = 30
CLEANUP_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "512Mi"})


def worker_job(
    study: Study, spec: StudySpec, run: Run, ref: StudyRef, *, slot: int, number: int, settings: Settings
) -> Object:
    """The Job that holds a worker slot; replaced under a new `number`, never changed."""
    container = _trainer(Component.WORKER, ("work",), spec, run, ref)
    return _job(
        study,
        worker_job_name(study.name, study.uid, slot, number),
        Component.WORKER,
        spec,
        container,
        places=_places(run, spec, settings),
        grace_seconds=run.grace_seconds,
        settings=settings,
        slot=slot,
    )


def export_job(study: Study, spec: StudySpec, run: Run, ref: StudyRef, *, number: int, settings: Settings) -> Object:
    """The Job that evaluates, exports and uploads the best trial."""
    container = _trainer(Component.EXPORT, ("export",), spec, run, ref)
    return _job(
        study,
        study_job_name(study.name, study.uid, _numbered(Component.EXPORT, number)),
        Component.EXPORT,
        spec,
        container,
        places=_places(run, spec, settings),
        grace_seconds=EXPORT_GRACE_SECONDS,
        settings=settings,
    )


def cleanup_job(study: Study, spec: StudySpec, uri: str, *, number: int, settings: Settings) -> Object:
    """The Job that removes everything below `uri`."""
    container = Container(
        name="artifacts",
        image=settings.serving_image,
        args=("delete",),
        env=plain_env({TARGET_URI: uri}),
        resources=CLEANUP_RESOURCES,
        extra={},
    )
    return _job(
        study,
        study_job_name(study.name, study.uid, _numbered(Component.CLEANUP, number)),
        Component.CLEANUP,
        spec,
        container,
        places=(Place("artifacts", (uri,), artifacts_secret(spec, settings), writable=True),),
        grace_seconds=EXPORT_GRACE_SECONDS,
        settings=settings,
    )


def _numbered(component: str, number: int) -> str:
    return f"{component}-{number}" if number else component


def artifacts_secret(spec: StudySpec, settings: Settings) -> str | None:
    """The Secret for the artifact store: the study's, or with the installation's store the installation's."""
    if spec.artifacts is None:
        return settings.artifacts_secret
    return spec.artifacts.secret_ref.name if spec.artifacts.secret_ref else None


def owner_reference(study: Study) -> Object:
    """The study as controlling owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": STUDY_KIND,
        "name": study.name,
        "uid": study.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _job(
    study: Study,
    name: str,
    component: str,
    spec: StudySpec,
    container: Container,
    *,
    places: tuple[Place, ...],
    grace_seconds: int,
    settings: Settings,
    slot: int | None = None,
) -> Object:
    labels = own_labels(component, {LABEL_STUDY: label_value(study.name), LABEL_STUDY_UID: study.uid})
    if slot is not None:
        labels[LABEL_SLOT] = str(slot)
    template = pod_template(
        container,
        labels=labels,
        places=places,
        options=spec.trainer.pod,
        service_account=spec.trainer.service_account_name,
        grace_seconds=grace_seconds,
        settings=settings,
    )
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": study.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(study)],
        },
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": template},
    }


def _trainer(name: str, args: tuple[str, ...], spec: StudySpec, run: Run, ref: StudyRef) -> Container:
    return Container(
        name=name,
        image=run.image or "",
        args=args,
        env=_trainer_env(spec, ref),
        resources=spec.trainer.resources,
        extra={},
    )


def _trainer_env(spec: StudySpec, ref: StudyRef) -> tuple[Object, ...]:
    secret = {"secretKeyRef": {"name": ref.secret, "key": ref.key}}
    cpu = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    return (
        {"name": environment.STORAGE_URL, "valueFrom": secret},
        {"name": environment.STUDY, "value": ref.study},
        {"name": environment.OWNER_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": environment.OWNER_IDENTITY, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": environment.CPU_LIMIT, "valueFrom": cpu},
        *plain_env({environment.GPUS: str(spec.trainer.resources.gpus)}),
    )


def _places(run: Run, spec: StudySpec, settings: Settings) -> tuple[Place, ...]:
    model, data = run.model, run.data
    splits = (data.train, data.validation, data.test, data.edges)
    base = (Place("model", (model.place,), model.secret_ref.name if model.secret_ref else None),) if model else ()
    return (
        *base,
        Place(
            "data",
            tuple(split.source for split in splits if split and split.source),
            data.secret_ref.name if data.secret_ref else None,
        ),
        Place("artifacts", (run.artifacts_uri,), artifacts_secret(spec, settings), writable=True),
    )

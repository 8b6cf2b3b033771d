"""`AutoGLMStudy`: the finite search for the best model. The CRD in `crds/` is the same thing as a schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from .base import Identifier, Model, Name, Number, Scalar
from .locations import check_model_uri, check_rows_uri
from .parts import ArtifactUri, EndpointUrl, PodOptions, Resources, SecretKeyRef, SecretRef, SourceUri
from .pruners import Pruner, check_pruner
from .samplers import Sampler, check_sampler
from .space import Parameter, check_parameters, check_point

GROUP = "autoglm.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

RowsUri = Annotated[SourceUri, AfterValidator(check_rows_uri)]
ModelUri = Annotated[SourceUri, AfterValidator(check_model_uri)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class ModelEndpoint(Model):
    """A model that somebody else runs, behind OpenAI's chat interface; `url` is what `/chat/completions` follows."""

    url: EndpointUrl
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8


class ModelSource(Model):
    """The base model: a folder, a Python package with weights, a hub repository at a revision, or an endpoint."""

    source: ModelUri | None = None
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$", max_length=128)] | None = None
    endpoint: ModelEndpoint | None = None
    secret_ref: SecretRef | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ModelSource:
        if (self.source is None) == (self.endpoint is None):
            raise ValueError("give exactly one of source, endpoint")
        if self.endpoint is not None and self.revision is not None:
            raise ValueError("revision is for source")
        return self

    @property
    def place(self) -> str:
        """Where weights or answers come from."""
        return self.endpoint.url if self.endpoint else str(self.source)

    @property
    def title(self) -> str:
        """The model for people, in a few words."""
        return f"{self.endpoint.model} at {self.endpoint.url}" if self.endpoint else str(self.source)


class Split(Model):
    """Rows that are read from one place."""

    source: RowsUri


class TrainingRows(Split):
    """Rows to train on; with `limit` a random sample of so many, drawn while the source is read."""

    limit: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None


class Validation(Model):
    """Validation rows: a source of their own, or a fraction held out of the training rows.

    The fraction is stratified; or whole groups of rows with one value in a column; or the latest rows by a column.
    """

    source: RowsUri | None = None
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    group_by: ColumnName | None = None
    time_by: ColumnName | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Validation:
        if (self.source is None) == (self.fraction is None):
            raise ValueError("give exactly one of source and fraction")
        if self.group_by is not None and self.time_by is not None:
            raise ValueError("groupBy and timeBy exclude each other")
        if self.source is not None and (self.group_by or self.time_by):
            raise ValueError("groupBy and timeBy say how a fraction is drawn; a source is taken as it is")
        return self


class Data(Model):
    """Where the rows are. Validation left out = a fifth of the training rows; `columns`: the task's role → name.

    `edges` connect the rows of a graph. Of a table or a graph's nodes `features` are the columns to learn from (left
    out = all that play no role), `ignore` those to leave out.
    """

    train: TrainingRows
    validation: Validation = Validation(fraction=0.2)
    test: Split | None = None
    edges: Split | None = None
    columns: dict[Identifier, ColumnName] = Field(default_factory=dict, max_length=16)
    cleaning: Literal["Standard", "Off"] = "Standard"
    features: tuple[ColumnName, ...] = Field(default=(), max_length=1_024)
    ignore: tuple[ColumnName, ...] = Field(default=(), max_length=1_024)
    secret_ref: SecretRef | None = None

    @property
    def chooses(self) -> bool:
        """Whether it chooses among the columns of a table."""
        return bool(self.features or self.ignore)

    @property
    def further_sources(self) -> tuple[str, ...]:
        """Fields beside the rows that name a source."""
        return ("edges",) if self.edges else ()


class Objective(Model):
    """A metric to optimise; the study ends as soon as one feasible trial reaches the `goal` of all that have one."""

    metric: Identifier
    direction: Literal["Maximize", "Minimize"]
    goal: Number | None = None

    def cost(self, value: float) -> float:
        """The value turned so that less is better, in the metric's unit."""
        return value if self.direction == "Minimize" else -value

    def reaches(self, value: float) -> bool:
        """Whether `value` is at least as good as the goal; without a goal everything is."""
        return self.goal is None or self.cost(value) <= self.cost(self.goal)


class Constraint(Model):
    """A trial that breaks this is infeasible: it can teach the sampler, but never be best."""

    metric: Identifier
    operator: Literal["LessOrEqual", "GreaterOrEqual"]
    value: Number

    def violation(self, measured: float) -> float:
        """How far `measured` is on the wrong side, in its unit; ≤ 0 = satisfied, as in Optuna."""
        return measured - self.value if self.operator == "LessOrEqual" else self.value - measured


def judged_by(objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> tuple[str, ...]:
    """The metrics of all of them, each once, in their order."""
    return tuple(dict.fromkeys([*(each.metric for each in objectives), *(each.metric for each in constraints)]))


class Trials(Model):
    """How many trials, how many at once, when to give up. `perPod: 0` = a pod works until none is left."""

    max: Annotated[int, Field(ge=1, le=100_000)] = 20
    parallel: Annotated[int, Field(ge=1, le=1_000)] = 1
    max_failed: Annotated[int, Field(ge=0, le=100_000)] = 5
    timeout_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    per_pod: Annotated[int, Field(ge=0, le=100_000)] = 0


class Budget(Model):
    """When the study must end, whatever has been found by then."""

    deadline: AwareDatetime | None = None


class Trainer(Model):
    """The worker pods."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    resources: Resources = Resources()
    service_account_name: Name | None = None
    termination_grace_period_seconds: Annotated[int, Field(ge=15, le=3_600)] = 60
    checkpoint_every_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    pod: PodOptions = PodOptions()


class Artifacts(Model):
    """Where models, checkpoints and reports are written; `/<namespace>/<study uid>` is appended."""

    uri: ArtifactUri
    secret_ref: SecretRef | None = None


class Storage(Model):
    """A PostgreSQL of your own instead of the namespace's database; the key holds the URL."""

    secret_ref: SecretKeyRef


class WarmStart(Model):
    """Earlier studies of the namespace whose trials the sampler begins with."""

    from_studies: tuple[Name, ...] = Field(min_length=1, max_length=5)


class ExportOptions(Model):
    """How the model is made of the winning trial: as it was judged, or trained once more with the validation rows."""

    train_on: Literal["Train", "TrainAndValidation"] = "Train"


class Promotion(Model):
    """Whether endpoints may take this study's model."""

    policy: Literal["Never", "OnComplete"] = "OnComplete"


class StudySpec(Model):
    """What the user writes under `spec`."""

    suspend: bool = False
    task: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=63)]
    model: ModelSource | None = None
    data: Data
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=3)
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=8)
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=64)
    enqueue: tuple[dict[str, Scalar], ...] = Field(default=(), max_length=64)
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    trials: Trials = Trials()
    budget: Budget = Budget()
    warm_start: WarmStart | None = None
    trainer: Trainer = Trainer()
    artifacts: Artifacts | None = None
    storage: Storage | None = None
    export: ExportOptions = ExportOptions()
    promotion: Promotion = Promotion()
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 3_600

    @property
    def places(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """All that is read, and where artifacts go: (path of the field, URI)."""
        rows = self.data
        named: tuple[tuple[tuple[str, ...], str | None], ...] = (
            (("model", "source"), self.model.source if self.model else None),
            (("model", "endpoint", "url"), self.model.place if self.model and self.model.endpoint else None),
            (("data", "train", "source"), rows.train.source),
            (("data", "validation", "source"), rows.validation.source),
            (("data", "test", "source"), rows.test.source if rows.test else None),
            (("data", "edges", "source"), rows.edges.source if rows.edges else None),
            (("artifacts", "uri"), self.artifacts.uri if self.artifacts else None),
        )
        return tuple((path, uri) for path, uri in named if uri is not None)

    @property
    def objective(self) -> Objective:
        """The first objective, which decides which trial becomes the model."""
        return self.objectives[0]

    @property
    def judged(self) -> tuple[str, ...]:
        """Metrics that the study judges by: of its objectives, then of its constraints."""
        return judged_by(self.objectives, self.constraints)

    @model_validator(mode="after")
    def _objectives_are_sound(self) -> StudySpec:
        metrics = [objective.metric for objective in self.objectives]
        for index, metric in enumerate(metrics):
            if metric in metrics[:index]:
                raise ValueError(f"objectives[{index}].metric: {metric} is an objective already; each must differ")
        check_pruner(self.pruner, objectives=len(self.objectives))
        return self

    @model_validator(mode="after")
    def _export_can_be_judged(self) -> StudySpec:
        if self.export.train_on != "Train" and self.data.test is None:
            raise ValueError(
                "export.trainOn: TrainAndValidation leaves no rows to judge the model on; add data.test.source"
            )
        return self

    @model_validator(mode="after")
    def _space_is_sound(self) -> StudySpec:
        check_parameters(self.parameters)
        if self.parameters:
            check_sampler(
                self.sampler, self.parameters, constraints=len(self.constraints), objectives=len(self.objectives)
            )
            for index, point in enumerate(self.enqueue):
                check_point(self.parameters, point, where=f"enqueue[{index}]")
        return self

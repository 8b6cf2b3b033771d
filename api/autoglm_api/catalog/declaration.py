"""A task as a declaration: what the door, the planner and the documentation know of it, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from autoglm_api.base import Scalar
from autoglm_api.space import Choices, Parameter, is_active, ordered
from autoglm_api.study import Data, ExportOptions, ModelSource

from .knobs import Knob
from .methods.declaration import MethodDeclaration
from .methods.space import searched_methods

Direction = Literal["Maximize", "Minimize"]
BaseModelUse = Literal["required", "optional", "none"]


@dataclass(frozen=True)
class Column:
    """One role that a column of the data plays.

    Attributes:
        default: the column's name where `data.columns` says nothing; empty = a role that need not be played.
        meaning: what it holds, in a few words.
        answer: whether it holds what the model shall find.
        asked: whether a prediction is asked with it, where it is no answer.
    """

    default: str
    meaning: str
    answer: bool = False
    asked: bool = True


@dataclass(frozen=True)
class TaskDeclaration:
    """What is known of a task before anything is loaded.

    Attributes:
        summary: one sentence for people who choose a task.
        columns: role → column.
        example: an item as the model server is asked for it.
        metrics: every metric that the task measures, with its better direction.
        shown: the metrics that a report compares first.
        knobs: every parameter name that the task understands.
        parameters: the default search space.
        points: good configurations, best first; tried before anything is sampled.
        trainer: `module:attribute` of the `contract.Task`, imported by workers only.
        server: `module:attribute` of the answerer, imported by the model server only.
        base_model: whether a study names one in `model`; tables and graphs are learned without.
        sources: what a study names in `data` besides rows, each a field of `study.Data` (`edges`).
        wide: whether it learns from any number of columns, those that play no role.
        own_methods: its methods, where these are none of `METHODS`.
        alone: the task as a study without a base model has it, where that is another one.
        refits: whether the winner can be trained once more, on training and validation rows together.
        server_needs_torch: whether that runs a model with PyTorch, which the plain server does without.
        endpoint_lacks: what only weights at hand can do, where a study may name an endpoint in their place: parameter →
            values, or none for the whole parameter. None = the task needs the weights.
    """

    name: str
    summary: str
    columns: Mapping[str, Column]
    example: object
    metrics: Mapping[str, Direction]
    shown: tuple[str, ...]
    knobs: Mapping[str, Knob]
    parameters: tuple[Parameter, ...]
    points: tuple[Mapping[str, Scalar], ...]
    trainer: str
    server: str
    base_model: BaseModelUse = "required"
    sources: tuple[str, ...] = ()
    wide: bool = False
    own_methods: Mapping[str, MethodDeclaration] = field(default_factory=dict)
    alone: TaskDeclaration | None = None
    refits: bool = False
    server_needs_torch: bool = False
    endpoint_lacks: Mapping[str, tuple[Scalar, ...]] | None = None

    @property
    def methods(self) -> tuple[Scalar, ...]:
        """The tuning methods; empty where a task has none to choose from."""
        return self.knobs["method"].choices if "method" in self.knobs else ()

    @property
    def asked(self) -> tuple[str, ...]:
        """The roles that a prediction is asked with."""
        return tuple(role for role, column in self.columns.items() if column.asked and not column.answer)

    def defaults(self, point: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The values of the knobs that matter at `point` where it says nothing of them."""
        method = self._method(point)
        known = {name: knob.value(method) for name, knob in self.knobs.items() if knob.matters(method)}
        return known if method is None else {**known, "method": method}

    def complete(self, point: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """`point` with every knob filled in, those that do not matter there too."""
        return {**{name: knob.default for name, knob in self.knobs.items()}, **self.defaults(point), **point}

    def _method(self, point: Mapping[str, Scalar]) -> str | None:
        return str(point.get("method", self.knobs["method"].default)) if "method" in self.knobs else None

    def for_model(self, model: object | None) -> TaskDeclaration:
        """The task as a study with this base model, or without one, has it."""
        return self.alone if model is None and self.alone is not None else self

    def check_base_model(self, model: ModelSource | None) -> None:
        """Refuse a study without the base model that the task needs, or with one that it cannot use.

        Raises:
            ValueError: with what to do.
        """
        if model is None and self.base_model == "required":
            elsewhere = "" if self.endpoint_lacks is None else ", or model.endpoint"
            raise ValueError(
                f"model: {self.name} needs a base model; name its folder or repository in model.source{elsewhere}"
            )
        if model is not None and self.base_model == "none":
            raise ValueError(f"model: {self.name} learns without a base model; leave model out")
        if model is not None and model.endpoint is not None and self.endpoint_lacks is None:
            raise ValueError(f"model.endpoint: {self.name} needs the weights themselves; name them in model.source")

    def space(self, model: ModelSource | None) -> tuple[Parameter, ...]:
        """The default search space, without what an endpoint cannot do where the study names one."""
        if model is None or model.endpoint is None:
            return self.parameters
        lacks = self.endpoint_lacks or {}
        kept: dict[str, Parameter] = {}
        for parameter in self.parameters:
            values = () if parameter.categorical is None else parameter.categorical.choices
            left = tuple(value for value in values if value not in lacks.get(parameter.name, ()))
            if parameter.name not in lacks or left:
                narrowed = {"categorical": Choices(choices=left)} if len(left) < len(values) else {}
                kept[parameter.name] = parameter.model_copy(update=narrowed)
        return tuple(kept.values())

    def check_endpoint(self, model: ModelSource | None, parameters: Sequence[Parameter]) -> None:
        """Refuse parameters and choices that an endpoint knows nothing of, where the study names one.

        Raises:
            ValueError: naming the parameter and its value.
        """
        if model is None or model.endpoint is None or self.endpoint_lacks is None:
            return
        for parameter in parameters:
            lacking = self.endpoint_lacks.get(parameter.name)
            for value in lacking or ():
                if parameter.contains(value):
                    raise ValueError(
                        f"parameters: {parameter.name} {value} is not to be had of an endpoint; leave it out"
                    )
            if lacking == ():
                raise ValueError(f"parameters: an endpoint knows nothing of {parameter.name}; leave it out")

    def check_export(self, export: ExportOptions) -> None:
        """Refuse to train the winner once more where the task cannot.

        Raises:
            ValueError: naming the field and its value.
        """
        if export.train_on != "Train" and not self.refits:
            raise ValueError(f"export.trainOn: {self.name} exports models as they were judged; leave it out")

    def check_sources(self, data: Data) -> None:
        """Refuse a study without a source that the task needs, or with what nothing would read.

        Raises:
            ValueError: naming the field, with what to do.
        """
        for source in self.sources:
            if source not in data.further_sources:
                raise ValueError(f"data: {self.name} needs data.{source}; name their file in data.{source}.source")
        for source in data.further_sources:
            if source not in self.sources:
                raise ValueError(f"data.{source}: {self.name} reads rows alone; leave it out")
        of_rows = {
            "train.limit": data.train.limit,
            "validation.groupBy": data.validation.group_by,
            "validation.timeBy": data.validation.time_by,
        }
        for field_name, value in of_rows.items():
            if self.sources and value is not None:
                raise ValueError(f"data.{field_name}: {self.name} reads all that belongs together; leave it out")

    def named_columns(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Role → column name, with the defaults filled in; roles that nothing plays are left out.

        Raises:
            ValueError: a role that the task does not have.
        """
        for role in columns:
            if role not in self.columns:
                raise ValueError(f"data.columns: {self.name} has no column {role!r}; known: {', '.join(self.columns)}")
        named = {role: columns.get(role, column.default) for role, column in self.columns.items()}
        return {role: name for role, name in named.items() if name}

    def check_features(self, features: Sequence[str], ignore: Sequence[str]) -> None:
        """Refuse a choice of columns where the task has none to choose from.

        Raises:
            ValueError: naming the field.
        """
        for field_name, columns in (("features", features), ("ignore", ignore)):
            if columns and not self.wide:
                raise ValueError(
                    f"data.{field_name}: {self.name} reads the columns {', '.join(self.columns)} alone; leave it out"
                )

    def good_points(self, parameters: Sequence[Parameter]) -> Iterator[dict[str, Scalar]]:
        """The good points cut to `parameters`, then the defaults of the space's methods that have none.

        What a point does not name has its default there; a value outside its range is left to the sampler. A point of
        a method that the space leaves out is dropped, and one whose value does not exist where others depend on it.
        """
        methods = searched_methods(self.knobs, parameters)
        points = [point for point in self.points if not methods or self._method(point) in methods]
        known = set(map(self._method, points))
        points += [{"method": method} for method in methods if method not in known]
        parents = {parameter.when.parameter for parameter in parameters if parameter.when}
        seen: list[dict[str, Scalar]] = []
        for point in points:
            whole = {**self.defaults(point), **point}
            cut: dict[str, Scalar] = {}
            misfits: set[str] = set()
            for parameter in ordered(parameters):
                if parameter.name not in whole or not is_active(parameter, cut):
                    continue
                if parameter.contains(whole[parameter.name]):
                    cut[parameter.name] = whole[parameter.name]
                else:
                    misfits.add(parameter.name)
            if cut and not misfits & parents and cut not in seen:
                seen.append(cut)
                yield cut

    def check_space(self, parameters: Sequence[Parameter]) -> None:
        """Refuse parameters and choices that the task does not know.

        Raises:
            ValueError: naming the parameter, its value and what is known.
        """
        for parameter in parameters:
            if parameter.name not in self.knobs:
                known = ", ".join(sorted(self.knobs))
                raise ValueError(f"parameters: {self.name} has no parameter {parameter.name!r}; known: {known}")
            self.knobs[parameter.name].check(parameter)

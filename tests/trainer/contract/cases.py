"""For each task: rows that a tiny model can learn, a point to train at, and when trainer and server agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.trainer.task.drawing import picture_rows
from tests.trainer.task.making import FOLLOWED, colour_rows
from tests.trainer.task.tagging import tagged_rows

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One task's part of the contract test.

    Attributes:
        name: tells two cases of one task apart.
        rows: (count, start) → rows as the study's file holds them.
        objective: the metric and its direction.
        bad: rows that must be refused, each with words of the sentence that refuses it.
        asked: a row → the item that the server is asked.
        agree: whether the trainer's predictions and the server's answer say the same of a row, given by its index.
        point: short training by gradient.
        good: what the metric reaches at least when it has learned.
        models: the tiny models that it runs on; None = the task has no base model.
        refused: tiny model → words of the sentence that refuses it.
        other: a point of another method, whose fit nothing that happened before may change.
        reporting: a method that reports, so that it can be pruned.
        columns: `data.columns`, where the rows' names are not the default ones.
        edges: between the rows of a graph, those of the test rows too.
    """

    name: str
    task: str
    rows: Callable[[int, int], list[Json]]
    objective: tuple[str, str]
    bad: Sequence[tuple[Json, str]]
    asked: Callable[[Json], Any]
    agree: Callable[[Any, int, Json], bool]
    good: float
    point: Mapping[str, Any] = field(
        default_factory=lambda: {"method": "lora", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "lora_r": 4}
    )
    taught: Mapping[str, Any] = field(
        default_factory=lambda: {"epochs": 8, "learning_rate": 5e-3, "head_learning_rate": 3e-2}
    )
    models: Sequence[str | None] = ("bert", "glm")
    refused: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=lambda: {"method": "head"})
    reporting: str = "full"
    columns: Mapping[str, str] = field(default_factory=dict)
    edges: Sequence[Json] = ()


def _texts(count: int, start: int) -> list[Json]:
    return list(colour_rows(count, start=start))


def _several(count: int, start: int) -> list[Json]:
    """Each text names the colours that it has, some of them at its end; every sixth has none."""
    colours = ("red", "green", "blue")
    rows = []
    for index in range(start, start + count):
        named = [colour for place, colour in enumerate(colours) if (index % 6) >> place & 1]
        filler = " ".join(["the", "sky", "is", "so", "very", "deep"][: 2 + index % 5])
        rows.append({"text": f"{filler} {' and '.join(named)}".strip(), "label": named})
    return rows


def _applicants(count: int, start: int) -> list[Json]:
    """Whether a loan was paid back: decided by income, age and housing; some cells are missing."""
    rows: list[Json] = []
    for index in range(start, start + count):
        income, age = (index * 37) % 90 + 10, (index * 13) % 50 + 20
        housing = ("own", "rent", "free")[index % 3]
        paid = income + (30 if housing == "own" else 0) > 60
        row = {"income": income, "age": age, "housing": housing, "since": f"20{index % 20 + 10}-0{index % 9 + 1}-15"}
        if index % 5 == 0:
            del row["age"]
        rows.append({**row, "new": index % 7 == 0, "label": "paid" if paid else "lost"})
    return rows


def _prices(count: int, start: int) -> list[Json]:
    """A price that follows from size and town."""
    towns = {"Oslo": 30.0, "Bergen": 10.0, "Molde": 0.0}
    rows = []
    for index in range(start, start + count):
        size, town = (index * 29) % 80 + 20, tuple(towns)[index % 3]
        rows.append({"size": size, "town": town if index % 6 else None, "price": 2.0 * size + towns[town]})
    return rows


def _without_answer(row: Json) -> Json:
    return {name: value for name, value in row.items() if name not in ("label", "price")}


def _questions(count: int, start: int) -> list[Json]:
    """Every context names the colours of two things; the question asks for one of them."""
    colours, things = ("red", "green", "blue", "pale", "deep"), ("sky", "grass", "fire")
    rows = []
    for index in range(start, start + count):
        first, second = colours[index % 5], colours[(index * 3 + 1) % 5]
        one, two = things[index % 3], things[(index + 1) % 3]
        filler = " ".join(["very", "so", "really"][: index % 4])
        context = f"the {one} is {filler} {first} and the {two} is {second}".replace("  ", " ")
        asked, answer = ((one, first), (two, second))[index // 3 % 2]
        rows.append(
            {
                "question": f"colour of the {asked}",
                "context": context,
                "answer": answer,
                "answer_start": context.index(f"{asked} is") + context[context.index(f"{asked} is") :].index(answer),
            }
        )
    return rows


def _prompts(count: int, start: int) -> list[Json]:
    """The answer says which colour the text names, and what is to be thought of it."""
    thoughts = {"red": "is so deep", "green": "is pale and the grass is not", "blue": "is really the colour of sky"}
    return [
        {"prompt": row["text"], "answer": f"{row['label']} {thoughts[row['label']]}"}
        for row in colour_rows(count, start=start)
    ]


def _papers(count: int, start: int) -> list[Json]:
    """Papers of three fields; most tell theirs by their words, the others by whom they cite."""
    fields = {"maths": ["proof", "lemma"], "biology": ["cell", "gene"], "physics": ["energy", "quark"]}
    rows = []
    for index in range(start, start + count):
        name = tuple(fields)[index % 3]
        told = fields[name][index % 2 :] if index % 4 else []
        rows.append({"id": index, "words": ["paper", *told], "pages": index % 7 + 4, "label": name})
    return rows


def _citations() -> list[Json]:
    """Papers cite three of their own field, and now and then one of another."""
    rows = []
    for index in (*range(60), *range(200, 220)):
        cited = {(index % 3 + 3 * (index * step + step)) % 60 for step in (1, 2, 5)} | (
            {7} if index % 10 == 0 else set()
        )
        rows += [{"source": index, "target": other, "weight": 1 + index % 2} for other in sorted(cited)]
    return rows


def _answered_labels(count: int, start: int) -> list[Json]:
    return [{"prompt": row["text"], "answer": row["label"]} for row in colour_rows(count, start=start)]


def _same_probabilities(predictions: Any, row: int, answer: Json) -> bool:
    served = [answer["scores"][label] for label in predictions.labels]
    return bool(np.allclose(served, predictions.probabilities[row], atol=1e-4))


def _same_span(predictions: Any, row: int, answer: Json) -> bool:
    return answer["answer"] == predictions.answers[row] and abs(answer["score"] - predictions.confidence[row]) < 1e-4


CASES = (
    Case(
        name="text-classification",
        task="text-classification",
        rows=_texts,
        objective=("accuracy", "Maximize"),
        bad=[({"text": " ", "label": "red"}, "'text' is empty"), ({"text": "sky"}, "no column 'label'")],
        asked=lambda row: row["text"],
        agree=_same_probabilities,
        good=0.65,
    ),
    Case(
        name="token-classification",
        task="token-classification",
        rows=lambda count, start: tagged_rows(count, start=start),
        objective=("f1", "Maximize"),
        bad=[
            ({"tokens": ["sky"], "tags": ["I-thing"]}, "I-thing"),
            ({"tokens": ["red", "sky"], "tags": ["O"]}, "2"),
            ({"tokens": [], "tags": []}, "empty"),
        ],
        asked=lambda row: {"tokens": row["tokens"]},
        agree=lambda predictions, row, answer: answer["tags"] == predictions.answers[row],
        good=0.65,
    ),
    Case(
        name="several-labels",
        task="text-classification",
        rows=_several,
        objective=("f1_macro", "Maximize"),
        bad=[
            ({"text": "sky", "label": "red"}, "the label is a single label, the training rows have lists"),
            ({"text": ["sky"], "label": ["red"]}, "'text' is a list"),
            ({"text": "sky", "label": ["red", 3.5]}, "word 2"),
        ],
        asked=lambda row: row["text"],
        agree=lambda predictions, row, answer: (
            _same_probabilities(predictions, row, answer)
            and answer["labels"]
            == [label for label, score in answer["scores"].items() if score >= predictions.threshold]
        ),
        good=0.7,
        models=("bert",),  # labels and windows are no matter of the architecture
        point={
            "method": "lora",
            "epochs": 2,
            "learning_rate": 1e-2,
            "batch_size": 8,
            "lora_r": 4,
            "threshold": 0.4,
            "long_texts": "windows",
            "max_length": 8,
            "class_weight": "balanced",
        },
    ),
    Case(
        name="tabular-classification",
        task="tabular-classification",
        rows=_applicants,
        objective=("auc", "Maximize"),
        bad=[
            ({"income": 30, "age": 20, "housing": "own"}, "'label' is missing"),
            ({"income": 30, "age": 20, "housing": "own", "label": ["paid"]}, "'label' must be a text"),
        ],
        asked=_without_answer,
        agree=lambda predictions, row, answer: (
            _same_probabilities(predictions, row, answer)
            and answer["label"] == predictions.labels[predictions.answers[row]]
        ),
        good=0.85,
        point={"method": "boosting", "rounds": 50, "leaf_min_rows": 3, "threshold_from": "validation", "folds": 2},
        taught={"rounds": 200, "learning_rate": 0.1, "judged_by": "validation"},
        models=(None,),
        other={"method": "ensemble", "folds": 2, "trees": 20, "rounds": 20, "epochs": 2, "categories": "both"},
        reporting="network",
    ),
    Case(
        name="tabular-regression",
        task="tabular-regression",
        rows=_prices,
        objective=("r2", "Maximize"),
        bad=[({"size": 30, "town": "Oslo", "price": "dear"}, "'price' must be a number, got 'dear'")],
        asked=_without_answer,
        agree=lambda predictions, row, answer: bool(np.isclose(answer["value"], predictions.answers[row], rtol=1e-5)),
        good=0.9,
        point={
            "method": "network",
            "networks": 2,
            "epochs": 10,
            "batch_size": 16,
            "width": 16,
            "paired_columns": 2,
            "folds": 2,
        },
        taught={"epochs": 60, "network_learning_rate": 1e-2, "dropout": 0.0, "judged_by": "validation"},
        models=(None,),
        other={"method": "forest", "trees": 20, "integers": "levels", "folds": 2},
        reporting="boosting",
        columns={"target": "price"},
    ),
    Case(
        name="question-answering",
        task="question-answering",
        rows=_questions,
        objective=("f1", "Maximize"),
        bad=[
            ({"question": "colour", "context": "the sky is red", "answer": "blue"}, "does not stand in the context"),
            (
                {"question": "colour", "context": "the sky is red", "answer": "red", "answer_start": 3},
                "'answer_start' is 3, but the context has ' sk' there",
            ),
            ({"question": "", "context": "the sky", "answer": "sky"}, "'question' is empty"),
        ],
        asked=lambda row: {"question": row["question"], "context": row["context"]},
        agree=_same_span,
        good=0.45,
        taught={"epochs": 12, "learning_rate": 1e-2, "head_learning_rate": 3e-2},
    ),
    Case(
        name="text-generation",
        task="text-generation",
        rows=_prompts,
        objective=("rouge_l", "Maximize"),
        bad=[
            ({"prompt": "the sky", "answer": " "}, "'answer' is empty"),
            ({"prompt": "", "answer": "red"}, "'prompt' is empty"),
            ({"prompt": "the sky", "answer": ["red"]}, "write it as a string"),
        ],
        asked=lambda row: row["prompt"],
        agree=lambda predictions, row, answer: answer["answer"] == predictions.answers[row],
        good=0.6,
        point={
            "method": "lora",
            "epochs": 2,
            "learning_rate": 2e-2,
            "batch_size": 8,
            "lora_r": 4,
            "max_length": 40,
            "max_new_tokens": 10,
        },
        taught={"epochs": 8, "method": "full", "learning_rate": 1e-2},
        models=("glm-causal",),
        refused={"bert": "is not a causal language model", "glm": "no output layer"},
        other={"method": "ia3", "epochs": 1, "max_new_tokens": 4},
    ),
    Case(
        name="node-classification",
        task="node-classification",
        rows=_papers,
        objective=("accuracy", "Maximize"),
        bad=[
            ({"id": "", "words": ["cell"], "pages": 3, "label": "biology"}, "'id' is empty"),
            ({"id": 99, "words": ["cell"], "pages": "many", "label": "biology"}, "'pages' is 'many'"),
            ({"id": 3, "words": ["cell"], "pages": 3, "label": "biology"}, "the node '3' stands in line 4 already"),
        ],
        asked=lambda row: {"node": row["id"]},
        agree=_same_probabilities,
        good=0.8,
        # By samples of neighbourhoods, stopped in the midst of an epoch.
        point={"method": "sage", "batch_size": 16, "neighbours": 2, "epochs": 6, "edge_dropout": 0.2, "hidden": 8},
        taught={"epochs": 40, "learning_rate": 0.02},
        models=(None,),
        other={"method": "gat", "epochs": 3, "hidden": 4, "heads": 2},
        reporting="gcn",
        edges=_citations(),
    ),
    Case(
        name="image-classification",
        task="image-classification",
        rows=lambda count, start: picture_rows(count, start=start),
        objective=("accuracy", "Maximize"),
        bad=[
            ({"image": "nothing at all!", "label": "disc"}, "is not base64"),
            ({"image": "AAAA", "label": "disc"}, "is not an image that can be read"),
            ({"image": " ", "label": "disc"}, "'image' is empty"),
        ],
        asked=lambda row: {"image": row["image"]},
        agree=_same_probabilities,
        good=0.65,
        point={"method": "full", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "augmentation": "photo"},
        taught={"epochs": 8, "augmentation": "none"},
        models=("resnet", "vit"),
        refused={"bert": "reads no pictures"},
    ),
    Case(
        name="prompt-optimization",
        task="prompt-optimization",
        rows=_answered_labels,
        objective=("accuracy", "Maximize"),
        bad=[
            ({"prompt": "the sky", "answer": " "}, "'answer' is empty"),
            ({"prompt": "", "answer": "red"}, "'prompt' is empty"),
        ],
        asked=lambda row: row["prompt"],
        agree=lambda predictions, row, answer: answer["answer"] == predictions.answers[row],
        good=0.9,
        point={"template": "brief", "shots": 2, "selection": "random", "decoding": "sample"},
        taught={"template": FOLLOWED, "shots": 0, "decoding": "greedy"},
        models=("glm-taught",),
        refused={"bert": "is not a causal language model", "glm": "no output layer"},
        other={"template": "bred", "shots": 3, "selection": "similar", "decoding": "beams", "num_beams": 2},
    ),
)

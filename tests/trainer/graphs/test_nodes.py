"""What is read of nodes and edges, what each node is for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.trainer.task.making import make_places, make_run, write_rows

from autoglm_trainer.errors import DataError
from autoglm_trainer.tasks.node_classification import LoadedNodes, NodeClassification

Json = dict[str, Any]
EDGES = [{"source": "n0", "target": "n1"}, {"source": "n1", "target": "n2"}]


def nodes(count: int, **changes: Any) -> list[Json]:
    return [
        {"id": f"n{place}", "words": ["a", "b"][place % 2 :], "label": "xy"[place % 2], **changes}
        for place in range(count)
    ]


def load(folder: Path, rows: list[Json], edges: list[Json] = EDGES, **data: Any) -> LoadedNodes:
    """`data`: further splits, as lists of rows or as the spec has them."""
    given = {
        split: {"source": write_rows(folder / f"{split}.jsonl", value)} if isinstance(value, list) else value
        for split, value in data.items()
    }
    run = make_run(
        None,
        write_rows(folder / "nodes.jsonl", rows),
        task="node-classification",
        data={"edges": {"source": write_rows(folder / "edges.jsonl", edges)}, **given},
    )
    return NodeClassification().load(run, make_places(folder))


def names(loaded: LoadedNodes, split: str) -> list[str]:
    return [node.name for node in loaded.data.rows(split)]


def test_marked_nodes_are_for_what_the_column_says(tmp_path: Path) -> None:
    rows = nodes(8)
    for place, split in enumerate(("train", "train", "validation", "test", "test", "none", "", None)):
        rows[place]["split"] = split
    loaded = load(tmp_path, rows)
    assert (names(loaded, "train"), names(loaded, "validation")) == (["n0", "n1"], ["n2"])
    assert names(loaded, "test") == ["n3", "n4"]
    assert len(loaded.data.graph("both")) == 8


def test_without_marks_files_name_nodes_and_a_fraction_is_held_out_of_the_rest(tmp_path: Path) -> None:
    rows = nodes(12)
    del rows[11]["label"]
    loaded = load(tmp_path, rows, test=[{"id": "n3"}, {"id": "n11", "label": "x"}], validation={"fraction": 0.25})
    assert names(loaded, "test") == ["n3", "n11"]
    assert loaded.row_counts == {"train": 7, "validation": 3, "test": 2}
    assert not set(names(loaded, "test")) & {*names(loaded, "train"), *names(loaded, "validation")}
    assert {node.label for node in loaded.data.rows("validation")} == {"x", "y"}


def test_nodes_that_only_the_test_file_has_are_not_seen_in_training(tmp_path: Path) -> None:
    new = {"id": "new", "words": ["a", "unheard"], "label": "x"}
    loaded = load(tmp_path, nodes(8), [*EDGES, {"source": "new", "target": "n0"}], test=[new])
    assert loaded.data.nodes.seen == 8
    whole = loaded.data.graph("both")
    assert (len(whole), len(whole.source)) == (9, 6)
    assert len(whole.begun(8).source) == 4
    assert "unheard" not in loaded.data.features.vocabulary


def test_numbers_may_be_columns_or_lists_and_are_told_apart_by_name(tmp_path: Path) -> None:
    rows = [{**node, "age": place, "vector": [0.5, place]} for place, node in enumerate(nodes(6))]
    for row in rows:
        del row["words"]
    features = load(tmp_path, rows).data.features
    assert features.columns == ("age", "vector[0]", "vector[1]")
    assert features.numbers[3].tolist() == [3.0, 0.5, 3.0]


def test_columns_are_left_out_of_what_nodes_are_known_by(tmp_path: Path) -> None:
    rows = nodes(6, age=3, city="Oslo")
    assert load(tmp_path, rows, ignore=("city",)).data.features.columns == ("age",)
    features = load(tmp_path, rows, features=("age",)).data.features
    assert (features.columns, features.vocabulary) == (("age",), ())
    with pytest.raises(DataError, match=r"line 1: 'city' is 'Oslo', .* or name the column in data\.ignore"):
        load(tmp_path, rows)


def test_digests_are_of_a_splits_nodes_and_of_all_edges(tmp_path: Path) -> None:
    test = [{"id": "n3"}, {"id": "n4"}]
    first = load(tmp_path, nodes(10), test=test).digests
    assert load(tmp_path, nodes(10), test=test).digests == first
    other = load(tmp_path, nodes(10), test=test[:1]).digests
    assert (other.test != first.test, other.train != first.train) == (True, True)
    rewired = load(tmp_path, nodes(10), EDGES[:1], test=test).digests
    assert rewired.test != first.test


@pytest.mark.parametrize(
    ("rows", "edges", "data", "said"),
    [
        (nodes(4), [{"source": "n0", "target": "n9"}], {}, "edges.jsonl, line 1: 'target' is 'n9', which is"),
        (nodes(4), [{**EDGES[0], "weight": 0}], {}, "edges.jsonl, line 1: 'weight' is 0; a weight must be above 0"),
        (nodes(4), [{**EDGES[0], "weight": "heavy"}], {}, "'weight' is 'heavy', which is no number"),
        (nodes(4, split="tets"), EDGES, {}, "line 1: 'split' is 'tets', which is none of train, validation, test"),
        (nodes(4, split="test"), EDGES, {"test": [{"id": "n1"}]}, "line 1: 'split' is 'test', but data.test names"),
        (nodes(4, split="test"), EDGES, {}, "no node to learn from"),
        (nodes(4, label="x"), EDGES, {}, "all 4 training nodes have the label 'x'"),
        ([{"id": place, "label": "xy"[place % 2]} for place in range(4)], EDGES, {}, "nothing but names and labels"),
        ([*nodes(4, vector=[1, 2]), {"id": "n4", "vector": [1]}], EDGES, {}, "line 5: 'vector' has 1 numbers"),
        ([*nodes(4, age=3), {"id": "n4"}], EDGES, {}, "line 5: 'age' is missing"),
        (nodes(8), EDGES, {"test": [{"id": "n1", "label": "z"}]}, "line 1: the node 'n1' is 'z' here, 'y' elsewhere"),
        ([*nodes(8), {"id": "n8"}], EDGES, {"test": [{"id": "n8"}]}, "line 1: the test node 'n8' has no label"),
        (nodes(8), EDGES, {"test": [{"id": "m", "words": [], "label": "z"}]}, "'z' stands in the test nodes only"),
        (nodes(4, age=1e39), EDGES, {}, "'age' is '1e+39', which is no number of at most 1e+37"),
        (nodes(4), EDGES, {"ignore": ("age",)}, "no column 'age'; found: 'id', 'words', 'label'"),
        (nodes(8), EDGES, {"test": [{"id": "n1"}], "validation": [{"id": "n1"}]}, "'n1' is a validation node already"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_place_and_remedy(
    tmp_path: Path, rows: list[Json], edges: list[Json], data: Json, said: str
) -> None:
    with pytest.raises(DataError) as refused:
        load(tmp_path, rows, edges, **data)
    assert said in str(refused.value)


def test_a_model_of_other_labels_or_words_is_not_restored(tmp_path: Path) -> None:
    from tests.trainer.task.making import Control

    fitted = load(tmp_path, nodes(8)).fit({"epochs": 1}, Control())
    (tmp_path / "weights").mkdir()
    fitted.save(tmp_path / "weights")
    with pytest.raises(DataError, match="start a new study"):
        load(tmp_path, [*nodes(8), {"id": "more", "words": ["c"]}]).restore({}, tmp_path / "weights")

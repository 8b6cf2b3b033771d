"""A graph on a volume becomes trained trials, an exported model, and answers about its nodes and about new ones."""

from __future__ import annotations

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import predict, search_and_serve
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import DATA_CLAIM, put_rows, study

pytestmark = pytest.mark.timeout(600)

# Two fields whose papers cite their own; every third paper has no word that tells its field.
WRITE = """
import os
os.umask(0)
words = {"maths": ["proof", "lemma"], "biology": ["cell", "gene"]}
with open("/data/nodes.csv", "w") as nodes, open("/data/edges.csv", "w") as edges:
    nodes.write("id,words,label\\n")
    edges.write("source,target\\n")
    for paper in range(60):
        field = list(words)[paper % 2]
        told = words[field][paper // 2 % 2] if paper % 3 else ""
        nodes.write(f"p{paper},paper {told},{field}\\n")
        for cited in (2, 6, 14):
            edges.write(f"p{paper},p{(paper + cited) % 60}\\n")
with open("/data/test.csv", "w") as test:
    test.write("id\\n" + "".join(f"p{paper}\\n" for paper in range(0, 60, 7)))
"""


def test_a_graph_becomes_a_model_that_answers_known_and_new_nodes(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace, WRITE)
    body = study(
        "papers",
        task="node-classification",
        data={
            "train": {"source": f"pvc://{DATA_CLAIM}/nodes.csv"},
            "edges": {"source": f"pvc://{DATA_CLAIM}/edges.csv"},
            "test": {"source": f"pvc://{DATA_CLAIM}/test.csv"},
        },
        parameters=[{"name": "method", "categorical": {"choices": ["gcn", "sage"]}}],
        trials={"max": 2, "parallel": 1},
    )
    del body["spec"]["model"]
    url, told = search_and_serve(kube, cluster, namespace, body)
    new = {"words": ["paper"], "neighbours": ["p1", "p3", "p5"]}
    answer = wait_for(lambda: predict(url, [{"node": "p0"}, new]))
    assert answer["digest"] == told["model"]["digest"]
    assert [each["label"] for each in answer["predictions"]] == ["maths", "biology"]
    installation.check_operator()

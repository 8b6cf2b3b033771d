"""An ONNX graph put together node by node; the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from autoglm_trainer.metrics import Floats

INPUT = "cells"
_OPSET, _ML_OPSET, _IR = 18, 1, 9
# Rows that pass at once: bounds the memory of what lies between the nodes.
_BATCH = 8_192


class Graph:
    """A graph from `cells` (rows, parts) to whatever is asked of it.

    Args:
        width: how many parts there are.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def copy(self) -> Graph:
        """One that can grow without this one."""
        copy = Graph(self.width)
        copy._nodes, copy._constants = [*self._nodes], [*self._constants]
        return copy

    def constant(self, values: object, dtype: type = np.float32) -> str:
        """A tensor that never changes."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; the answer is its name."""
        name = f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [name], name=name, **attributes))
        return name

    def add_trees(self, model: ModelProto, features: str) -> str:
        """The forest of a converted model: its one node of trees, fed with `features`; the answer is its last output.

        Scikit-learn's and LightGBM's converters put casts and renamings around that node.
        """
        (trees,) = (node for node in model.graph.node if node.op_type.startswith("TreeEnsemble"))
        node = onnx.NodeProto()
        node.CopyFrom(trees)
        node.name = f"trees_{len(self._nodes)}"
        node.input[:] = [features]
        node.output[:] = [f"{node.name}_{place}" for place in range(len(trees.output))]
        self._nodes.append(node)
        return str(node.output[-1])

    def columns(self, values: str, places: Sequence[int]) -> str:
        """Some columns of (rows, columns)."""
        return self.add("Gather", values, self.constant(list(places), np.int64), axis=1)

    def model(self, output: str, name: str) -> bytes:
        """The model that answers `output` under `name`, (rows, outputs)."""
        end = helper.make_node("Identity", [output], [name], name=name)
        graph = helper.make_graph(
            [*self._nodes, end],
            "table",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", self.width])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None])],
            initializer=self._constants,
        )
        imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        written: bytes = helper.make_model(graph, opset_imports=imports, ir_version=_IR).SerializeToString()
        return written


class Session:
    """A model in memory, run as the server runs it."""

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, cells: NDArray[np.float32]) -> Floats:
        """(rows, parts) → (rows, outputs)."""
        parts = [
            self._session.run(None, {INPUT: cells[start : start + _BATCH]})[0]
            for start in range(0, max(1, len(cells)), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float64)

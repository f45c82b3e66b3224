"""The digits part of the demonstration: real handwritten digits, a small network, and its ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def train(seed: int = 0) -> tuple[MLPClassifier, np.ndarray, np.ndarray]:
    """(fitted network, test images [n, 64] in 0..1, their labels)."""
    data = load_digits()
    images = (data.data / 16).astype(np.float32)
    fitting = train_test_split(images, data.target, test_size=0.2, random_state=seed, stratify=data.target)
    network = MLPClassifier((128, 64), max_iter=300, learning_rate_init=3e-3, random_state=seed, tol=1e-4)
    network.fit(fitting[0], fitting[2])
    return network, fitting[1], fitting[3]


def export(network: MLPClassifier, path: Path, batch: int) -> None:
    """Writes the network as ONNX: images [batch, 64] to probabilities [batch, 10]."""
    nodes, weights, value = [], [], "image"
    last = len(network.coefs_) - 1
    for i, (w, b) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        weights += [
            numpy_helper.from_array(w.astype(np.float32), f"w{i}"),
            numpy_helper.from_array(b.astype(np.float32), f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"gemm{i}"], f"layer{i}"))
        value = "probability" if i == last else f"relu{i}"
        kind = {"axis": 1} if i == last else {}
        nodes.append(helper.make_node("Softmax" if i == last else "Relu", [f"gemm{i}"], [value], **kind))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [batch, 10])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

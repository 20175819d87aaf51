"""ONNX Runtime: the network as Gemm and activation nodes, one session per thread count."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fastnn.bench.contestants.contestant import Array
from fastnn.bench.networks import Network


class _OnnxRuntime:
    """Nodes run one after the other; threads work inside a node."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        nodes, initializers = [], []
        n_layers = len(weights) // 2
        value = "x"
        for i in range(n_layers):
            kernel, bias = f"kernel_{i}", f"bias_{i}"
            initializers += [numpy_helper.from_array(weights[2 * i], kernel)]
            initializers += [numpy_helper.from_array(weights[2 * i + 1], bias)]
            nodes.append(helper.make_node("Gemm", [value, kernel, bias], [f"z_{i}"]))
            value = f"z_{i}"
            if i < n_layers - 1:
                nodes.append(helper.make_node(network.activation.capitalize(), [value], [f"a_{i}"]))
                value = f"a_{i}"
        if network.loss == "binary_crossentropy":
            nodes.append(helper.make_node("Sigmoid", [value], ["y"]))
        elif network.loss == "sparse_categorical_crossentropy":
            nodes.append(helper.make_node("Softmax", [value], ["y"], axis=1))
        else:
            nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            nodes,
            "dense",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", network.sizes[0]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", network.sizes[-1]])],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.n_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, x: Array) -> Array:
        return np.asarray(self.session.run(None, {"x": x})[0])


CONTESTANT = _OnnxRuntime

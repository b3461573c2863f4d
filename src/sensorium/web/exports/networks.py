"""Torch modules as ONNX files for one row, with weights stored in half precision where that changes nothing."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.core.errors import Failure
from sensorium.envs.host import extra
from sensorium.policies.export import silence

ROWS = 16
"""inputs of the comparison with torch"""
TOLERANCE = 1e-4
"""largest difference of an output"""
SMALL = 256
"""tensors up to this size stay as they are"""


def onnx_file(name: str, module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> tuple[bytes, float]:
    """A module as an ONNX file for one row, and its largest difference from torch on `inputs` [ROWS, ...].

    Matrices are stored in half precision where the difference stays within TOLERANCE. Errors: core.errors.Failure where the file differs
    from torch by more.
    """
    onnx = extra("onnx", "onnx")
    extra("onnxscript", "onnx")
    one = tuple(value[:1] for value in inputs.values())
    with silence(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(), one, None, dynamo=True, verbose=False, input_names=list(inputs), output_names=outputs
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for draft in (halved(onnx, model), model):
        data = draft.SerializeToString()
        difference = compared(module, data, inputs)
        if difference <= TOLERANCE:
            return data, difference
    raise Failure(f"the network {name} cannot be exported: ONNX differs from torch by {difference:.2g}")


def halved(onnx: Any, model: Any) -> Any:
    """A copy of an ONNX model with its large float32 tensors in half precision, cast to float32 when it is loaded."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, casts = copy.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) <= SMALL:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        stored = f"{name}.half"
        with np.errstate(over="ignore"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    # shapes that the exporter noted for the tensors as they were
    del graph.value_info[:]
    return copy


def compared(module: nn.Module, data: bytes, inputs: dict[str, Tensor]) -> float:
    """The largest difference of outputs between torch and an ONNX file."""
    session = extra("onnxruntime", "onnx").InferenceSession(data, providers=["CPUExecutionProvider"])
    known = [entry.name for entry in session.get_inputs()]
    differences = []
    for row in range(len(next(iter(inputs.values())))):
        values = {name: value[row : row + 1] for name, value in inputs.items()}
        with torch.no_grad():
            ours = module(*values.values())
        theirs = session.run(None, {name: values[name].numpy() for name in known})
        for a, b in zip(ours if isinstance(ours, tuple) else (ours,), theirs, strict=True):
            differences.append(np.abs(a.numpy() - b).max())
    # unlike the built-in max, NumPy's keeps NaN
    return float(np.max(differences))

"""Matrix products in ONNX."""

from __future__ import annotations

import onnx_ir as onnx

from kerasport.ir import ops
from kerasport.ir.tensor import Tensor
from kerasport.targets.onnx.emit.emitter import Emitter


def emit_matmul(e: Emitter, node: ops.MatMul) -> onnx.Value:
    """`MatMul`, or `Gemm` for transposed float matrices: `MatMul` cannot transpose."""
    transposed = node.transpose_a or node.transpose_b
    if transposed and node.dtype == "float32" and node.a.rank == node.b.rank == 2:
        return e.add(
            "Gemm", [node.a, node.b], transA=int(node.transpose_a), transB=int(node.transpose_b)
        )
    a = _transposed(e, node.a) if node.transpose_a else e.ref(node.a)
    b = _transposed(e, node.b) if node.transpose_b else e.ref(node.b)
    return e.add("MatMul", [a, b])


def _transposed(e: Emitter, x: Tensor) -> onnx.Value:
    """`x` with its last two axes swapped."""
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return e.add("Transpose", [x], perm=order)

"""Matrix products in TF.js."""

from __future__ import annotations

from kerasport.ir import ops
from kerasport.targets.tfjs.graph.emit.attributes import boolean
from kerasport.targets.tfjs.graph.emit.emitter import Emitter


def emit_matmul(e: Emitter, node: ops.MatMul) -> str:
    """`MatMul` for matrices, else `BatchMatMulV2`."""
    a, b = boolean(node.transpose_a), boolean(node.transpose_b)
    if node.rank == 2:
        return e.add("MatMul", node.operands, transpose_a=a, transpose_b=b)
    return e.add("BatchMatMulV2", node.operands, adj_x=a, adj_y=b)

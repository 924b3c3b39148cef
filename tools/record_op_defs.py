"""Records the results and default attributes of TensorFlow ops in `op_defs.json`.

A SavedModel does not store attributes that have their default value, and the body of a function
names results as `node:result:index`. The signatures that a SavedModel contains do not include all
ops, and a frozen graph contains none. Run this with a Python that has TensorFlow:

    python tools/record_op_defs.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

OUTPUT = (
    Path(__file__).parent.parent / "src" / "kerasport" / "frontends" / "graphdef" / "op_defs.json"
)
OMITTED = re.compile(
    r"^_(?!Fused)|^Xla|TPU|Dataset|Iterator|Collective|Nccl|^Sdca|BoostedTrees"
    r"|^Tensor(Forest|RT|Array.*Grad)|Apply|Grad(V\d|ient)?s?$|Grad(With|Box|Image)|Queue|Reader"
    r"|Barrier|Stage|Summary|Cudnn|Mkl|^Risc|Sgd|Accumulator|Send|Recv|^Load|^Retrieve"
    r"|^Uniform|^Quantized|Mutex|Batch(Function|IFFT|FFT|Cholesky|Matrix|Self|Svd)|^Experimental"
    r"|Candidate|Sampler|Embedding|Checkpoint|^Generate|^Kmc|^KMeans|^Skipgram|^NegTrain"
    r"|Ragged.*Variant|^Remote|^Lmdb|^Host|^Delete|^Close|^Flush|^Write|^Rpc|^Infeed|^Outfeed"
    r"|^OrderedMap|^Map(?!Defun)|DTensor|SparseCore|CSR|SparseMatrixS|Dedup|Xla|FileSystem"
    # ops of TensorFlow's own tests
    r"|^(N?(In|Int|Int?s|Out|Two|Float|Ref|Type|Attr|Reserved|Resource(Create|Using)|Test|Foo"
    r"|List|Polymorphic|StringList|Namespace>)(In|Out|Put|put|list|List|Two|Ref|Type|Int|Float"
    r"|Attr|Bool|Default|Empty|Enum|Min|Partial|Shape|Twice|Poly|Op|String|Test|[0-9]).*)$|Struct"
    r"|^(None|Old|Abort|FuncAttr|FuncListAttr|Attr|AttrBool|AttrFloat|DefaultAttrs|IntAttr"
    r"|ConstructionFails|OpWith\w+|DtypeWithDefaultOp|SleepOp|FiveFloatOutputs|InPolymorphicTwice"
    r"|StubResource\w+|Polymorphic\w+)$"
)
KINDS = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string",
    8: "complex64", 9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128",
    19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 12: "quint8",
    11: "qint8", 13: "qint32", 15: "qint16", 16: "quint16",
}  # fmt: skip


def ops() -> Any:
    """The signatures of all ops of the installed TensorFlow."""
    from tensorflow.core.framework import op_def_pb2  # noqa: PLC0415
    from tensorflow.python.client import pywrap_tf_session  # noqa: PLC0415

    found = op_def_pb2.OpList()
    found.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return found.op


def value(stored: Any) -> Any:
    """A default value: texts as {"s": text}, shapes as {"shape": sizes}, others as they are."""
    kind = stored.WhichOneof("value")
    if kind == "list":
        return [
            item(of, element)
            for of in ("s", "i", "f", "b", "type", "shape")
            for element in getattr(stored.list, of)
        ]
    return item(kind, getattr(stored, kind))


def item(kind: str, stored: Any) -> Any:
    """One element of a default value."""
    if kind == "s":
        return {"s": stored.decode()}
    if kind == "type":
        return KINDS[stored]
    if kind == "shape":
        return {"shape": None if stored.unknown_rank else [dim.size for dim in stored.dim]}
    return float(stored) if kind == "f" else stored


def main() -> None:
    """Write the file."""
    plain, table = [], {}
    for op in sorted(ops(), key=lambda op: op.name):
        if OMITTED.search(op.name):
            continue
        # a number or list of results, with the attribute that has the number or the types
        results = [[arg.name, arg.number_attr or arg.type_list_attr] for arg in op.output_arg]
        defaults = {
            attr.name: value(attr.default_value)
            for attr in op.attr
            if attr.HasField("default_value") and attr.type not in ("func", "tensor")
        }
        if defaults or len(results) != 1 or results[0][1]:
            table[op.name] = [results, defaults]
        else:
            plain.append(op.name)
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}"
        for name, row in table.items()
    )
    # ops with one result and without defaults, by the empty name
    names = f'"": "{" ".join(plain)}"'
    OUTPUT.write_text(f"{{\n{names},\n{lines}\n}}\n", encoding="utf-8")
    print(f"{len(plain)} + {len(table)} ops, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

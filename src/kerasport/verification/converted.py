"""A converted model on disk, described by its model.json and by the runtime that loads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasport.errors import VerifyError
from kerasport.frontends.keras.model import KerasModel
from kerasport.targets import written_as
from kerasport.verification.runtime import Runtime, TensorInfo, tensor_infos
from kerasport.verification.runtimes import node


@dataclass(frozen=True)
class Converted:
    """A converted model that the runtime can load."""

    path: Path
    renamed: Mapping[str, str]  # path in Keras → name in TF.js
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[str, ...]  # top-level layers; none in a graph-model or ONNX model
    quantized: bool = False  # whether weights were rounded

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs; those of a layer with several outputs have a number appended."""
        names = [info.name for info in self.outputs]
        several, seen = Counter(names), Counter[str]()
        numbered = []
        for name in names:
            numbered.append(f"{name}:{seen[name]}" if several[name] > 1 else name)
            seen[name] += 1
        return tuple(numbered)


def check_there(out: Path) -> None:
    """Raise `VerifyError` if there is no converted model at the path."""
    if not out.exists():
        raise VerifyError(
            f"{out}: no such converted model; create it with kerasport convert SRC {out}"
        )


def open_converted(runtime: Runtime, out: Path, model: KerasModel) -> Converted:
    """Load the model that `model` was converted to.

    Raises:
        VerifyError: it does not exist, does not load, or was converted from another model.
    """
    renamed, scripts, quantized = ({}, (), False) if written_as(out).suffix else _metadata(out)
    if node.COMPANION in scripts:
        _check_companion((out if out.is_dir() else out.parent) / node.COMPANION)
    described = runtime.describe(out)
    converted = Converted(
        out,
        renamed,
        tensor_infos(described["inputs"]),
        tensor_infos(described["outputs"]),
        tuple(described["layers"]),
        quantized or bool(described.get("quantized")),
    )
    for role, here, there in (
        ("input", converted.inputs, model.input_tensors),
        ("output", converted.outputs, model.output_tensors),
    ):
        if len(here) != len(there):
            raise VerifyError(
                f"{out}: has {_count(here, role)}, but the original has {_count(there, role)}; "
                f"{OTHER}"
            )
    return converted


OTHER = "it was converted from another model, or from another version of this one"


def _count(items: Sequence[object], role: str) -> str:
    return f"{len(items)} {role}{'s' if len(items) > 1 else ''}"


def _check_companion(script: Path) -> None:
    """Raise `VerifyError` unless the script next to the model is the one that verification runs."""
    if not script.is_file():
        raise VerifyError(
            f"{script}: the model needs this script, which is missing; convert the model again"
        )
    if script.read_bytes() != (node.WEB / node.COMPANION).read_bytes():
        raise VerifyError(
            f"{script}: is not the script that this version of kerasport writes; convert the model "
            "again"
        )


def _metadata(out: Path) -> tuple[Mapping[str, str], Sequence[str], bool]:
    """Renamed layers, the scripts that a page loads, and whether weights are quantized."""
    path = out / "model.json" if out.is_dir() else out
    try:
        document = json.loads(path.read_bytes())
        metadata = (document.get("userDefinedMetadata") or {}).get("kerasport") or {}
        weights = [
            weight for group in document.get("weightsManifest") or () for weight in group["weights"]
        ]
        quantized = any("quantization" in weight for weight in weights)
        return dict(metadata.get("renamed", {})), list(metadata.get("scripts", ())), quantized
    except FileNotFoundError:
        raise VerifyError(
            f"{out}: contains no model.json; create it with kerasport convert SRC {out}"
        ) from None
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise VerifyError(f"{path}: is not the model.json of a TF.js model ({error})") from None

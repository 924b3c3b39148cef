"""A converted model on disk, as its model.json and TF.js tell of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasport.errors import VerifyError
from kerasport.model import Model
from kerasport.verification import node
from kerasport.verification.runtime import Runtime
from kerasport.verification.tfjs import TensorInfo, tensor_infos


@dataclass(frozen=True)
class Converted:
    """A model that can be loaded."""

    path: Path
    renamed: Mapping[str, str]  # path in Keras → name in TF.js
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[str, ...]  # at the top level; of a graph-model none
    quantized: bool = False  # whether weights were rounded

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs; a layer that makes several gets a number behind each."""
        names = [info.name for info in self.outputs]
        several, seen = Counter(names), Counter[str]()
        told = []
        for name in names:
            told.append(f"{name}:{seen[name]}" if several[name] > 1 else name)
            seen[name] += 1
        return tuple(told)


def open_converted(runtime: Runtime, out: Path, model: Model) -> Converted:
    """What was made of the model.

    Raises:
        VerifyError: nothing is there, it does not load, or it was made of another model.
    """
    renamed, scripts, quantized = ({}, (), False) if out.suffix == ".onnx" else _metadata(out)
    if node.COMPANION in scripts:
        _check_companion((out if out.is_dir() else out.parent) / node.COMPANION)
    told = runtime.describe(out)
    converted = Converted(
        out,
        renamed,
        tensor_infos(told["inputs"]),
        tensor_infos(told["outputs"]),
        tuple(told["layers"]),
        quantized or bool(told.get("quantized")),
    )
    for role, here, there in (
        ("input", converted.inputs, model.input_tensors),
        ("output", converted.outputs, model.output_tensors),
    ):
        if len(here) != len(there):
            raise VerifyError(f"{out}: has {_count(here, role)}, the original {_count(there, role)}; {OTHER}")
    return converted


OTHER = "it was made of another model, or of another version of this one"


def _count(items: Sequence[object], role: str) -> str:
    return f"{len(items)} {role}{'s' if len(items) > 1 else ''}"


def _check_companion(beside: Path) -> None:
    """Raises `VerifyError` where a page would find another script than the one that is verified here."""
    if not beside.is_file():
        raise VerifyError(f"{beside}: is missing, and the model needs it; convert the model again")
    if beside.read_bytes() != (node.WEB / node.COMPANION).read_bytes():
        raise VerifyError(f"{beside}: is not the one that this kerasport writes; convert the model again")


def _metadata(out: Path) -> tuple[Mapping[str, str], Sequence[str], bool]:
    """The names that the converter changed, the scripts that a page loads, and whether weights are quantised."""
    path = out / "model.json" if out.is_dir() else out
    try:
        document = json.loads(path.read_bytes())
        metadata = (document.get("userDefinedMetadata") or {}).get("kerasport") or {}
        weights = [weight for group in document.get("weightsManifest") or () for weight in group["weights"]]
        quantized = any("quantization" in weight for weight in weights)
        return dict(metadata.get("renamed", {})), list(metadata.get("scripts", ())), quantized
    except FileNotFoundError:
        raise VerifyError(f"{out}: no converted model is there; make one with kerasport convert") from None
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise VerifyError(f"{path}: not the model.json of a TF.js model ({error})") from None

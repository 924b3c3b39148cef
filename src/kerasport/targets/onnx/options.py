"""Options of the ONNX target."""

from __future__ import annotations

from dataclasses import dataclass

from kerasport.errors import OptionError
from kerasport.targets.target import Options

OPSET = 20  # the first with Gelu; ONNX Runtime has it since 1.17
OPSETS = range(17, 23)


@dataclass(frozen=True)
class OnnxOptions(Options):
    """Options of an ONNX model.

    Attributes:
        opset: version of the operators.
        half_compute: whether the model computes in float16 where that is precise enough.

    Raises:
        OptionError: an option has an invalid value, or needs another option.
    """

    opset: int = OPSET
    half_compute: bool = False

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise OptionError(
                f"opset must be from {OPSETS[0]} to {OPSETS[-1]}, not {self.opset!r}", "opset"
            )
        if self.half_compute and not any(rule.kind == "float16" for rule in self.quantize):
            raise OptionError(
                "float16 computation needs float16 weights; also quantize to float16, or omit the "
                "option",
                "half_compute",
            )


DEFAULTS = OnnxOptions()

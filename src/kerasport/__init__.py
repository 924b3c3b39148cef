"""kerasport converts Keras models for the browser, exactly."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kerasport.errors import (
    HostileFileError,
    InternalError,
    KerasportError,
    MismatchError,
    MissingPackageError,
    OptionError,
    OutputExistsError,
    Problem,
    ReadError,
    UnsupportedError,
    UnsupportedModel,
    VerifyError,
    WriteError,
)
from kerasport.report import Check, Conversion, LayerOutcome, Repair

if TYPE_CHECKING:
    from kerasport.api import check, convert, doctor, repair, verify
    from kerasport.diagnosis import Diagnosis
    from kerasport.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "Check",
    "Conversion",
    "Diagnosis",
    "HostileFileError",
    "InternalError",
    "KerasportError",
    "LayerOutcome",
    "MismatchError",
    "MissingPackageError",
    "OptionError",
    "OutputExistsError",
    "Problem",
    "ReadError",
    "Repair",
    "UnsupportedError",
    "UnsupportedModel",
    "Verification",
    "VerifyError",
    "WriteError",
    "__version__",
    "check",
    "convert",
    "doctor",
    "repair",
    "verify",
]

LATER = {
    **dict.fromkeys(("check", "convert", "doctor", "repair", "verify"), "kerasport.api"),
    "Diagnosis": "kerasport.diagnosis",
    "Verification": "kerasport.verification",
}
"""Name → module imported on first use: numpy and h5py take half of the time of a short run."""


def __getattr__(name: str) -> Any:
    if name == "api":
        return import_module("kerasport.api")
    if name in LATER:
        return getattr(import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

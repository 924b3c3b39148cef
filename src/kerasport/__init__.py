"""kerasport takes Keras models to the browser, exactly."""

from kerasport.api import check, convert, doctor, repair, verify
from kerasport.errors import (
    HostileFileError,
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
)
from kerasport.report import Check, Conversion, LayerOutcome, Repair

__version__ = "0.1.0"

__all__ = [
    "Check",
    "Conversion",
    "HostileFileError",
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
    "VerifyError",
    "__version__",
    "check",
    "convert",
    "doctor",
    "repair",
    "verify",
]

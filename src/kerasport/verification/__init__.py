"""Run the original in Keras and the converted model in TF.js, and compare their numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args

from kerasport.errors import OptionError, VerifyError, unexpected
from kerasport.read import read
from kerasport.verification.comparison import Anything, Tolerance
from kerasport.verification.converted import open_converted
from kerasport.verification.onnx import PYTHON, WEB, Onnx
from kerasport.verification.original import on_disk
from kerasport.verification.runtime import Runtime
from kerasport.verification.tfjs import Backend, Tfjs
from kerasport.verification.trial import Trial
from kerasport.verification.verification import LayerDivergence, OutputError, Verification

Pathlike: TypeAlias = str | os.PathLike[str]

TIMEOUT = 3600.0
"""Seconds after which Keras or Node counts as hung: the plain JavaScript of cpu takes minutes for a large model."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)
ONNX_BACKENDS = (PYTHON, WEB)


def verify_conversion(
    source: Any,
    out: Path,
    weights: Pathlike | None = None,
    inputs: Pathlike | None = None,
    expected: Pathlike | None = None,
    backends: str | Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1, 3),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    timeout: float = TIMEOUT,
) -> Verification:
    """Compare a converted model with the original; the arguments are those of `kerasport.verify`."""
    is_onnx = out.suffix == ".onnx"
    chosen = known_backends(backends, ONNX_BACKENDS if is_onnx else BACKENDS)
    tolerance = Tolerance(1e-4 if rtol is None else rtol, 1e-5 if atol is None else atol, scaled=atol is None)
    if expected is not None and inputs is None:
        raise VerifyError("expected outputs say nothing without the inputs that they are of; give --inputs, too")
    if not timeout > 0:
        raise OptionError(f"the time limit is a positive number of seconds, not {timeout:g}", "timeout")
    runtime: Runtime = Onnx(timeout=timeout) if is_onnx else Tfjs(timeout=timeout)
    with on_disk(source) as path, read(path, weights) as model, unexpected(), runtime:
        converted = open_converted(runtime, out, model)
        told = converted.quantized and rtol is None and atol is None
        tolerance = Anything(tolerance.rtol, tolerance.atol) if told else tolerance
        trial = Trial(model, path, None if weights is None else Path(weights), converted, runtime, timeout)
        feeds = trial.random_feeds(batch_sizes, seed) if inputs is None else trial.given_feeds(Path(inputs))
        reference = trial.keras_reference(feeds) if expected is None else trial.given_reference(Path(expected), feeds)
        errors, seconds = [], dict(reference.seconds)
        for backend in chosen:
            started = time.monotonic()
            errors += list(trial.compare(feeds, reference, backend, tolerance))
            seconds[backend] = time.monotonic() - started
        diverges, why_not = trial.first_divergence(feeds, errors, tolerance)
    return Verification(
        source=os.fspath(source) if isinstance(source, str | os.PathLike) else f"the model {model.name!r}",
        out=str(out),
        reference=reference.by,
        backends=chosen,
        rtol=tolerance.rtol,
        atol=max((error.atol for error in errors), default=tolerance.atol),
        only_told=told,
        outputs=tuple(errors),
        diverges=diverges,
        notes=(*reference.notes, *why_not, *_small(errors, tolerance)),
        seconds=seconds,
    )


def _small(errors: Sequence[OutputError], tolerance: Tolerance) -> Iterator[str]:
    """What to do where outputs differ by less than float32 rounds numbers of an ordinary size."""
    wrong = [error for error in errors if not error.ok]
    if wrong and tolerance.scaled and all(error.absolute <= tolerance.atol for error in wrong):
        yield (
            f"the outputs that differ are small throughout; where they are what is left of larger numbers that cancel "
            f"each other, --atol {tolerance.atol:g} allows for that"
        )


def known_backends(names: str | Sequence[str] | None, there: Sequence[str] = BACKENDS) -> tuple[str, ...]:
    """Those that are named of the backends that there are; of TF.js all, and of ONNX the first, where none is.

    Raises:
        VerifyError: there is none of such a name.
    """
    if names is None:
        return tuple(there if there is BACKENDS else there[:1])
    names = (names,) if isinstance(names, str) else names
    unknown = sorted(set(names) - set(there))
    if unknown or not names:
        runtime = "TF.js" if there is BACKENDS else "an ONNX model"
        raise VerifyError(f"{runtime} is run on {' or '.join(there)}, not on {', '.join(unknown) or 'nothing'}")
    return tuple(backend for backend in there if backend in names)


__all__ = ["LayerDivergence", "OutputError", "Verification", "verify_conversion"]

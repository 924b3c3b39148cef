"""Run the original in Keras and the converted model in its runtime, and compare the outputs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from kerasport.errors import OptionError, VerifyError, unexpected
from kerasport.frontends.keras.read import on_disk, read
from kerasport.targets import written_as
from kerasport.verification.comparison import ReportOnly, Tolerance
from kerasport.verification.converted import check_there, open_converted
from kerasport.verification.references.original import find_original
from kerasport.verification.report import LayerDivergence, OutputError, Verification
from kerasport.verification.runtime import Runtime, RuntimeKind
from kerasport.verification.runtimes import RUNTIMES, node
from kerasport.verification.trial import Trial, or_given

Pathlike: TypeAlias = str | os.PathLike[str]

TIMEOUT = 3600.0
"""Seconds before Keras or Node counts as hung. On `cpu`, plain JavaScript, a large model is slow.
"""


def verify_conversion(
    source: Any,
    out: Path,
    *,
    weights: Pathlike | None = None,
    inputs: Pathlike | None = None,
    expected: Pathlike | None = None,
    backends: str | Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1, 3),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    timeout: float = TIMEOUT,
    python: str = "",
    status: Callable[[str], None] | None = None,
) -> Verification:
    """Compare a converted model with the original.

    The arguments are those of `kerasport.verify`. `status` is called with a few words on each step
    that takes long; without it, only an installation by npm is reported, on stderr.
    """
    kind = RUNTIMES[written_as(out).runtime]
    chosen = known_backends(backends, kind)
    tolerance = Tolerance(
        1e-4 if rtol is None else rtol, 1e-5 if atol is None else atol, scaled=atol is None
    )
    if expected is not None and inputs is None:
        raise VerifyError(
            "expected outputs need the inputs they belong to; give both --inputs and --expected"
        )
    if not timeout > 0:
        raise OptionError(
            f"the time limit must be a positive number of seconds, not {timeout:g}", "timeout"
        )
    waits = status or (lambda _: None)
    runtime: Runtime = kind.open(status or node.tell, timeout=timeout)
    with on_disk(source) as path, read(path, weights) as model, unexpected(), runtime:
        check_there(out)
        find = partial(
            find_original, model, path, None if weights is None else Path(weights), timeout, python
        )
        # before the runtime, which may have to install packages first
        original = or_given(find) if expected is None else None
        waits(f"loading {out} in {kind.title}")
        converted = open_converted(runtime, out, model)
        reported_only = converted.quantized and rtol is None and atol is None
        tolerance = ReportOnly(tolerance.rtol, tolerance.atol) if reported_only else tolerance
        trial = Trial(model, converted, runtime, find)
        feeds = (
            trial.random_feeds(batch_sizes, seed)
            if inputs is None
            else trial.given_feeds(Path(inputs))
        )
        if original is not None:
            waits(f"running {path.name} in {original.keras}")
            reference = trial.keras_reference(original, feeds)
        else:
            reference = trial.given_reference(Path(expected or ""), feeds)
        errors, seconds = [], dict(reference.seconds)
        for backend in chosen:
            started = time.monotonic()
            waits(f"running {out} on {backend}")
            errors += list(trial.compare(feeds, reference, backend, tolerance))
            seconds[backend] = time.monotonic() - started
        if not all(error.ok for error in errors):
            waits("looking for the first layer that differs")
        diverges, why_not = trial.first_divergence(feeds, errors, tolerance)
    return Verification(
        source=os.fspath(source)
        if isinstance(source, str | os.PathLike)
        else f"the model {model.name!r}",
        out=str(out),
        reference=reference.by,
        backends=chosen,
        rtol=tolerance.rtol,
        atol=max((error.atol for error in errors), default=tolerance.atol),
        reported_only=reported_only,
        outputs=tuple(errors),
        diverges=diverges,
        notes=(*reference.notes, *why_not, *_small(errors, tolerance)),
        seconds=seconds,
    )


def _small(errors: Sequence[OutputError], tolerance: Tolerance) -> Iterator[str]:
    """A note on differences below the rounding error of float32 for numbers near 1."""
    wrong = [error for error in errors if not error.ok]
    if wrong and tolerance.scaled and all(error.absolute <= tolerance.atol for error in wrong):
        yield (
            "all outputs that differ are small; if the model computes them as differences of "
            f"larger numbers, rounding explains the errors: use --atol {tolerance.atol:g}"
        )


def known_backends(names: str | Sequence[str] | None, kind: RuntimeKind) -> tuple[str, ...]:
    """The backends of those names. Without names: the default ones of the runtime.

    Raises:
        OptionError: the runtime has no backend of such a name.
    """
    if names is None:
        return kind.default
    names = (names,) if isinstance(names, str) else names
    unknown = sorted(set(names) - set(kind.backends))
    if unknown or not names:
        raise OptionError(
            f"unknown backend {', '.join(map(repr, unknown)) or 'list, which is empty'}; the "
            f"backends of {kind.title} are {' and '.join(kind.backends)}",
            "backend",
        )
    return tuple(backend for backend in kind.backends if backend in names)


__all__ = ["LayerDivergence", "OutputError", "Verification", "verify_conversion"]

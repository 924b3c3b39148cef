"""Run the original in Keras and the converted model in TF.js, and compare their numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np

from kerasport.errors import VerifyError
from kerasport.infer import input_shape
from kerasport.model import Model
from kerasport.read import read
from kerasport.verify.arrays import Arrays
from kerasport.verify.comparison import Tolerance
from kerasport.verify.converted import HOUR, Converted, open_converted
from kerasport.verify.divergence import first_divergence, telling_feeds
from kerasport.verify.given import read_expected, read_inputs
from kerasport.verify.inputs import input_layer, random_inputs
from kerasport.verify.original import Original, find_original, on_disk, rounded_policies
from kerasport.verify.tfjs import Backend, Tfjs
from kerasport.verify.verification import LayerDivergence, OutputError, Verification

Pathlike: TypeAlias = str | os.PathLike[str]
Batches: TypeAlias = Sequence[Arrays]

BACKENDS: tuple[Backend, ...] = get_args(Backend)


def verify_conversion(
    source: Any,
    out: Path,
    weights: Pathlike | None = None,
    inputs: Pathlike | None = None,
    expected: Pathlike | None = None,
    backends: Sequence[str] = BACKENDS,
    batch_sizes: Sequence[int] = (1, 3),
    rtol: float = 1e-4,
    atol: float = 1e-5,
    seed: int = 0,
) -> Verification:
    """Compare a converted model with the original; the arguments are those of `kerasport.verify`."""
    chosen = known_backends(backends)
    if expected is not None and inputs is None:
        raise VerifyError("expected outputs say nothing without the inputs that they are of; give --inputs, too")
    with on_disk(source) as path, read(path, weights) as model, Tfjs() as tfjs:
        trial = Trial(model, path, None if weights is None else Path(weights), open_converted(tfjs, out, model), tfjs)
        feeds = trial.given(Path(inputs)) if inputs is not None else trial.random(batch_sizes, seed)
        reference = trial.keras(feeds) if expected is None else trial.expected(Path(expected), feeds)
        tolerance, seconds = Tolerance(rtol, atol), dict(reference.seconds)
        errors: list[OutputError] = []
        for backend in chosen:
            started = time.monotonic()
            errors += trial.compare(feeds, backend, reference, tolerance)
            seconds[backend] = time.monotonic() - started
        diverges, notes = trial.divergence(feeds, errors, tolerance)
    return Verification(
        source=os.fspath(source) if isinstance(source, str | os.PathLike) else f"the model {model.name!r}",
        out=str(out),
        reference=reference.by,
        backends=chosen,
        rtol=rtol,
        atol=atol,
        outputs=tuple(errors),
        diverges=diverges,
        notes=(*reference.notes, *notes),
        seconds=seconds,
    )


def known_backends(names: Sequence[str]) -> tuple[Backend, ...]:
    """The backends of TF.js that are named.

    Raises:
        VerifyError: there is none of such a name.
    """
    unknown = sorted(set(names) - set(BACKENDS))
    if unknown or not names:
        raise VerifyError(f"TF.js is run on {' or '.join(BACKENDS)}, not on {', '.join(unknown) or 'nothing'}")
    return tuple(backend for backend in BACKENDS if backend in names)


@dataclass(frozen=True)
class Reference:
    """What the converted model is to compute of each batch, and who says so."""

    by: str
    results: Batches
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """An original, and what was made of it."""

    model: Model
    path: Path
    weights: Path | None
    converted: Converted
    tfjs: Tfjs

    @property
    def fixed_batch(self) -> bool:
        """Whether the model takes batches of one size only; then it may be stateful as well."""
        return any(input_shape(input_layer(tensor))[0] is not None for tensor in self.model.input_tensors)

    # ------------------------------------------------------------------------------------------ batches

    def random(self, sizes: Sequence[int], seed: int) -> Batches:
        """A batch of random inputs of each size."""
        if not sizes or min(sizes) < 1:
            raise VerifyError(f"batches of the sizes {[*sizes]} hold nothing to compare")
        rng = np.random.default_rng(seed)
        return [random_inputs(self.model, size, rng) for size in sizes]

    def given(self, inputs: Path) -> Batches:
        """The one batch in a file."""
        return [read_inputs(inputs, self.model, self.converted.inputs)]

    # --------------------------------------------------------------------------------------- references

    def original(self) -> Original:
        """The original, with the Keras to run it."""
        return find_original(self.model, self.path, self.weights)

    def keras(self, feeds: Batches) -> Reference:
        """What Keras makes of the batches."""
        original = self.original()
        # some backends compile every operation for each batch size: so all batches are run as one, where one may
        run = original.run(feeds if self.fixed_batch else [tuple(map(np.concatenate, zip(*feeds, strict=True)))])
        found, wanted = len(run.results[0]), len(self.converted.outputs)
        if found != wanted:
            raise VerifyError(f"{original.keras} gives {found} outputs for {self.path}, the file says {wanted}")
        results = run.results if self.fixed_batch else _split(run.results[0], [len(feed[0]) for feed in feeds])
        return Reference(str(original.keras), results, original.notes, {original.keras.module: run.seconds})

    def expected(self, path: Path, feeds: Batches) -> Reference:
        """What a file says."""
        results = [read_expected(path, self.model, self.converted.outputs, batch=len(feeds[0][0]))]
        policies = ", ".join(rounded_policies(self.model))
        note = f"the model computes in {policies}, the converted one in float32: so much they may differ"
        return Reference(path.name, results, (note,) if policies else ())

    # -------------------------------------------------------------------------------------- comparisons

    def compare(
        self, feeds: Batches, backend: Backend, reference: Reference, tolerance: Tolerance
    ) -> Iterator[OutputError]:
        """How far each output is from the reference, in the batch where it is furthest."""
        results = self.tfjs.run(self.converted.path, feeds, backend=backend, timeout=HOUR).results
        for index, name in enumerate(self.converted.output_names):
            each = [
                OutputError(
                    **asdict(tolerance.compare(actual[index], expected[index])),
                    backend=backend,
                    name=name,
                    batch=batch,
                    batch_size=len(feeds[batch][0]),
                )
                for batch, (actual, expected) in enumerate(zip(results, reference.results, strict=True))
            ]
            yield max(each, key=lambda error: (not error.ok, error.absolute))

    def divergence(
        self, feeds: Batches, errors: Sequence[OutputError], tolerance: Tolerance
    ) -> tuple[LayerDivergence | None, tuple[str, ...]]:
        """The layer behind the first error, or what to tell where it is not found."""
        wrong = next((error for error in errors if not error.ok), None)
        if wrong is None or not self.converted.layers:
            return None, ()
        telling = telling_feeds(feeds, wrong.batch, wrong.where, fixed=self.fixed_batch)
        try:
            found = first_divergence(
                self.tfjs, self.converted, wrong.backend, self.model, self.original(), telling, tolerance
            )
        except VerifyError as error:
            return None, (f"which layer diverges first is not known: {error}",)
        if found is None:
            return None, ("no single layer diverges from Keras by more than is allowed; the differences add up",)
        return found, ()


def _split(outputs: Arrays, sizes: Sequence[int]) -> Batches:
    """The outputs of batches that were run as one."""
    ends = np.cumsum(sizes)[:-1]
    return list(zip(*(np.split(output, ends) for output in outputs), strict=True))


__all__ = ["LayerDivergence", "OutputError", "Verification", "verify_conversion"]

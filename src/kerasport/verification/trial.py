"""A trial of a converted model: batches, what is expected of them, and how far what it computes is from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from kerasport.errors import VerifyError
from kerasport.infer import input_shape
from kerasport.model import Model
from kerasport.verification.arrays import Arrays
from kerasport.verification.comparison import Tolerance
from kerasport.verification.converted import Converted
from kerasport.verification.divergence import first_divergence, telling_feeds
from kerasport.verification.given import read_expected, read_inputs
from kerasport.verification.inputs import input_layer, random_inputs
from kerasport.verification.original import Original, find_original, rounded_policies
from kerasport.verification.runtime import Runtime
from kerasport.verification.verification import LayerDivergence, OutputError

Feeds: TypeAlias = Sequence[Arrays]
"""Batches of a model's inputs."""


@dataclass(frozen=True)
class Reference:
    """What the converted model is to compute of each batch, and who says so."""

    by: str
    results: Sequence[Arrays]
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """An original, and what was made of it."""

    model: Model
    path: Path
    weights: Path | None
    converted: Converted
    runtime: Runtime
    timeout: float = 600  # seconds after which Keras counts as hung

    @property
    def fixed_batch(self) -> bool:
        """Whether the model takes batches of one size only; then it may be stateful as well."""
        return any(input_shape(input_layer(tensor))[0] is not None for tensor in self.model.input_tensors)

    # ------------------------------------------------------------------------------------------ batches

    def random_feeds(self, sizes: Sequence[int], seed: int) -> Feeds:
        """A batch of random inputs of each size."""
        if not sizes or min(sizes) < 1:
            raise VerifyError(f"batches of the sizes {[*sizes]} hold nothing to compare")
        rng = np.random.default_rng(seed)
        return [random_inputs(self.model, size, rng) for size in sizes]

    def given_feeds(self, inputs: Path) -> Feeds:
        """The one batch in a file."""
        return [read_inputs(inputs, self.model, self.converted.inputs)]

    # --------------------------------------------------------------------------------------- references

    def keras_reference(self, feeds: Feeds) -> Reference:
        """What Keras makes of the batches."""
        try:
            return self._run_keras(self._original(), feeds)
        except VerifyError as error:
            remedy = "give inputs, and what Keras computes of them, with --inputs in.npz --expected out.npz"
            raise VerifyError(f"{error}; or {remedy}") from None

    def _original(self) -> Original:
        return find_original(self.model, self.path, self.weights, self.timeout)

    def _run_keras(self, original: Original, feeds: Feeds) -> Reference:
        # some backends compile every operation for each batch size: so all batches are run as one, where one may
        run = original.run(feeds if self.fixed_batch else [tuple(map(np.concatenate, zip(*feeds, strict=True)))])
        found, wanted = len(run.results[0]), len(self.converted.outputs)
        if found != wanted:
            raise VerifyError(f"{original.keras} computes {found} outputs of {self.path}, {wanted} by the file")
        results = run.results if self.fixed_batch else _split(run.results[0], [len(feed[0]) for feed in feeds])
        return Reference(str(original.keras), results, original.notes, {original.keras.module: run.seconds})

    def given_reference(self, expected: Path, feeds: Feeds) -> Reference:
        """What a file says."""
        (feed,) = feeds
        results = read_expected(expected, self.model, self.converted.outputs, batch=len(feed[0]))
        policies = ", ".join(rounded_policies(self.model))
        note = f"the model computes in {policies}, the converted one in float32: so much they may differ"
        return Reference(expected.name, [results], (note,) if policies else ())

    # -------------------------------------------------------------------------------------- comparisons

    def compare(self, feeds: Feeds, reference: Reference, backend: str, tolerance: Tolerance) -> Iterator[OutputError]:
        """How far each output is from the reference, in the batch where it is furthest."""
        results = self.runtime.run(self.converted.path, feeds, backend=backend).results
        batches = list(enumerate(zip(feeds, results, reference.results, strict=True)))
        for index, name in enumerate(self.converted.output_names):
            settled = tolerance.settled([expected[index] for expected in reference.results])
            each = [
                OutputError(
                    **asdict(settled.compare(actual[index], expected[index])),
                    backend=backend,
                    name=name,
                    batch=batch,
                    batch_size=len(feed[0]),
                    atol=settled.atol,
                )
                for batch, (feed, actual, expected) in batches
            ]
            yield max(each, key=lambda error: (not error.ok, error.absolute))

    def first_divergence(
        self, feeds: Feeds, errors: Sequence[OutputError], tolerance: Tolerance
    ) -> tuple[LayerDivergence | None, tuple[str, ...]]:
        """The layer behind the first error, and notes on why it is not known."""
        wrong = next((error for error in errors if not error.ok), None)
        if wrong is None or not self.converted.layers:
            return None, ()
        telling = telling_feeds(feeds, wrong.batch, wrong.where, fixed=self.fixed_batch)
        try:
            found = first_divergence(
                self.runtime, self.converted, wrong.backend, self.model, self._original(), telling, tolerance
            )
        except VerifyError as error:
            return None, (f"which layer diverges first is not known: {error}",)
        return found, () if found else ("each layer is as in Keras, within what is allowed; the differences add up",)


def _split(outputs: Arrays, sizes: Sequence[int]) -> Sequence[Arrays]:
    """The outputs of batches that were run as one."""
    ends = np.cumsum(sizes)[:-1]
    return list(zip(*(np.split(output, ends) for output in outputs), strict=True))

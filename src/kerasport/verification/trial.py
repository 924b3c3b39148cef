"""Run a converted model on batches of inputs, and compare its outputs with the expected ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from kerasport.errors import OptionError, VerifyError
from kerasport.frontends.keras.infer import input_shape
from kerasport.frontends.keras.model import KerasModel
from kerasport.verification.arrays import Arrays
from kerasport.verification.comparison import Tolerance
from kerasport.verification.converted import Converted
from kerasport.verification.divergence import discriminating_feeds, first_divergence
from kerasport.verification.inputs import input_layer, random_inputs
from kerasport.verification.references.original import Original, rounded_policies
from kerasport.verification.report import LayerDivergence, OutputError
from kerasport.verification.runtime import Runtime
from kerasport.verification.user_data import read_expected, read_inputs

Feeds: TypeAlias = Sequence[Arrays]
"""Batches of a model's inputs."""


@dataclass(frozen=True)
class Reference:
    """The expected outputs of each batch, and where they come from."""

    by: str
    results: Sequence[Arrays]
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """An original model and its conversion."""

    model: KerasModel
    converted: Converted
    runtime: Runtime
    find: Callable[[], Original]  # raises `VerifyError` if no Keras can run the original

    @property
    def fixed_batch(self) -> bool:
        """Whether the model has a fixed batch size; such a model may be stateful."""
        return any(
            input_shape(input_layer(tensor))[0] is not None for tensor in self.model.input_tensors
        )

    # -------------------------------------------------------------------------------------- batches

    def random_feeds(self, sizes: Sequence[int], seed: int) -> Feeds:
        """A batch of random inputs of each size."""
        if not sizes or min(sizes) < 1:
            raise OptionError(
                f"batch sizes must be positive numbers, not {[*sizes]}", "batch_sizes"
            )
        rng = np.random.default_rng(seed)
        return [random_inputs(self.model, size, rng) for size in sizes]

    def given_feeds(self, inputs: Path) -> Feeds:
        """The batch in a file."""
        return [read_inputs(inputs, self.model, self.converted.inputs)]

    # ----------------------------------------------------------------------------------- references

    def keras_reference(self, original: Original, feeds: Feeds) -> Reference:
        """The outputs of Keras for the batches."""
        return or_given(lambda: self._run_keras(original, feeds))

    def _run_keras(self, original: Original, feeds: Feeds) -> Reference:
        # Some backends compile every operation for each batch size. So run all batches as one,
        # unless the model has a fixed batch size.
        run = original.run(
            feeds if self.fixed_batch else [tuple(map(np.concatenate, zip(*feeds, strict=True)))]
        )
        found, wanted = len(run.results[0]), len(self.converted.outputs)
        if found != wanted:
            raise VerifyError(
                f"{original.path} has {found} outputs in {original.keras}, but {wanted} in its file"
            )
        results = (
            run.results
            if self.fixed_batch
            else _split(run.results[0], [len(feed[0]) for feed in feeds])
        )
        return Reference(
            str(original.keras), results, original.notes, {original.keras.module: run.seconds}
        )

    def given_reference(self, expected: Path, feeds: Feeds) -> Reference:
        """The expected outputs in a file."""
        (feed,) = feeds
        results = read_expected(expected, self.model, self.converted.outputs, batch=len(feed[0]))
        policies = ", ".join(rounded_policies(self.model))
        note = (
            f"the model computes in {policies} and the converted model in float32, so they may "
            "differ"
        )
        return Reference(expected.name, [results], (note,) if policies else ())

    # ---------------------------------------------------------------------------------- comparisons

    def compare(
        self, feeds: Feeds, reference: Reference, backend: str, tolerance: Tolerance
    ) -> Iterator[OutputError]:
        """The difference of each output from the reference, in the batch where it is largest."""
        results = self.runtime.run(self.converted.path, feeds, backend=backend).results
        batches = list(enumerate(zip(feeds, results, reference.results, strict=True)))
        for index, name in enumerate(self.converted.output_names):
            settled = tolerance.settled([expected[index] for expected in reference.results])
            errors = [
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
            yield max(errors, key=lambda error: (not error.ok, error.absolute))

    def first_divergence(
        self, feeds: Feeds, errors: Sequence[OutputError], tolerance: Tolerance
    ) -> tuple[LayerDivergence | None, tuple[str, ...]]:
        """The first layer that differs, and notes if it cannot be found."""
        wrong = next((error for error in errors if not error.ok), None)
        if wrong is None or not self.converted.layers:
            return None, ()
        discriminating = discriminating_feeds(
            feeds, wrong.batch, wrong.where, fixed=self.fixed_batch
        )
        try:
            found = first_divergence(
                self.runtime,
                self.converted,
                wrong.backend,
                self.model,
                self.find(),
                discriminating,
                tolerance,
            )
        except VerifyError as error:
            return None, (f"the first layer that differs could not be found: {error}",)
        return found, () if found else (
            "every layer is within the tolerance; small differences add up",
        )


GIVE = (
    "give inputs and the outputs that Keras computes for them: --inputs in.npz --expected out.npz"
)
T = TypeVar("T")


def or_given(work: Callable[[], T]) -> T:
    """Do work that needs Keras; its errors also say how to verify without Keras.

    Raises:
        VerifyError: Keras is not installed, or cannot run the model.
    """
    try:
        return work()
    except VerifyError as error:
        raise VerifyError(f"{error}. Or {GIVE}") from None


def _split(outputs: Arrays, sizes: Sequence[int]) -> Sequence[Arrays]:
    """Split the outputs for a joined batch into the outputs for each batch."""
    ends = np.cumsum(sizes)[:-1]
    return list(zip(*(np.split(output, ends) for output in outputs), strict=True))

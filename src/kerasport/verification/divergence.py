"""Find the first layer of a converted model whose output differs from that in Keras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from kerasport.frontends.keras.layers import is_input
from kerasport.frontends.keras.model import KerasModel
from kerasport.verification.arrays import Arrays
from kerasport.verification.comparison import Difference, Tolerance
from kerasport.verification.converted import Converted
from kerasport.verification.references.original import Original
from kerasport.verification.report import LayerDivergence
from kerasport.verification.runtime import Runtime

AT_ONCE = 16  # layers per request to TF.js: an answer is one string, and its length is limited


def first_divergence(
    runtime: Runtime,
    converted: Converted,
    backend: str,
    model: KerasModel,
    original: Original,
    feeds: Sequence[Arrays],
    tolerance: Tolerance,
) -> LayerDivergence | None:
    """The first layer whose output for the last batch differs from Keras, or None.

    Compares the layers of the outermost model that both models contain.

    Raises:
        VerifyError: Keras or the runtime cannot run the model.
    """
    targets = {target.name: target for target in model.targets() if not is_input(target)}
    names = {name: converted.renamed.get(name, name) for name in targets}
    names = {name: there for name, there in names.items() if there in converted.layers}
    expected = original.run(feeds, tuple(names)).layers
    for some in _in_groups([name for name in names if name in expected]):
        wanted = [names[name] for name in some]
        computed = runtime.run(converted.path, feeds, backend=backend, layers=wanted).layers[-1]
        for name in some:
            worst = nearest(computed[names[name]], expected[name], tolerance)
            if not worst.ok:
                class_name = targets[name].class_name
                return LayerDivergence(
                    **asdict(worst),
                    backend=backend,
                    name=name,
                    tfjs_name=names[name],
                    class_name=class_name,
                )
    return None


def _in_groups(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def nearest(outputs: Arrays, calls: Sequence[Arrays], tolerance: Tolerance) -> Difference:
    """The difference from the nearest call of a layer: TF.js may run the calls in another order."""
    return min((_furthest(outputs, expected, tolerance) for expected in calls), key=_severity)


def _furthest(outputs: Arrays, expected: Arrays, tolerance: Tolerance) -> Difference:
    # TF.js returns only the outputs that are used, of a sequence and its states
    pairs = zip(outputs, expected, strict=False)
    return max(
        (tolerance.compare_to_scale(actual, wanted) for actual, wanted in pairs), key=_severity
    )


def _severity(difference: Difference) -> tuple[bool, float]:
    return not difference.ok, difference.absolute


def discriminating_feeds(
    feeds: Sequence[Arrays], number: int, where: tuple[int, ...], *, fixed: bool
) -> Sequence[Arrays]:
    """Batches whose last one reproduces the difference in batch `number` at `where`.

    That is one sample. A model with a fixed batch size may be stateful, so it gets all batches up
    to that one.
    """
    if fixed:
        return feeds[: number + 1]
    sample = where[0] if where else 0
    return [tuple(array[sample : sample + 1] for array in feeds[number])]

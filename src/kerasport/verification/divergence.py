"""Which layer of a converted model is the first whose output differs from that in Keras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from kerasport.model import LayerSpec, Model
from kerasport.verification.arrays import Arrays
from kerasport.verification.comparison import Difference, Tolerance
from kerasport.verification.converted import Converted
from kerasport.verification.original import Original
from kerasport.verification.runtime import Runtime
from kerasport.verification.verification import LayerDivergence

AT_ONCE = 16  # layers that TF.js is asked for at a time, since an answer is one string of limited length


def first_divergence(
    runtime: Runtime,
    converted: Converted,
    backend: str,
    model: Model,
    original: Original,
    feeds: Sequence[Arrays],
    tolerance: Tolerance,
) -> LayerDivergence | None:
    """The first layer whose output of the last batch is not that of Keras; None where no single one stands out.

    Only layers of the outermost model are looked at, and of them those that are in both models.

    Raises:
        VerifyError: one of the two cannot tell what its layers compute.
    """
    targets = {target.name: target for target in model.targets() if not _is_input(target)}
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
                    **asdict(worst), backend=backend, name=name, tfjs_name=names[name], class_name=class_name
                )
    return None


def _is_input(target: object) -> bool:
    return isinstance(target, LayerSpec) and target.class_name == "InputLayer"


def _in_groups(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def nearest(outputs: Arrays, calls: Sequence[Arrays], tolerance: Tolerance) -> Difference:
    """The difference from that call of a layer which is nearest, since TF.js may make the calls in another order."""
    return min((_furthest(outputs, expected, tolerance) for expected in calls), key=_severity)


def _furthest(outputs: Arrays, expected: Arrays, tolerance: Tolerance) -> Difference:
    pairs = zip(outputs, expected, strict=False)  # TF.js gives the sequence or the states that are used, at least
    return max((tolerance.compare_to_scale(actual, wanted) for actual, wanted in pairs), key=_severity)


def _severity(difference: Difference) -> tuple[bool, float]:
    return not difference.ok, difference.absolute


def telling_feeds(feeds: Sequence[Arrays], number: int, where: tuple[int, ...], *, fixed: bool) -> Sequence[Arrays]:
    """Batches of which the last shows what batch `number` showed at `where`: if possible, one sample alone.

    A model of a fixed batch size may be stateful: then the batches before count as well.
    """
    if fixed:
        return feeds[: number + 1]
    sample = where[0] if where else 0
    return [tuple(array[sample : sample + 1] for array in feeds[number])]

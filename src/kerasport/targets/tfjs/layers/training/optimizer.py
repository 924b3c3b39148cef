"""The state of an optimizer, so that TF.js continues training where Keras stopped.

TF.js reads it by position: the step, then for each slot the arrays of all trainable weights in the
order of `model.trainableWeights` (tfjs-core optimizers/*.ts, setWeights). Keras stores the step,
the learning rate, and the slots in the order of its `trainable_variables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from kerasport.frontends.keras.layers import LAYERS
from kerasport.frontends.keras.model import Call, KerasModel, KerasTensor, LayerSpec
from kerasport.releases import major
from kerasport.targets.tfjs.layers.execution import inputs_of
from kerasport.targets.tfjs.layers.spelling.native import Json
from kerasport.targets.tfjs.layers.spelling.topology import Topology
from kerasport.weights import Array, ComputedWeight, Weight

Slots = Mapping[str, Sequence[Weight]]


def optimizer_state(
    model: KerasModel, native: KerasModel, written: Topology, optimizer: Json
) -> tuple[dict[str, Weight], list[str]]:
    """The weights of the optimizer by name, in the order of TF.js, and notes on what is lost.

    Args:
        model: the model as read.
        native: the prepared model.
        written: its names and weights in TF.js.
        optimizer: the optimizer in the spelling of TF.js.
    """
    stored, lost = model.optimizer, "the optimizer state is not included: "
    if len(stored) <= 2:
        return {}, []  # there was no step yet
    if major(model.writer) < 3:
        return {}, [f"{lost}it was saved by Keras {model.writer}"]
    ours, theirs = _trainable(model), _trainable(native)
    if ours is None or theirs is None:
        return {}, [f"{lost}in nested models and wrappers TF.js orders the weights differently"]
    step, _, *rest = stored
    slots = _slots(rest, ours, optimizer)
    names = {id(weight): name for name, weight in written.weights.items()}
    if (
        slots is None
        or {*map(id, ours)} != {*map(id, theirs)}
        or not names.keys() >= {*map(id, ours)}
    ):
        return {}, [f"{lost}it does not match the trainable weights of the model"]
    index = {id(weight): position for position, weight in enumerate(ours)}
    state: dict[str, Weight] = {"optimizer/iter": _step(step)}
    for slot, arrays in slots.items():
        state |= {
            f"optimizer/{names[id(weight)]}/{slot}": arrays[index[id(weight)]] for weight in theirs
        }
    return state, []


def _step(step: Weight) -> ComputedWeight:
    return ComputedWeight(np.dtype(np.int32), (), lambda: step.read().astype(np.int32))


def _slots(rest: Sequence[Weight], trainable: Sequence[Weight], optimizer: Json) -> Slots | None:
    """Slot → its arrays in the order of Keras; None if they do not fit the weights."""
    config, count = optimizer["config"], len(trainable)
    kind = optimizer["class_name"]
    slots: dict[str, Sequence[Weight]]
    if kind == "Adam":
        slots = {"m": rest[::2], "v": rest[1::2]}
    elif kind == "Momentum" and config["learning_rate"]:
        # the velocity of Keras includes the learning rate, that of TF.js does not
        slots = {"momentum": [_times(weight, -1 / config["learning_rate"]) for weight in rest]}
    elif kind == "Adagrad":
        slots = {"accumulator": rest}
    elif kind == "RMSProp":
        moments = rest[count:] if config["momentum"] else [_times(weight, 0) for weight in rest]
        slots = {"rms": rest[:count] if config["momentum"] else rest, "momentum": moments}
    else:
        return None
    fits = all(_have_shapes_of(arrays, trainable) for arrays in slots.values())
    return slots if fits else None


def _have_shapes_of(arrays: Sequence[Weight], weights: Sequence[Weight]) -> bool:
    return [array.shape for array in arrays] == [weight.shape for weight in weights]


def _times(weight: Weight, factor: float) -> ComputedWeight:
    def compute() -> Array:
        numbers: Array = (weight.read().astype(np.float64) * factor).astype(np.float32)
        return numbers

    return ComputedWeight(np.dtype(np.float32), weight.shape, compute)


# ----------------------------------------------------------------------------- order of the weights


def _trainable(model: KerasModel) -> list[Weight] | None:
    """The trainable weights in order; None if there are nested models or wrappers."""
    found: list[Weight] = []
    for target in by_depth(model):
        if isinstance(target, KerasModel) or (isinstance(target, LayerSpec) and target.children):
            return None
        if isinstance(target, LayerSpec) and target.weights:
            if not _has_declared_weights(target):
                return None
            found += _of_layer(target)
    return found if model.trainable else []


def _has_declared_weights(spec: LayerSpec) -> bool:
    cls = LAYERS.get(spec.class_name)
    return cls is not None and len(cls.declared_weights(spec.config)) == len(spec.weights)


def _of_layer(spec: LayerSpec) -> Iterator[Weight]:
    declared = LAYERS[spec.class_name].declared_weights(spec.config)
    for mark, weight in zip(declared.values(), spec.weights, strict=True):
        if mark.trainable and spec.config.get("trainable") is not False:
            yield weight


def by_depth(model: KerasModel) -> list[object]:
    """Layers and nested models in the order of Keras and TF.js.

    They are sorted by depth, the longest path to an output, deepest first. Targets of equal depth
    stay in the order of a walk from the outputs, which visits a target before its inputs
    (keras models/functional.py, map_graph; tfjs-layers engine/container.ts).
    """
    met: dict[int, int] = {}
    order: dict[Call, None] = {}

    started: set[Call] = set()

    def inputs(tensor: KerasTensor) -> Iterator[KerasTensor]:
        """The tensors to visit before the call is done; none if it was visited before."""
        if tensor.call not in started:
            started.add(tensor.call)
            met.setdefault(id(tensor.call.target), len(met))
            yield from inputs_of(tensor.call)
            order[tensor.call] = None

    for end in model.output_tensors:
        # iterative, since models may be deep
        pending = [inputs(end)]
        while pending:
            before = next(pending[-1], None)
            if before is None:
                pending.pop()
            else:
                pending.append(inputs(before))
    depths: dict[Call, int] = {}
    deepest: dict[int, int] = {}
    for call in reversed(order):
        depth = max(depths.setdefault(call, 0), deepest.get(id(call.target), 0))
        depths[call] = deepest[id(call.target)] = depth
        for tensor in inputs_of(call):
            depths[tensor.call] = max(depth + 1, depths.get(tensor.call, 0))
    targets = {id(call.target): call.target for call in order}
    return [targets[key] for key in sorted(targets, key=lambda key: (-deepest[key], met[key]))]

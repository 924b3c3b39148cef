"""The base of all layer classes: how they declare options, weights, shapes and lowering."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeAlias,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from kerasport.errors import Problem, Refusal, ShapeError, UnsupportedPart
from kerasport.frontends.keras.layers.traits import Traits
from kerasport.frontends.keras.model import KerasModel, LayerSpec, flatten
from kerasport.weights import LARGEST_SIZE, Shape, Weight

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
Padding: TypeAlias = Literal["valid", "same"]
Activation: TypeAlias = str | Mapping[str, Any] | None
"""A name, or the serialized object of a function or layer."""
Outputs: TypeAlias = Shape | tuple[Shape, ...]
Child: TypeAlias = LayerSpec | KerasModel
"""A layer or model inside a wrapper."""


LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Between:
    """Bounds of an integer option."""

    least: int
    most: int = LARGEST_SIZE


@dataclass(frozen=True)
class PerAxis:
    """An option that has one entry for each spatial axis of the layer (`rank`)."""


Count: TypeAlias = Annotated[int, Between(1)]
Natural: TypeAlias = Annotated[int, Between(0)]
Counts: TypeAlias = Annotated[tuple[Count, ...], PerAxis()]
Naturals: TypeAlias = Annotated[tuple[Natural, ...], PerAxis()]


@dataclass(frozen=True)
class OfNumbers:
    """An option that is a number, or an array or nested tuples of numbers."""


Numbers: TypeAlias = Annotated[Any, OfNumbers()]

# Suffixes of options that affect training or initialization only.
TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint", "_initialization")
COMMON = frozenset(
    {"name", "dtype", "trainable", "autocast", "batch_input_shape", "batch_shape", "input_dtype",
     "quantization_config", "lora_rank", "lora_alpha", "build_input_shape",
     "gptq_unpacked_column_size"}
)  # fmt: skip


@dataclass(frozen=True)
class WeightMark:
    """Declares a weight in a class body; see `weight`."""

    when: str | None
    trainable: bool


def weight(*, when: str | None = None, trainable: bool = True) -> Any:
    """Declare a weight. With `when`, it exists only if that option is true.

    Keras files number the weights of a layer, so the order of declaration identifies them. Keras 2
    files list trainable weights first, so `trainable=False` marks moving statistics.
    """
    return WeightMark(when, trainable)


REQUIRED = object()  # the default of an option that every file gives


class Layer:
    """A Keras layer.

    A subclass declares its options with the names and defaults of Keras, then its weights in the
    order of Keras. The declarations are annotations, as in a dataclass, read when the class is
    created, without compiling code as `dataclass` does, to keep the start of kerasport fast.
    """

    name: str
    traits: ClassVar[Traits]
    """The properties of the layer besides its formula. Every class or family declares them."""
    ignored: ClassVar[tuple[str, ...]] = ()
    """Names of options that have no effect at inference."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Option → default, or `REQUIRED`."""
    weights: ClassVar[Mapping[str, WeightMark]] = {}
    """Weight → its declaration, in the order of Keras."""

    def __init_subclass__(cls) -> None:
        declared = [
            name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in hint
        ]
        values = {name: cls.__dict__.get(name, REQUIRED) for name in declared}
        marks = {name: value for name, value in values.items() if isinstance(value, WeightMark)}
        cls.weights = {**cls.weights, **marks}
        cls.defaults = {
            **cls.defaults,
            **{name: values[name] for name in declared if name not in marks},
        }

    def __init__(self, name: str, values: Mapping[str, Any], weights: Mapping[str, Weight]) -> None:
        absent = dict.fromkeys(type(self).weights)
        vars(self).update({"name": name, **self.defaults, **values, **absent, **weights})

    takes: ClassVar[tuple[str, ...]] = ()
    """Call arguments that `lower` takes by name, besides masks (`Traits.mask_input`)."""
    signature: ClassVar[tuple[str, ...]] = ("inputs", "training")
    """The parameters of `call` in Keras, in order."""
    tensors: ClassVar[tuple[str, ...]] = ("inputs",)
    """The parameters that contain the input tensors."""
    infers_shape: ClassVar[bool] = True
    """Whether the options and the input shapes determine the shape of the output."""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """The smallest and the largest number of input tensors; None for no limit."""

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs at inference: a tensor, or a tuple of tensors.

        Raises:
            Refusal: an option, or the shape of an input, is not supported.
        """
        del args, kwargs
        raise Refusal("", "this layer is not supported yet")

    @classmethod
    def works_on(cls, count: int) -> bool:
        """Whether the layer can be called on this number of tensors."""
        fewest, most = cls.arity
        return fewest <= count and (most is None or count <= most)

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        """Weight → its shape for these shapes of the inputs; None matches any size."""
        del inputs
        return {}

    def infer(self, *inputs: Shape) -> Outputs:
        """Shape of the output, or shapes of several outputs, for these shapes of the inputs."""
        return inputs[0]

    def infer_call(self, arguments: Mapping[str, Any], *inputs: Shape) -> Outputs:
        """`infer` for a call with these other arguments, which may change the shapes."""
        del arguments
        return self.infer(*inputs)

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """The weights of a layer with this config, in the order of Keras."""
        options = {**cls.defaults, **config}
        return {
            name: mark
            for name, mark in cls.weights.items()
            if mark.when is None or options[mark.when]
        }

    @classmethod
    def from_spec(cls, spec: LayerSpec) -> Layer:
        """Create the layer from its spec.

        Raises:
            UnsupportedPart: an unknown option is set, or an option has an invalid value.
        """
        hints = option_types(cls)
        values: dict[str, Any] = {}
        for option, value in spec.config.items():
            if option in hints:
                values[option] = _checked(
                    spec, option, value, hints[option], getattr(cls, "rank", 0)
                )
            elif _is_set(value) and not _is_ignored(option, cls):
                raise UnsupportedPart(_unread(spec, option, value))
        missing = [
            option
            for option, default in cls.defaults.items()
            if default is REQUIRED and option not in values
        ]
        if missing:
            reason = f"the option {missing[0]!r} is missing in the file"
            raise UnsupportedPart(Problem(spec.name, spec.class_name, reason))
        return cls(spec.name, values, cls._named_weights(spec))

    @classmethod
    def from_config(cls, class_name: str, config: Mapping[str, Any]) -> Layer:
        """Create a layer without weights from its config."""
        return cls.from_spec(LayerSpec(str(config.get("name", class_name)), class_name, config))

    @classmethod
    def _named_weights(cls, spec: LayerSpec) -> dict[str, Weight]:
        names = list(cls.declared_weights(spec.config))
        if len(names) != len(spec.weights):
            expected, found = ", ".join(names) or "none", len(spec.weights)
            reason = f"expected the weights {expected}; the file has {found}"
            raise UnsupportedPart(Problem(spec.name, spec.class_name, reason))
        return dict(zip(names, spec.weights, strict=True))


def listed(outputs: Outputs) -> tuple[Shape, ...]:
    """The shapes of all outputs, if `infer` returns one shape or several."""
    several = bool(outputs) and isinstance(outputs[0], tuple)
    return cast("tuple[Shape, ...]", outputs if several else (outputs,))


def called_on(count: int, cls: type[Layer]) -> str:
    """Why a call of a layer on this number of tensors is refused."""
    fewest, most = cls.arity
    wanted = f"{fewest} or more" if most is None else f"{fewest} to {most}"
    if fewest == most:
        wanted = str(fewest)
    return f"it is called on {count} tensor(s), but kerasport supports only calls on {wanted}"


class Inside(Protocol):
    """Access to the layers inside a wrapper, for `Wrapper.lower_around`; see `LoweredInside`.

    Its methods raise `Reported` if a part is refused.
    """

    @property
    def parts(self) -> Mapping[str, Child]:
        """The layers and models inside, by name."""

    def lower(
        self, child: Child, inputs: Sequence[Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The outputs of a layer or model inside; `mask` is the mask of the first input."""

    def call(
        self, child: LayerSpec, inputs: Sequence[Tensor], **arguments: Any
    ) -> tuple[Tensor, ...]:
        """The outputs of a layer that is called with these arguments."""

    def cells(self, *children: Child) -> tuple[Any, ...]:
        """The recurrent cells in order; for stacked cells, each of them."""

    def mixing_layer(self, child: Child) -> str | None:
        """Name of a layer in which samples of a batch influence each other, if there is one."""

    def reads_mask(self, child: Child) -> bool:
        """Whether the outputs depend on the mask of the input."""

    def makes_mask(self, child: Child) -> bool:
        """Whether the child, or a layer inside it, creates a mask."""


class InsideShapes(Protocol):
    """Access to the layers inside a wrapper, for `Wrapper.infer_around`; see `Inference`."""

    @property
    def parts(self) -> Mapping[str, Child]:
        """The layers and models inside, by name."""

    def infer(self, child: Child, inputs: tuple[Shape, ...]) -> tuple[Shape, ...] | None:
        """Shapes of the outputs of a layer or model inside; None if they are unknown."""

    def is_identity(self, child: Child) -> bool:
        """Whether the child returns its input at inference."""


class Reported(Exception):
    """Ends the lowering of a layer if a layer inside it is refused."""


class Wrapper(Layer):
    """A layer that contains other layers, its `parts`."""

    def lower_around(self, inside: Inside, *args: Any, **kwargs: Any) -> Any:
        """The outputs at inference: a tensor, or a tuple of tensors.

        Raises:
            Refusal: an option, or the shape of an input, is not supported.
            Reported: a layer inside is refused, and the problem is recorded.
        """
        raise NotImplementedError

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        """Shapes of the outputs for these shapes of the inputs; None if they are unknown."""
        raise NotImplementedError


class Unread(Layer):
    """A layer that is an identity at inference. Its options and weights are not read."""

    infers_shape = False

    @classmethod
    def from_spec(cls, spec: LayerSpec) -> Layer:
        """The layer without options and weights."""
        return cls(spec.name, {}, {})


class Refused(Layer):
    """A layer that no target supports, with any options and weights."""

    reason: ClassVar[str]
    remedy: ClassVar[str] = ""
    infers_shape = False
    arity: ClassVar[tuple[int, int | None]] = (0, None)

    @classmethod
    def from_spec(cls, spec: LayerSpec) -> Layer:
        """The layer without options and weights."""
        return cls(spec.name, {}, {})

    @classmethod
    def problem(cls, spec: LayerSpec) -> Problem:
        """The problem that says why it is refused."""
        return Problem(spec.name, spec.class_name, cls.reason, remedy=cls.remedy)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Raise the `Refusal` of the layer."""
        del args, kwargs
        raise Refusal("", self.reason, self.remedy)


def _is_set(value: Any) -> bool:
    """Whether an unknown option is set to a non-default (truthy) value."""
    return bool(value.size) if isinstance(value, np.ndarray) else bool(value)


def _is_ignored(option: str, cls: type[Layer]) -> bool:
    return option in COMMON or option in cls.ignored or option.endswith(TRAINING_ONLY)


def _unread(spec: LayerSpec, option: str, value: object) -> Problem:
    reason = "kerasport does not know this option, so its effect is unknown; please report it"
    return Problem(spec.name, spec.class_name, reason, option, value)


_TYPES: dict[str, Mapping[str, Any]] = {}  # by class, since working them out takes time


def option_types(cls: type[Layer]) -> Mapping[str, Any]:
    """Type of each option that the layer reads."""
    if cls.__qualname__ not in _TYPES:
        hints = get_type_hints(cls, include_extras=True)
        _TYPES[cls.__qualname__] = {option: hints[option] for option in cls.defaults}
    return _TYPES[cls.__qualname__]


def _checked(spec: LayerSpec, option: str, value: Any, hint: Any, rank: int) -> Any:
    value = _tuples(value)
    if not fits(value, hint, rank):
        raise UnsupportedPart(
            Problem(spec.name, spec.class_name, f"expected {_spell(hint, rank)}", option, value)
        )
    if not all(map(_is_representable, flatten(value))):
        raise UnsupportedPart(
            Problem(spec.name, spec.class_name, "expected a finite number", option, value)
        )
    return value


def _is_representable(leaf: Any) -> bool:
    """Whether a number is finite as float32, or fits int64.

    Formulas that agree for finite numbers can differ for others, for example in 0 · ∞.
    """
    if isinstance(leaf, float):
        return abs(leaf) <= LARGEST_FLOAT
    return not isinstance(leaf, int) or -(2**63) <= leaf < 2**63


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _spell(hint: Any, rank: int = 0) -> str:
    """A type as shown in messages."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, bound = _spell(arguments[0], rank), arguments[1]
        if isinstance(bound, OfNumbers):
            return "a rectangular array of numbers"
        return (
            f"{inner} of length {rank}"
            if isinstance(bound, PerAxis)
            else f"{inner} >= {bound.least}"
        )
    if origin in (Union, types.UnionType):
        return " or ".join(_spell(argument, rank) for argument in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"tuple[{', '.join('...' if a is Ellipsis else _spell(a, rank) for a in arguments)}]"
    if hint is types.NoneType:
        return "None"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def fits(value: Any, hint: Any, rank: int = 0) -> bool:
    """Whether a value from a file has the declared type, for a layer with `rank` spatial axes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        inner, bound = arguments
        if not fits(value, inner, rank):
            return False
        if isinstance(bound, OfNumbers):
            return _is_numeric(value)
        return (
            len(value) == rank if isinstance(bound, PerAxis) else bound.least <= value <= bound.most
        )
    if origin in (Union, types.UnionType):
        return any(fits(value, argument, rank) for argument in arguments)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and (
            all(fits(item, arguments[0], rank) for item in value)
            if arguments[-1] is Ellipsis
            else len(value) == len(arguments)
            and all(fits(v, a, rank) for v, a in zip(value, arguments, strict=True))
        )
    number = {int: int, float: int | float}.get(hint)
    return isinstance(value, number or hint) and not (number and isinstance(value, bool))


def _is_numeric(value: Any) -> bool:
    """Whether numpy converts a value to an array of numbers."""
    try:
        return np.asarray(value).dtype.kind in "buif"
    except ValueError:  # tuples of several lengths
        return False


def need_rank(shape: Shape, *ranks: int) -> None:
    """Raise `ShapeError` unless the shape has one of the ranks."""
    if len(shape) not in ranks:
        raise ShapeError(f"expected a tensor of rank {' or '.join(map(str, ranks))}, got {shape}")

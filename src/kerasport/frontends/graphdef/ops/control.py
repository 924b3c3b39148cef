"""Branches and loops, and the lists of tensors that loops read and write step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasport.errors import ReadError, Refusal
from kerasport.frontends.graphdef.freeze import ordered
from kerasport.frontends.graphdef.frozen import (
    FrozenFunction,
    FunctionName,
    GraphNode,
    Result,
)
from kerasport.frontends.graphdef.ops.call import Call, Lowered, Rows, Value
from kerasport.frontends.graphdef.ops.sizes import sizes_of
from kerasport.ir import ops
from kerasport.ir.dtypes import INTEGERS, NUMBERS
from kerasport.ir.ops.movement import Size, extent_of
from kerasport.ir.tensor import Constant, Tensor, as_tensor, constant

LISTS = "lists of tensors are supported only where a loop reads or writes one element per step"

MAX_BRANCHES = 100
"""Largest number of branches of a node. They are nested inside each other."""

# --------------------------------------------------------------------------------- lists of tensors


@dataclass(frozen=True, eq=False)
class Items:
    """A list whose elements are known, stacked along axis 0: [n, …]."""

    stacked: Tensor


@dataclass(frozen=True, eq=False)
class Reserved:
    """A list without elements, which a loop fills."""

    size: Size


@dataclass(frozen=True, eq=False)
class Counter:
    """The number of the step inside a loop, if only lists need it."""


@dataclass(frozen=True, eq=False)
class StepOf:
    """A list inside a loop of which each step reads one element.

    Attributes:
        element: the element of the step.
        counter: the value that represents the number of the step.
    """

    element: Tensor
    counter: Value


@dataclass(frozen=True, eq=False)
class Target:
    """A list inside a loop of which each step writes one element.

    Attributes:
        size: its size.
        counter: the value that represents the number of the step.
    """

    size: Size
    counter: Value


@dataclass(frozen=True, eq=False)
class Written:
    """A list inside a loop after a step wrote an element.

    Attributes:
        element: the element.
        only: whether each step replaces the only element of the list.
    """

    element: Tensor
    only: bool


def from_tensor(call: Call) -> Items:
    """The list of the slices of x along axis 0."""
    return Items(call.x())


def reserve(call: Call) -> Reserved:
    """A list of a size, without elements."""
    return Reserved(call.size(1))


def get_item(call: Call) -> Tensor:
    """One element of a list."""
    source, index = call.operands[0], call.operands[1]
    if isinstance(source, StepOf) and source.counter is index:
        return source.element
    if isinstance(source, Items) and isinstance(index, Tensor):
        return ops.gather(source.stacked, index, 0)
    raise Refusal("", LISTS)


def set_item(call: Call) -> Written:
    """A list after an element is written."""
    target, index, value = call.operands[:3]
    if call.flag("resize_if_index_out_of_bounds") or not isinstance(target, Target):
        raise Refusal("", LISTS)
    if not isinstance(value, Tensor):
        raise Refusal("", LISTS)
    if index is target.counter:
        return Written(value, only=False)
    if isinstance(index, Constant) and int(index.read()) == 0 and target.size == 1:
        return Written(value, only=True)
    raise Refusal("", LISTS)


def stack(call: Call) -> Tensor:
    """The elements of a list along a new axis 0."""
    # the number is -1 or that of the elements
    call.integer("num_elements")
    source = call.operands[0]
    if not isinstance(source, Items):
        raise Refusal("", LISTS)
    return source.stacked


# ---------------------------------------------------------------------------------- captured values


def outer_tensors(values: Sequence[Value]) -> list[Tensor]:
    """The tensors that a body must capture for these values. Constants are not captured."""
    found = [value.stacked if isinstance(value, Items) else value for value in values]
    return [x for x in found if isinstance(x, Tensor) and not isinstance(x, Constant)]


def inside(values: Sequence[Value], captured: Iterator[Tensor]) -> list[Value]:
    """The values inside a body, whose captured tensors are given."""
    found: list[Value] = []
    for value in values:
        tensor = value.stacked if isinstance(value, Items) else value
        if isinstance(tensor, Tensor) and not isinstance(tensor, Constant):
            tensor = next(captured)
        found.append(Items(tensor) if isinstance(value, Items) else tensor)
    return found


def function_of(call: Call, name: str) -> FrozenFunction:
    """The function that an attribute names.

    Raises:
        ReadError: the attribute does not name a function.
    """
    value = call.attribute(name)
    if not isinstance(value, FunctionName):
        raise ReadError(f"the attribute {name!r} does not name a function")
    return call.scope.function(value.name)


def tensors_of(values: Sequence[Value]) -> tuple[Tensor, ...]:
    """Values that must be tensors.

    Raises:
        Refusal: one of them is a list or table.
    """
    if not all(isinstance(value, Tensor) for value in values):
        raise Refusal("", LISTS)
    return tuple(values)


# ----------------------------------------------------------------------------------------- branches


def if_(call: Call) -> tuple[Tensor, ...]:
    """The results of one of two functions."""
    then, otherwise = function_of(call, "then_branch"), function_of(call, "else_branch")
    return _either(call, truth(call.x(0)), then, otherwise, call.operands[1:])


def truth(x: Tensor) -> Tensor:
    """Whether a scalar is true, or not 0.

    Raises:
        Refusal: it is not a scalar, or a string.
    """
    if x.rank or x.dtype not in ("bool", *NUMBERS):
        raise Refusal("", f"a condition of {x.type} is not supported")
    return ops.cast(x, "bool")


def _either(
    call: Call,
    condition: Tensor,
    then: FrozenFunction,
    otherwise: FrozenFunction,
    values: Sequence[Value],
) -> tuple[Tensor, ...]:
    if isinstance(condition, Constant):
        chosen = then if bool(condition.read()) else otherwise
        return tensors_of(call.scope.results(chosen, values))

    def body(function: FrozenFunction) -> Callable[..., tuple[Tensor, ...]]:
        return lambda *captured: tensors_of(
            call.scope.results(function, inside(values, iter(captured)))
        )

    return ops.branch(condition, body(then), body(otherwise), outer_tensors(values))


def case(call: Call) -> tuple[Tensor, ...]:
    """The results of the function that a number selects; of the last one for other numbers."""
    named = call.attribute("branches", ())
    functions = [call.scope.function(function.name) for function in named]
    if not 0 < len(functions) <= MAX_BRANCHES:
        raise ReadError(f"the attribute 'branches' names {len(functions)} functions")
    return _selected(call, call.x(0), functions, 0, call.operands[1:])


def _selected(
    call: Call,
    number: Tensor,
    functions: Sequence[FrozenFunction],
    first: int,
    values: Sequence[Value],
) -> tuple[Tensor, ...]:
    """The results of the selected function among those from `first` on."""
    if first == len(functions) - 1:
        return tensors_of(call.scope.results(functions[first], values))

    def then(_: Tensor, *captured: Tensor) -> tuple[Tensor, ...]:
        known = inside(values, iter(captured))
        return tensors_of(call.scope.results(functions[first], known))

    def otherwise(own: Tensor, *captured: Tensor) -> tuple[Tensor, ...]:
        return _selected(call, own, functions, first + 1, inside(values, iter(captured)))

    condition = ops.Equal(number, constant(first, number.dtype))
    return ops.branch(condition, then, otherwise, [number, *outer_tensors(values)])


# -------------------------------------------------------------------------------------------- loops


@dataclass(frozen=True, eq=False)
class While:
    """A loop, and what is known of its arguments.

    Attributes:
        call: the node.
        condition: the function that says whether to run another step.
        body: one step.
        values: the values before the first step.
        invariant: arguments that no step changes.
        counters: arguments that count the steps from 0.
        trip_count: the number of steps, None if it depends on the values of the loop.
    """

    call: Call
    condition: FrozenFunction
    body: FrozenFunction
    values: Sequence[Value]
    invariant: frozenset[int]
    counters: frozenset[int]
    trip_count: Size | None

    @property
    def lists(self) -> list[int]:
        """Arguments that are lists to which the steps write."""
        return [i for i in self.changing if isinstance(self.values[i], Reserved)]

    @property
    def changing(self) -> list[int]:
        """Arguments that steps change."""
        return [i for i in range(len(self.values)) if i not in self.invariant]

    @property
    def sequences(self) -> list[int]:
        """Arguments that are lists of which each step reads its own element, and nothing else."""
        if self.trip_count is None:
            return []
        found = []
        for index in sorted(self.invariant):
            value = self.values[index]
            if isinstance(value, Items) and self._is_read_in_order(index):
                found.append(index)
        return [i for i in found if is_same(self.trip_count, value_size(self.values[i]))]

    def _is_read_in_order(self, index: int) -> bool:
        argument = self.body.arguments[index]
        users = [node for node in nodes(self.body) if reads(node, argument)]
        return bool(users) and all(
            node.op == "TensorListGetItem" and self.is_counter(node.inputs[1]) for node in users
        )

    def is_counter(self, result: Result) -> bool:
        """Whether a result inside the body is the number of the step."""
        return any(result.node is self.body.arguments[index] for index in self.counters)

    def _is_own_list(self, node: GraphNode) -> bool:
        """Whether a node writes to a list, or reads a list in the order of the steps."""
        if node.op == "TensorListSetItem":
            return True
        sources = [self.body.arguments[i] for i in self.sequences]
        return node.op == "TensorListGetItem" and node.inputs[0].node in sources

    def is_needed(self, index: int) -> bool:
        """Whether the body needs a counter, except as the place in the lists of the loop."""
        argument, end = self.body.arguments[index], self.body.results[index].node
        for node in nodes(self.body):
            if node is end:
                continue
            for position, result in enumerate(node.inputs):
                is_place = position == 1 and self._is_own_list(node)
                if result.node is end or (result.node is argument and not is_place):
                    return True
        others = (self.body.results[other].node for other in self.changing if other != index)
        return any(node in (argument, end) for node in others)


def nodes(function: FrozenFunction) -> Sequence[GraphNode]:
    """The nodes of a function."""
    return ordered(function.results)


def reads(node: GraphNode, argument: GraphNode) -> bool:
    """Whether a node reads an argument."""
    return any(result.node is argument for result in node.inputs)


def value_size(value: Items) -> Size:
    """The number of elements of a list."""
    return ops.dim(value.stacked, 0)


def is_same(a: Size, b: Size) -> bool:
    """Whether two sizes are equal in every run."""
    if a is b:
        return True
    first, second = extent_of(a), extent_of(b)
    return first is not None and first == second


def while_(call: Call) -> Lowered:
    """The values of the arguments of a loop after its last step."""
    condition, body = function_of(call, "cond"), function_of(call, "body")
    values = call.operands
    if not len(values) == len(body.arguments) == len(body.results) == len(condition.arguments):
        raise ReadError("the functions of the loop have another number of arguments")
    invariant = frozenset(
        i for i, result in enumerate(body.results) if result.node is body.arguments[i]
    )
    counters = frozenset(
        i for i, result in enumerate(body.results) if is_count(values[i], body.arguments[i], result)
    )
    count = trip_count(condition, values, invariant, counters)
    loop = While(call, condition, body, values, invariant, counters, count)
    if loop.trip_count is None:
        return _general(loop)
    return _counted(loop)


def is_count(start: Value, argument: GraphNode, result: Result) -> bool:
    """Whether an argument starts at 0, and each step adds 1."""
    if not isinstance(start, Constant) or start.rank or start.dtype not in ("int32", "int64"):
        return False
    node = result.node
    if int(start.read()) or node.op not in ("Add", "AddV2") or len(node.inputs) != 2:
        return False
    a, b = (operand.node for operand in node.inputs)
    return (a is argument and is_one(b)) or (b is argument and is_one(a))


def is_one(node: GraphNode) -> bool:
    """Whether a node is the constant 1."""
    value = node.attributes.get("value")
    return node.op == "Const" and isinstance(value, np.ndarray) and value.shape == () and value == 1


def trip_count(
    condition: FrozenFunction,
    values: Sequence[Value],
    invariant: frozenset[int],
    counters: frozenset[int],
) -> Size | None:
    """The number of steps, if the condition only compares counters with limits."""
    limits: list[Size] = []
    pending = [condition.results[0].node]
    while pending:
        node = pending.pop()
        if node.op == "LogicalAnd":
            pending += [result.node for result in node.inputs]
            continue
        if node.op != "Less":
            return None
        counter, limit = (result.node for result in node.inputs)
        if not any(counter is condition.arguments[i] for i in counters):
            return None
        size = _limit(limit, condition, values, invariant)
        if size is None:
            return None
        limits.append(size)
    first, *rest = limits
    for other in rest:
        if not is_same(first, other):
            first = ops.minimum(first, other)
            static = extent_of(first)
            first = static if isinstance(static, int) else first
    if isinstance(first, int):
        return max(first, 0)
    return first


def _limit(
    node: GraphNode, condition: FrozenFunction, values: Sequence[Value], invariant: frozenset[int]
) -> Size | None:
    """The value that a counter is compared with, None if it may change."""
    if node.op == "Const":
        value = node.attributes.get("value")
        return int(value) if isinstance(value, np.ndarray) and value.shape == () else None
    for index in invariant:
        if node is condition.arguments[index]:
            value = values[index]
            if not isinstance(value, Tensor) or value.rank or value.dtype not in INTEGERS:
                return None
            return sizes_of(value)[0]
    return None


def _general(loop: While) -> Lowered:
    """A loop whose number of steps depends on its values."""
    changing = loop.changing
    if not changing:
        raise Refusal("", "no step of the loop changes anything, so it would not end")
    states = tensors_of([loop.values[i] for i in changing])
    fixed = [loop.values[i] for i in sorted(loop.invariant)]

    def arguments(inputs: Sequence[Tensor]) -> list[Value]:
        own, captured = inputs[: len(states)], inputs[len(states) :]
        known = dict(zip(changing, own, strict=True))
        known |= dict(zip(sorted(loop.invariant), inside(fixed, iter(captured)), strict=True))
        return [known[i] for i in range(len(loop.values))]

    def check(*inputs: Tensor) -> Tensor:
        (found,) = loop.call.scope.results(loop.condition, arguments(inputs))
        return truth(found)

    def step(*inputs: Tensor) -> tuple[Tensor, ...]:
        results = tuple(loop.body.results[i] for i in changing)
        body = FrozenFunction(loop.body.name, loop.body.arguments, results)
        return tensors_of(loop.call.scope.results(body, arguments(inputs)))

    ends = ops.while_loop(check, step, states, outer_tensors(fixed))
    return _all_values(loop, dict(zip(changing, ends, strict=True)))


def _all_values(loop: While, ends: Mapping[int, Value]) -> tuple[Value, ...]:
    """The values of all arguments after the loop."""
    return tuple(ends.get(i, loop.values[i]) for i in range(len(loop.values)))


def _counted(loop: While) -> Lowered:
    """A loop that runs a number of steps that is known before the first one."""
    return _Counted.of(loop).lower()


@dataclass(frozen=True, eq=False)
class _Counted:
    """A loop with a trip count, with the parts that its arguments play.

    Attributes:
        loop: the loop.
        states: arguments that are states.
        dropped: counters that only lists need.
        sequences: lists of which each step reads its own element.
        fixed: other arguments, which no step changes.
    """

    loop: While
    states: list[int]
    dropped: list[int]
    sequences: list[int]
    fixed: list[int]

    @classmethod
    def of(cls, loop: While) -> _Counted:
        dropped = [i for i in sorted(loop.counters) if not loop.is_needed(i)]
        states = [i for i in loop.changing if i not in dropped and i not in loop.lists]
        sequences = loop.sequences
        fixed = [i for i in sorted(loop.invariant) if i not in sequences]
        return cls(loop, states, dropped, sequences, fixed)

    def lower(self) -> Lowered:
        """The values of all arguments after the loop."""
        loop, count = self.loop, self.loop.trip_count
        assert count is not None
        states = tensors_of([loop.values[i] for i in self.states])
        fixed = [loop.values[i] for i in self.fixed]
        captured = outer_tensors(fixed)
        only: list[bool] = []

        def step(
            own: Sequence[Tensor], elements: Sequence[Tensor], outside: Sequence[Tensor]
        ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
            arguments = self._arguments(own, elements, inside(fixed, iter(outside)))
            wanted = tuple(loop.body.results[i] for i in (*self.states, *loop.lists))
            body = FrozenFunction(loop.body.name, loop.body.arguments, wanted)
            results = loop.call.scope.results(body, arguments)
            written = results[len(self.states) :]
            if not all(isinstance(tensor, Written) for tensor in written):
                raise Refusal("", LISTS)
            only[:] = [tensor.only for tensor in written]
            return tensors_of(results[: len(self.states)]), [tensor.element for tensor in written]

        if self.sequences:
            items = [loop.values[i].stacked for i in self.sequences]
            nonempty = isinstance(count, int) and count > 0
            ends, collected = ops.scan(
                step, states, items, captured, axes=0, result_axes=0, nonempty=nonempty
            )
        else:

            def plain(*inputs: Tensor) -> tuple[Tensor, ...]:
                own, outside = inputs[: len(states)], inputs[len(states) :]
                return tuple(tensor for group in step(own, (), outside) for tensor in group)

            results = ops.while_loop(None, plain, states, captured, as_tensor(count))
            ends, collected = results[: len(states)], results[len(states) :]
        return self._values(ends, collected, only)

    def _arguments(
        self, own: Sequence[Tensor], elements: Sequence[Tensor], fixed: Sequence[Value]
    ) -> list[Value]:
        """The values of the arguments inside the body."""
        known: dict[int, Value] = dict(zip(self.states, own, strict=True))
        known |= dict(zip(self.fixed, fixed, strict=True))
        known |= {i: Counter() for i in self.dropped}
        # each list must be read and written at the place of one counter
        for i, element in zip(self.sequences, elements, strict=True):
            known[i] = StepOf(element, known[self._counter_of(i)])
        for i in self.loop.lists:
            size = self.loop.values[i].size
            place = self._counter_of(i)
            known[i] = Target(size, known[place] if place is not None else Counter())
        return [known[i] for i in range(len(self.loop.values))]

    def _counter_of(self, index: int) -> Any:
        """The counter at whose place a list is read or written, None if there is none."""
        argument, body = self.loop.body.arguments[index], self.loop.body
        for node in nodes(body):
            if reads(node, argument) and node.op in ("TensorListGetItem", "TensorListSetItem"):
                place = node.inputs[1].node
                return next(
                    (i for i in sorted(self.loop.counters) if body.arguments[i] is place), None
                )
        return None

    def _values(
        self, ends: Sequence[Tensor], collected: Sequence[Tensor], only: Sequence[bool]
    ) -> tuple[Value, ...]:
        loop, count = self.loop, self.loop.trip_count
        assert count is not None
        found: dict[int, Value] = dict(zip(self.states, ends, strict=True))
        for i in self.dropped:
            steps = count if isinstance(count, int) else ops.maximum(count, 0)
            found[i] = ops.cast(as_tensor(steps), loop.values[i].dtype)
        for i, stacked, last in zip(loop.lists, collected, only, strict=True):
            if last:
                found[i] = Items(ops.strided_axis(stacked, 0, -1, None))
            elif is_same(loop.values[i].size, count):
                found[i] = Items(stacked)
            else:
                raise Refusal("", "the loop does not write every element of its list of tensors")
        return _all_values(loop, found)


ROWS: Rows = {
    "If": if_, "StatelessIf": if_, "Case": case, "StatelessCase": case, "While": while_,
    "StatelessWhile": while_, "TensorListFromTensor": from_tensor, "TensorListReserve": reserve,
    "TensorListGetItem": get_item, "TensorListSetItem": set_item, "TensorListStack": stack,
}  # fmt: skip

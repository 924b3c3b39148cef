"""Raises the control flow of TensorFlow 1 to the ops `While` and `If` with functions.

TensorFlow 1 has no functions for loops and branches. A loop is a cycle in the graph: `Enter` passes
a variable into the frame of the loop, `Merge` chooses between it and the value of the iteration
before, `Switch` passes it on to the body or to `Exit`, and `NextIteration` returns it to `Merge`.
The condition is the input of `LoopCond`. A branch is a `Switch` for each tensor that it reads, and
a `Merge` that has whichever of two tensors was computed.

The nodes between these become the functions of a `While` or `If`. Inner loops and branches are
raised before those that contain them. The ops are defined in control_flow_ops.cc of TensorFlow; the
white paper http://download.tensorflow.org/paper/white_paper_tf_control_flow_implementation_2017_11_1.pdf
explains them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from kerasport.errors import HostileFileError, ReadError, quoted
from kerasport.frontends.graphdef.body import Body, Library, StoredNode
from kerasport.frontends.graphdef.frozen import Attribute, ElementType, FunctionName

ENTER, EXIT = frozenset(("Enter", "RefEnter")), frozenset(("Exit", "RefExit"))
SWITCH, MERGE = frozenset(("Switch", "RefSwitch")), frozenset(("Merge", "RefMerge"))
NEXT = frozenset(("NextIteration", "RefNextIteration"))
CONTROL_FLOW = ENTER | EXIT | SWITCH | MERGE | NEXT | {"LoopCond"}
SAME = frozenset(("Identity", "RefIdentity"))

TYPED = frozenset((*(CONTROL_FLOW - {"LoopCond"}), *SAME, "Const", "Placeholder", "PlaceholderV2"))
"""Ops whose attribute `T` or `dtype` is the element type of their results."""

MAX_VISITS = 2_000_000
"""Nodes that are visited in total. Every loop and branch visits the nodes inside it."""

Reference: TypeAlias = tuple[str, int]
"""Name of a node, and position of a result."""


def raised(library: Library) -> Library:
    """A library whose graph has `While` and `If` in place of the control flow of TensorFlow 1.

    Raises:
        ReadError: loops or branches do not have the structure that TensorFlow writes.
        HostileFileError: they contain themselves, or are far larger than in any model.
    """
    graph = library.graph
    if not any(graph.op(name) in CONTROL_FLOW for name in graph.stored):
        return library
    raiser = _Raiser(graph)
    raiser.run()
    body = Body("", {**graph.stored, **raiser.changed}, _parse(graph))
    return library.extended(body, raiser.functions)


def _parse(graph: Body) -> Callable[[Any], StoredNode]:
    def parse(stored: Any) -> StoredNode:
        return stored if isinstance(stored, StoredNode) else graph.parse(stored)

    return parse


@dataclass(eq=False)
class _Frame:
    """A loop.

    Attributes:
        name: name of the frame.
        variables: the `Merge` of each variable.
        constants: the `Enter` of each tensor that stays the same.
        condition: the `LoopCond`, empty until it is found.
        switches: `Switch` → the position of its variable.
        exits: `Exit` → the position of its variable.
    """

    name: str
    variables: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    condition: str = ""
    switches: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Region:
    """The nodes between the tensors that a function reads and its results.

    Attributes:
        nodes: nodes of the function.
        captured: tensors from outside, in the order of the arguments.
        controls: nodes outside that must run before.
    """

    nodes: tuple[StoredNode, ...]
    captured: tuple[Reference, ...]
    controls: tuple[str, ...]


class _UnmetError(Exception):
    """A loop or branch contains others that must be raised before."""

    def __init__(self, constructs: Sequence[str]) -> None:
        super().__init__()
        self.constructs = constructs


@dataclass(eq=False)
class _Raiser:
    """Raises the loops and branches of a graph.

    Attributes:
        graph: the graph.
        changed: nodes that are added or replaced.
        functions: the functions of loops and branches.
    """

    graph: Body
    changed: dict[str, StoredNode] = field(default_factory=dict)
    functions: dict[str, Body] = field(default_factory=dict)
    _frames: dict[str, _Frame] = field(default_factory=dict)
    # Exit and Merge of loops → name of the frame
    _frame_of: dict[str, str] = field(default_factory=dict)
    _visits: int = 0

    def node(self, name: str) -> StoredNode:
        """The node of a name, as it is now."""
        found = self.changed.get(name)
        return self.graph.node(name) if found is None else found

    def run(self) -> None:
        """Raise everything, inner loops and branches first."""
        controls = [name for name in self.graph.stored if self.graph.op(name) in CONTROL_FLOW]
        self._find_loops(controls)
        merges = [
            name for name in controls if self.node(name).op in MERGE and name not in self._frame_of
        ]
        exits = [name for name in controls if self.node(name).op in EXIT]
        pending = [*merges, *exits]
        pending.reverse()
        waiting: set[str] = set()
        while pending:
            name = pending[-1]
            if name in self.changed:
                pending.pop()
                continue
            try:
                self._raise(name)
            except _UnmetError as error:
                key = self._frame_of.get(name, name)
                waiting.add(key)
                if any(self._frame_of.get(inner, inner) in waiting for inner in error.constructs):
                    raise HostileFileError(
                        f"the loop or branch at the node {quoted(name)} contains itself"
                    ) from None
                pending.extend(error.constructs)
                continue
            waiting.discard(self._frame_of.get(name, name))
            pending.pop()

    def _raise(self, name: str) -> None:
        if name in self._frame_of:
            self._raise_loop(self._frames[self._frame_of[name]])
        else:
            self._raise_branch(name)

    # ---------------------------------------------------------------------------------------- loops

    def _find_loops(self, controls: Sequence[str]) -> None:
        """Find the variables, switches and exits of each loop."""
        for name in controls:
            node = self.node(name)
            if node.op in ENTER and node.attributes.get("is_constant"):
                self._frame(node).constants.append(name)
        for name in controls:
            node = self.node(name)
            if node.op in MERGE and (entered := self._entered(node)) is not None:
                frame = self._frame(entered)
                self._frame_of[name] = frame.name
                frame.variables.append(name)
        for name in controls:
            node = self.node(name)
            if node.op in SWITCH:
                self._find_switch(node)
        for name in controls:
            node = self.node(name)
            if node.op in EXIT:
                switch = self._source(node.inputs[0])[0]
                owners = [frame for frame in self._frames.values() if switch in frame.switches]
                if not owners:
                    raise ReadError(f"the node {quoted(name)} (Exit) does not belong to a loop")
                owners[0].exits[name] = owners[0].switches[switch]
                self._frame_of[name] = owners[0].name

    def _frame(self, enter: StoredNode) -> _Frame:
        name = enter.attributes.get("frame_name")
        if not isinstance(name, bytes):
            raise ReadError(f"the node {quoted(enter.name)} (Enter) does not name its loop")
        key = name.decode(errors="replace")
        return self._frames.setdefault(key, _Frame(key))

    def _entered(self, merge: StoredNode) -> StoredNode | None:
        """The `Enter` of the variable of a `Merge`, None if it does not belong to a loop."""
        nodes = [self.node(_reference(name)[0]) for name in merge.inputs]
        if not any(node.op in NEXT for node in nodes):
            return None
        entered = [node for node in nodes if node.op in ENTER]
        if len(entered) != 1 or len(nodes) != 2:
            raise ReadError(f"the node {quoted(merge.name)} (Merge) does not begin a loop")
        return entered[0]

    def _find_switch(self, node: StoredNode) -> None:
        condition = self.node(self._source(node.inputs[1])[0])
        merge = self._source(node.inputs[0])[0]
        if condition.op == "LoopCond" and merge in self._frame_of:
            frame = self._frames[self._frame_of[merge]]
            frame.switches[node.name] = frame.variables.index(merge)
            if frame.condition not in ("", condition.name):
                raise ReadError(f"the loop {quoted(frame.name)} has two conditions")
            frame.condition = condition.name

    def _raise_loop(self, frame: _Frame) -> None:
        if not frame.condition:
            raise ReadError(f"the loop {quoted(frame.name)} has no condition")
        merges = [self.node(name) for name in frame.variables]
        inputs, results = [], []
        for merge in merges:
            pair = sorted(merge.inputs, key=lambda name: self.node(_reference(name)[0]).op in NEXT)
            inputs.append(self.node(_reference(pair[0])[0]).inputs[0])
            results.append(_reference(self.node(_reference(pair[1])[0]).inputs[0]))
        known: dict[Reference, Reference] = {}
        for name in frame.variables:
            known[name, 0] = (name, 0)
        for name, position in frame.switches.items():
            known[name, 1] = (frame.variables[position], 0)
        for name in frame.constants:
            known[name, 0] = (name, 0)
        condition = _reference(self.node(frame.condition).inputs[0])
        test = self._region([condition], known, branch=False)
        step = self._region(results, known, branch=False)
        arguments = dict.fromkeys([(name, 0) for name in (*frame.variables, *frame.constants)])
        read = (*test.captured, *step.captured)
        arguments.update((known.get(reference, reference), None) for reference in read)
        captured = list(arguments)
        outside = captured[len(frame.variables) :]
        inputs += [self._outer(reference) for reference in outside]
        types = tuple(map(self._type, captured))
        whole = self._unused(f"{frame.name}/While")
        attributes: dict[str, Attribute] = {
            "T": types,
            "cond": self._function(f"{whole}/cond", captured, test, known, [condition], types),
            "body": self._function(
                f"{whole}/body", captured, step, known, [*results, *outside], types
            ),
        }
        controls = (*self._controls(frame), *test.controls, *step.controls)
        self.changed[whole] = StoredNode(
            whole, "While", tuple(inputs), tuple(dict.fromkeys(controls)), attributes
        )
        for name, position in frame.exits.items():
            self._replace(name, (whole, position))

    def _controls(self, frame: _Frame) -> Iterable[str]:
        """Nodes that must run before a loop."""
        for name in (*frame.variables, *frame.constants):
            node = self.node(name)
            entered = self._entered(node) if node.op in MERGE else node
            yield from entered.controls if entered is not None else ()

    def _outer(self, reference: Reference) -> str:
        """What a tensor of a loop is outside of it: the input of an `Enter`, or the tensor."""
        node = self.node(reference[0])
        return node.inputs[0] if node.op in ENTER else _text(reference)

    # ------------------------------------------------------------------------------------- branches

    def _raise_branch(self, name: str) -> None:
        merge = self.node(name)
        if len(merge.inputs) != 2:
            raise ReadError(f"the node {quoted(name)} (Merge) has {len(merge.inputs)} inputs")
        results = [_reference(item) for item in merge.inputs]
        regions = [self._region([result], (), branch=True) for result in results]
        predicate, sides = self._predicate(name, regions)
        known = self._switched(regions)
        captured = list(dict.fromkeys(item for region in regions for item in region.captured))
        outer = list(dict.fromkeys(known.get(item, item) for item in captured))
        # a switch states the type of the tensor that it passes on
        switches = {tensor: switch for switch, tensor in known.items()}
        types = tuple(self._type(switches.get(item, item)) for item in outer)
        whole = self._unused(f"{name}/If")
        attributes: dict[str, Attribute] = {
            "Tcond": "bool",
            "Tin": types,
            "Tout": (self._type((name, 0)),),
        }
        for key, side in (("then_branch", 1), ("else_branch", 0)):
            index = sides.index(side)
            attributes[key] = self._function(
                f"{whole}/{key}", outer, regions[index], known, [results[index]], types
            )
        controls = dict.fromkeys((*regions[0].controls, *regions[1].controls, *merge.controls))
        inputs = (_text(predicate), *map(_text, outer))
        self.changed[whole] = StoredNode(whole, "If", inputs, tuple(controls), attributes)
        self._replace(name, (whole, 0))

    def _switched(self, regions: Iterable[_Region]) -> dict[Reference, Reference]:
        """The results of the switches of a branch → the tensors that they pass on."""
        known = {}
        for region in regions:
            for reference in region.captured:
                if self._switches(reference[0]):
                    known[reference] = _reference(self.node(reference[0]).inputs[0])
        return known

    def _predicate(
        self, name: str, regions: Sequence[_Region]
    ) -> tuple[Reference, tuple[int, int]]:
        """The condition of a branch, and the result of its switches that each region reads."""
        predicates: dict[Reference, None] = {}
        sides: list[int | None] = []
        for region in regions:
            found = [item for item in region.captured if self._switches(item[0])]
            predicates.update((self._source(self.node(item[0]).inputs[1]), None) for item in found)
            chosen = {item[1] for item in found}
            if len(chosen) > 1:
                raise _not_understood(name)
            sides.append(chosen.pop() if chosen else None)
        first, second = sides
        if len(predicates) != 1 or (first is None and second is None) or first == second:
            raise _not_understood(name)
        one = first if first is not None else 1 - (second or 0)
        return next(iter(predicates)), (one, 1 - one)

    # -------------------------------------------------------------------------------------- regions

    def _region(
        self, results: Sequence[Reference], leaves: Iterable[Reference], *, branch: bool
    ) -> _Region:
        """The nodes between leaves and results.

        Args:
            results: tensors that the region computes.
            leaves: tensors of the loop that the region reads.
            branch: whether the switches of branches are leaves as well.

        Raises:
            _UnmetError: the region contains loops or branches that are not raised yet.
        """
        ends = {name for name, _ in leaves}
        inside = self._dependent(results, ends, branch=branch)
        names = list(inside)
        captured: dict[Reference, None] = {}
        controls: dict[str, None] = {}
        constants: dict[str, None] = {}
        for reference in (*results, *self._read_by(names)):
            name = reference[0]
            if name not in inside and name not in ends and self.node(name).op == "Const":
                constants[name] = None
            elif name not in inside:
                captured[reference] = None
        for name in names:
            outer = [item for item in self.node(name).controls if item not in inside]
            controls.update((item, None) for item in outer if not self._is_leaf(item))
        nodes = tuple(self._inner(name, inside) for name in (*names, *constants))
        return _Region(nodes, tuple(captured), tuple(controls))

    def _read_by(self, names: Iterable[str]) -> Iterable[Reference]:
        for name in names:
            yield from map(_reference, self.node(name).inputs)

    def _inner(self, name: str, inside: Mapping[str, None]) -> StoredNode:
        """A node without the control inputs from outside of its region."""
        node = self.node(name)
        return replace(node, controls=tuple(item for item in node.controls if item in inside))

    def _is_leaf(self, name: str) -> bool:
        return self.node(name).op in CONTROL_FLOW

    def _dependent(
        self, results: Sequence[Reference], ends: set[str], *, branch: bool
    ) -> dict[str, None]:
        """The nodes that results depend on and that depend on the leaves of a region."""
        dependent: dict[str, bool] = {}
        unmet: dict[str, None] = {}
        pending = [(name, False) for name, _ in results]
        while pending:
            name, leaving = pending.pop()
            node = self.node(name)
            before = [*map(_name, node.inputs), *node.controls]
            if leaving:
                dependent[name] = any(
                    item in ends or dependent.get(item, False) or (branch and self._switches(item))
                    for item in before
                )
                continue
            if name in dependent or name in ends:
                continue
            self._visits += 1
            if self._visits > MAX_VISITS:
                raise HostileFileError("the graph has far more loops and branches than any model")
            if node.op in CONTROL_FLOW:
                if node.op in EXIT or (node.op in MERGE and name not in self._frame_of):
                    unmet[name] = None
                continue
            dependent[name] = False
            pending.append((name, True))
            pending.extend((item, False) for item in before)
        if unmet:
            raise _UnmetError(tuple(unmet))
        return {name: None for name, is_inside in dependent.items() if is_inside}

    def _switches(self, name: str) -> bool:
        """Whether a node is the `Switch` of a branch, not of a loop."""
        node = self.node(name)
        return node.op in SWITCH and self.node(self._source(node.inputs[1])[0]).op != "LoopCond"

    def _function(
        self,
        name: str,
        arguments: Sequence[Reference],
        region: _Region,
        known: Mapping[Reference, Reference],
        results: Sequence[Reference],
        types: Sequence[ElementType],
    ) -> FunctionName:
        """Make a function of a region. Returns its name."""
        stored = {node.name: node for node in region.nodes}
        names = {
            reference: self._unused(f"{name}/argument_{index}")
            for index, reference in enumerate(arguments)
        }

        def renamed(reference: Reference) -> str:
            return names.get(known.get(reference, reference)) or _text(reference)

        for node in region.nodes:
            inputs = tuple(renamed(_reference(item)) for item in node.inputs)
            stored[node.name] = replace(node, inputs=inputs)
        unique = self._unused(name)
        self.functions[unique] = Body(
            unique,
            stored,
            _same,
            tuple(zip(names.values(), types, strict=True)),
            tuple((f"result_{index}", renamed(item)) for index, item in enumerate(results)),
        )
        return FunctionName(unique)

    def _unused(self, name: str) -> str:
        """A name that no node and no function has."""
        while name in self.graph.stored or name in self.changed or name in self.functions:
            name += "_"
        return name

    def _replace(self, name: str, result: Reference) -> None:
        """Replace a node by a result of another one."""
        attributes = {"T": self._type((name, 0))}
        self.changed[name] = StoredNode(name, "Identity", (_text(result),), (), attributes)

    def _type(self, reference: Reference) -> ElementType:
        """Element type of a tensor."""
        node = self.node(reference[0])
        kind: object = None
        if node.op in ("While", "If"):
            types = node.attributes["T" if node.op == "While" else "Tout"]
            kind = types[reference[1]] if isinstance(types, tuple) else types
        elif node.op in TYPED:
            kind = node.attributes.get("T", node.attributes.get("dtype"))
        if not isinstance(kind, str):
            raise ReadError(
                f"the element type of {quoted(_text(reference))}, which a loop or branch reads, is "
                "not known"
            )
        return kind

    def _source(self, reference: str) -> Reference:
        """The tensor that a reference leads to through `Identity`."""
        name, index = _reference(reference)
        for _ in range(1000):
            node = self.node(name)
            if node.op not in SAME or not node.inputs:
                return name, index
            name, index = _reference(node.inputs[0])
        raise HostileFileError("a tensor passes through too many nodes")


def _reference(text: str) -> Reference:
    """The node and the position in a text such as "node:1"."""
    name, _, index = text.partition(":")
    if index and not (index.isdecimal() and len(index) < 7):
        raise ReadError(f"the reference {quoted(text)} is malformed")
    return name, int(index or 0)


def _name(text: str) -> str:
    return text.partition(":")[0]


def _text(reference: Reference) -> str:
    name, index = reference
    return f"{name}:{index}" if index else name


def _same(node: Any) -> StoredNode:
    assert isinstance(node, StoredNode)
    return node


def _not_understood(name: str) -> ReadError:
    return ReadError(
        f"the branches that the node {quoted(name)} (Merge) joins do not have the structure that "
        "TensorFlow writes"
    )

"""Hostile TensorFlow graphs: each is refused in bounded time and memory, with the place.

The files are made of protobuf messages that `message` writes.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from kerasport.errors import HostileFileError, KerasportError, OptionError, ReadError, TooLargeError
from kerasport.frontends.graphdef import read_graph
from kerasport.frontends.graphdef.bundle import MAGIC, open_bundle
from kerasport.weights import ComputedWeight

pytestmark = pytest.mark.every_row

RECORDED = Path(__file__).parent / "recorded" / "graphs"
SECONDS = 15  # of the CPU
FLOAT, INT32, STRING = 1, 3, 7

# ---------------------------------------------------------------------------------------- protobuf


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes((*data, value))


def message(*fields: tuple[int, Any]) -> bytes:
    """A message of numbers, floats, texts and messages, each with its field number."""
    data = []
    for number, value in fields:
        if isinstance(value, float):
            data.append(varint(number << 3 | 5) + struct.pack("<f", value))
        elif isinstance(value, int):
            data.append(varint(number << 3) + varint(value))
        else:
            content = value.encode() if isinstance(value, str) else value
            data.append(varint(number << 3 | 2) + varint(len(content)) + content)
    return b"".join(data)


def shape(*sizes: int) -> bytes:
    return message(*((2, message((1, size))) for size in sizes))


def attr(name: str, value: bytes) -> tuple[int, bytes]:
    return 5, message((1, name), (2, value))


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    names = [(3, item) for item in inputs]
    return message((1, name), (2, op), *names, *(attr(*item) for item in attributes.items()))


def constant(name: str, *sizes: int, dtype: int = FLOAT, **fields: Any) -> bytes:
    """A constant. By default it has one element, which stands for all."""
    numbers = {"tensor_content": 4, "float_val": 5, "int_val": 7, "string_val": 8}
    stored = [(numbers[key], value) for key, value in fields.items()] or [(5, 1.0)]
    tensor = message((1, dtype), (2, shape(*sizes)), *stored)
    return node(name, "Const", dtype=message((6, dtype)), value=message((8, tensor)))


X = node("x", "Placeholder", dtype=message((6, FLOAT)), shape=message((7, shape(-1, 3))))


TYPES = message((1, message((6, FLOAT))))


def called(name: str) -> bytes:
    return message((10, message((1, name))))


def function(name: str, nodes: Iterable[bytes], result: str) -> bytes:
    """A function of one tensor a that returns one tensor r."""
    arg, ret = message((1, "a"), (3, FLOAT)), message((1, "r"), (3, FLOAT))
    signature = message((1, name), (2, arg), (3, ret))
    return message(
        (1, signature), *((3, item) for item in nodes), (4, message((1, "r"), (2, result)))
    )


def graph(*nodes: bytes, functions: Iterable[bytes] = ()) -> bytes:
    library = message(*((1, item) for item in functions))
    return message(*((1, item) for item in nodes), (2, library))


# ------------------------------------------------------------------------------------------ graphs


def recursive() -> bytes:
    f = function("f", [node("c", "g", "a")], "c:r:0")
    g = function("g", [node("c", "PartitionedCall", "a", f=called("f"))], "c:output:0")
    return graph(X, node("y", "f", "x"), functions=[f, g])


def doubling(levels: int = 40) -> bytes:
    """Each function calls the next one twice: 2⁴⁰ operations."""
    functions = [
        function(
            f"f{level}",
            [node("b", f"f{level + 1}", "a"), node("c", f"f{level + 1}", "b:r:0")],
            "c:r:0",
        )
        for level in range(levels)
    ]
    last = function(f"f{levels}", [], "a")
    return graph(X, node("y", "f0", "x"), functions=[*functions, last])


def deep(levels: int = 5000) -> bytes:
    functions = [
        function(f"f{level}", [node("b", f"f{level + 1}", "a")], "b:r:0") for level in range(levels)
    ]
    last = function(f"f{levels}", [node("b", "Relu", "a")], "b:activations:0")
    return graph(X, node("y", "f0", "x"), functions=[*functions, last])


def nested_loops(levels: int = 2000) -> bytes:
    def loop(level: int) -> bytes:
        inner = node(
            "w",
            "While",
            "a",
            cond=called("f"),
            body=called(f"b{level + 1}"),
            T=TYPES,
        )
        return function(f"b{level}", [inner], "w:output:0")

    f = function("f", [], "a")
    last = function(f"b{levels}", [], "a")
    y = node("y", "While", "x", cond=called("f"), body=called("b0"), T=TYPES)
    return graph(X, y, functions=[f, last, *map(loop, range(levels))])


def loop_of_itself() -> bytes:
    w = node("w", "While", "a", cond=called("f"), body=called("f"), T=TYPES)
    y = node("y", "While", "x", cond=called("f"), body=called("f"), T=TYPES)
    return graph(X, y, functions=[function("f", [w], "w:output:0")])


def chain(length: int) -> bytes:
    nodes = [node(f"n{i}", "Relu", f"n{i - 1}" if i else "x") for i in range(length)]
    return graph(X, *nodes)


def many_arguments() -> bytes:
    """A function of 5,000 arguments that is called 10 times by one that is called 30 times."""
    ret = message((1, "r"), (3, FLOAT))
    args = [message((1, f"a{i}"), (3, FLOAT)) for i in range(5000)]
    signature = message((1, "wide"), *((2, arg) for arg in args), (3, ret))
    wide = message((1, signature), (4, message((1, "r"), (2, "a0"))))
    calls = [node(f"c{i}", "wide", *[f"c{i - 1}:r:0" if i else "a"] * 5000) for i in range(10)]
    f = function("f", calls, "c9:r:0")
    nodes = [node(f"n{i}", "f", f"n{i - 1}" if i else "x") for i in range(30)]
    return graph(X, *nodes, functions=[wide, f])


def control_cycle() -> bytes:
    return graph(X, node("y", "Relu", "x", "^z"), node("z", "NoOp", "^y"))


def enter(name: str, value: str, frame: str = "f") -> bytes:
    attributes = {"frame_name": message((2, frame)), "T": message((6, FLOAT))}
    return node(name, "Enter", value, **attributes)


def loop_of_tensorflow_1(start: str = "x", step: str = "b", condition: str = "l") -> bytes:
    """while less(m): m = relu(m)"""
    kind = message((6, FLOAT))
    return graph(
        X,
        enter("e", start),
        node("m", "Merge", "e", "n", T=kind),
        node("less", "Less", "m", "m", T=kind),
        node("l", "LoopCond", "less"),
        node("s", "Switch", "m", condition, T=kind),
        node("b", "Relu", "s:1", T=kind),
        node("n", "NextIteration", step, T=kind),
        node("q", "Exit", "s", T=kind),
        node("y", "Relu", "q", T=kind),
    )


def branches_in_each_other(levels: int = 400) -> bytes:
    """Each branch reads the result of the one before it inside of its own."""
    kind = message((6, FLOAT))
    nodes = [node("p", "Less", "x", "x", T=kind)]
    for level in range(levels):
        before = f"m{level - 1}" if level else "x"
        nodes += [
            node(f"s{level}", "Switch", before, "p", T=kind),
            node(f"a{level}", "Relu", f"s{level}:1", T=kind),
            node(f"b{level}", "Relu", f"s{level}", T=kind),
            node(f"m{level}", "Merge", f"a{level}", f"b{level}", T=kind),
        ]
    return graph(X, *nodes, node("y", "Relu", f"m{levels - 1}", T=kind))


GRAPHS: dict[str, tuple[Callable[[], bytes], type[KerasportError], str]] = {
    "recursive functions": (recursive, HostileFileError, "the function 'f' calls itself"),
    "functions that double": (doubling, HostileFileError, "more than 100,000 operations"),
    "deep calls": (deep, HostileFileError, "more than 1000 function calls are inside each other"),
    "nested loops": (nested_loops, HostileFileError, "nested more than 50 levels"),
    "a loop of itself": (loop_of_itself, HostileFileError, "the function 'f' runs itself"),
    "a cycle": (
        lambda: graph(X, node("y", "Add", "x", "z"), node("z", "Relu", "y"),
              node("o", "Relu", "z")),
        HostileFileError,
        "the graph has a cycle at the node",
    ),
    "a cycle of control inputs": (control_cycle, OptionError, "no node of the graph is an output"),
    "1,000,000 nodes": (
        lambda: message((1, X)) + message((1, node("n", "NoOp"))) * 1_000_000,
        HostileFileError,
        r"a list \(node\) has more than 500,000 elements",
    ),
    "many arguments": (many_arguments, HostileFileError, "more than 100,000 operations"),
    "a size beyond all limits": (
        lambda: graph(X, constant("c", 2**62, 2**62), node("y", "Add", "x", "c")),
        ReadError,
        r"node 'c'.*the size 4611686018427387904",
    ),
    "a negative size": (
        lambda: graph(X, constant("c", -3), node("y", "Add", "x", "c")),
        ReadError,
        r"node 'c'.*negative size -3",
    ),
    "an unknown size": (
        lambda: graph(X, constant("c", -1), node("y", "Add", "x", "c")),
        ReadError,
        r"node 'c'.*shape of an array is not known",
    ),
    "a constant with too few bytes": (
        lambda: graph(X, constant("c", 3, tensor_content=b"12345678"), node("y", "Add", "x", "c")),
        ReadError,
        r"node 'c'.*has 8 bytes",
    ),
    "a constant with too many elements": (
        lambda: graph(X, constant("c", 1, int_val=b"\x01\x02", dtype=INT32),
              node("y", "Add", "x", "c")),
        ReadError,
        r"node 'c'.*has 2 elements",
    ),
    "a missing node": (
        lambda: graph(X, node("y", "Add", "x", "c")),
        ReadError,
        "has no node 'c'",
    ),
    "a missing function": (
        lambda: graph(X, node("y", "PartitionedCall", "x", f=called("f"), Tout=TYPES)),
        ReadError,
        "has no function 'f'",
    ),
    "too few arguments": (
        lambda: graph(X, node("y", "f"), functions=[function("f", [], "a")]),
        ReadError,
        r"passes 0 tensors to the function 'f', which has 1",
    ),
    "a result that is missing": (
        lambda: graph(X, node("y", "f", "x"), node("z", "Relu", "y:7"),
              functions=[function("f", [], "a")]),
        ReadError,
        "'y' has no result 7",
    ),
    "a loop that contains its exit": (
        lambda: loop_of_tensorflow_1(step="q"),
        HostileFileError,
        "contains itself",
    ),
    "a loop that starts with its exit": (
        lambda: loop_of_tensorflow_1(start="q"),
        HostileFileError,
        "the graph has a cycle",
    ),
    "a loop without condition": (
        lambda: loop_of_tensorflow_1(condition="less"),
        ReadError,
        r"\(Exit\) does not belong to a loop",
    ),
    "a loop without entry": (
        lambda: graph(X, node("m", "Merge", "x", "n"), node("n", "NextIteration", "m"),
              node("y", "Relu", "m")),
        ReadError,
        r"'m' \(Merge\) does not begin a loop",
    ),
    "a branch without switch": (
        lambda: graph(X, node("m", "Merge", "x", "x"), node("y", "Relu", "m")),
        ReadError,
        r"'m' \(Merge\) joins do not have the structure",
    ),
    "two nodes of one name": (
        lambda: graph(X, X),
        ReadError,
        "a node with the empty or repeated name 'x'",
    ),
    "a length beyond the file": (
        lambda: b"\x0a\xff\xff\xff\xff\x0fabc",
        ReadError,
        "not a valid protobuf message",
    ),
    "a text that is not UTF-8": (
        lambda: message((1, message((1, b"\xff\xfe"), (2, "NoOp")))),
        ReadError,
        "is not UTF-8",
    ),
    "comments without end": (lambda: b"# " * 5000, ReadError, "protobuf"),
    "nothing": (lambda: b"", ReadError, "the file graph.pb is empty"),
    "another file": (lambda: b"PK\x03\x04" + bytes(100), ReadError, "protobuf"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_hostile_graph_is_refused(name: str, tmp_path: Path) -> None:
    data, error, match = GRAPHS[name]
    path = tmp_path / "graph.pb"
    path.write_bytes(data())
    start = time.process_time()
    with pytest.raises(error, match=match) as caught:
        read_graph(path)
    assert time.process_time() - start < SECONDS
    if isinstance(caught.value, ReadError):
        assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(("dtype", "field"), [(FLOAT, "float_val"), (STRING, "string_val")])
def test_a_constant_of_terabytes_is_not_built(tmp_path: Path, dtype: int, field: str) -> None:
    path = tmp_path / "graph.pb"
    value = {field: 1.0 if dtype == FLOAT else b"a"}
    c = constant("c", 1_000_000, 1_000_000, dtype=dtype, **value)
    path.write_bytes(graph(X, c, node("y", "Add", "x", "c")))
    (result,) = read_graph(path).outputs
    weight = result.result.node.inputs[1].node.attributes["value"]
    assert isinstance(weight, ComputedWeight)
    with pytest.raises(TooLargeError, match="1,000,000 by 1,000,000"):
        weight.read()


def test_a_graph_of_too_many_nodes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasport.frontends.graphdef.flatten.MAX_NODES", 1000)
    (tmp_path / "graph.pb").write_bytes(chain(1001))
    with pytest.raises(HostileFileError, match="more than 1,000 operations"):
        read_graph(tmp_path / "graph.pb")


def test_functions_that_nothing_calls_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    one = function("f000000", [node("b", "Relu", "b")], "b:activations:0")
    unused = [one.replace(b"000000", b"%06d" % number) for number in range(100_000)]
    path.write_bytes(graph(X, node("y", "Relu", "x"), functions=unused))
    start = time.process_time()
    assert [output.name for output in read_graph(path).outputs] == ["y"]
    assert time.process_time() - start < SECONDS


def test_loops_and_branches_of_tensorflow_1(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(loop_of_tensorflow_1())
    assert read_graph(path).outputs[0].result.node.inputs[0].node.op == "While"
    path.write_bytes(branches_in_each_other())
    start = time.process_time()
    assert len(read_graph(path).functions) == 800
    assert time.process_time() - start < SECONDS


def test_calls_can_be_deeper_than_the_stack_of_python(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(deep(990))
    assert read_graph(path).outputs[0].result.node.op == "Relu"
    path.write_bytes(chain(10_000))
    assert read_graph(path).outputs[0].name == "n9999"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of memory to set")
def test_memory_is_bounded(tmp_path: Path) -> None:
    """With 1 GB of address space all hostile graphs end in the same errors."""
    names = [
        "functions that double",
        "1,000,000 nodes",
        "many arguments",
    ]
    for name in names:
        (tmp_path / f"{name}.pb").write_bytes(GRAPHS[name][0]())
    script = """if True:
        import resource, sys
        from kerasport.errors import KerasportError
        from kerasport.frontends.graphdef import read_graph
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        for path in sys.argv[1:]:
            try:
                read_graph(path)
            except KerasportError as error:
                print(type(error).__name__)
    """
    paths = [str(tmp_path / f"{name}.pb") for name in names]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *paths],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.split() == [GRAPHS[name][1].__name__ for name in names]


# ------------------------------------------------------------------------------------- SavedModels


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(copytree(RECORDED / "tables", tmp_path / "model"))


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("name", [b"../ab.txt", b"/etc/host", b"C:\\ab.txt", b"..\\ab.txt"])
def test_an_asset_outside_of_the_model_is_refused(model: Path, name: bytes) -> None:
    (model / "ab.txt").write_text("a\nb\n")
    replaced(model / "saved_model.pb", b"words.txt", name)
    with pytest.raises(HostileFileError, match="is not in the directory of assets"):
        read_graph(model)


@pytest.mark.parametrize("link", ["saved_model.pb", "assets/words.txt", "assets", "variables"])
def test_a_link_out_of_the_model_is_refused(model: Path, tmp_path: Path, link: str) -> None:
    moved = tmp_path / "elsewhere"
    (model / link).rename(moved)
    try:
        (model / link).symlink_to(moved, target_is_directory=moved.is_dir())
    except OSError:
        pytest.skip("links need a privilege on Windows")
    with pytest.raises(HostileFileError, match="link to a file outside"):
        read_graph(model)


def test_a_vocabulary_of_too_many_lines_is_refused(model: Path) -> None:
    (model / "assets" / "words.txt").write_bytes(b"\n" * 3_000_000)
    with pytest.raises(HostileFileError, match="more lines than any vocabulary"):
        read_graph(model)


@pytest.mark.parametrize("name", ["keras_export", "variables_v1", "table_v1", "lookup", "gru"])
def test_damaged_files_are_refused_or_read(name: str, tmp_path: Path) -> None:
    """A byte of each part of the file is changed, or the file is cut there."""
    path = Path(copytree(RECORDED / name, tmp_path / name))
    for file in (path / "saved_model.pb", path / "variables" / "variables.index"):
        data = file.read_bytes()
        step = max(1, len(data) // 30)
        for position in range(0, len(data), step):
            damaged = bytearray(data)
            damaged[position] ^= 0x55
            for content in (bytes(damaged), data[:position]):
                file.write_bytes(content)
                with suppress(KerasportError):
                    read_graph(path)
        file.write_bytes(data)


# ------------------------------------------------------------------------------------- checkpoints


def block(*items: tuple[int, bytes, bytes]) -> bytes:
    """A block of a table: for each item the shared prefix, the rest of the key, and the value."""
    data = b"".join(
        varint(shared) + varint(len(key)) + varint(len(value)) + key + value
        for shared, key, value in items
    )
    return data + struct.pack("<II", 0, 1)


def table(content: bytes, handle: bytes | None = None, kind: int = 0) -> bytes:
    """A table of one block."""
    first = handle or varint(0) + varint(len(content))
    start = len(content) + 5
    index = block((0, b"~", first))
    footer = varint(0) + varint(0) + varint(start) + varint(len(index))
    return b"".join(
        [
            content,
            bytes([kind]),
            bytes(4),
            index,
            bytes(5),
            footer.ljust(40, b"\0"),
            struct.pack("<Q", MAGIC),
        ]
    )


HEADER = (0, b"", message((1, 1)))


def entry(*sizes: int, dtype: int = FLOAT, shard: int = 0, offset: int = 0, size: int = 8) -> bytes:
    return message((1, dtype), (2, shape(*sizes)), (3, shard), (4, offset), (5, size))


INDEXES: dict[str, tuple[bytes, str]] = {
    "not a table": (bytes(100), "not the index of a checkpoint"),
    "too short": (b"abc", "not the index of a checkpoint"),
    "a block outside": (table(block(HEADER), varint(10) + varint(10**9)), "outside of the file"),
    "a key outside": (table(block((0, b"", b""), (5, b"a", b""))), "outside of its block"),
    "keys out of order": (
        table(block(HEADER, (0, b"b", b""), (0, b"a", b""))),
        "not in order",
    ),
    "long keys with a shared prefix": (
        table(
            block(HEADER, (0, b"a" * 500_000, b""), *[(500_000 + i, b"b", b"") for i in range(200)])
        ),
        "far more keys",
    ),
    "an unknown compression": (table(block(HEADER), kind=3), "unknown compression 3"),
    "a compressed block of terabytes": (
        table(varint(2**45) + bytes(10), kind=1),
        "35,184,372,088,832 bytes of content",
    ),
    "big-endian": (table(block((0, b"", message((1, 1), (2, 1))))), "big-endian"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_hostile_index_is_refused(name: str, tmp_path: Path) -> None:
    data, match = INDEXES[name]
    (tmp_path / "v.index").write_bytes(data)
    with pytest.raises(ReadError, match=match):
        open_bundle(tmp_path / "v")


@pytest.mark.parametrize(
    ("stored", "match"),
    [
        (entry(2, offset=1), "too short"),
        (entry(2, offset=2**62), "too short"),
        (entry(2, offset=-8), "negative offset or size"),
        (entry(2, size=-8), "negative offset or size"),
        (entry(3), "do not match its 8 bytes"),
        (entry(2**31 - 1, 2**31 - 1), "impossible shape|do not match"),
        (entry(2**40), "the size 1099511627776"),
        (entry(-1), "is not known"),
        (entry(2, shard=1), "shard 1 of 1"),
        (entry(2, shard=-1), "shard -1 of 1"),
        (entry(2, dtype=77), "element type 77"),
        (entry(2**30, dtype=STRING), "1073741824 strings in 8 bytes"),
        (entry(2, dtype=STRING), "do not match|truncated"),
    ],
)
def test_a_hostile_variable_is_refused(stored: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "v.index").write_bytes(table(block(HEADER, (0, b"w", stored))))
    (tmp_path / "v.data-00000-of-00001").write_bytes(bytes(8))
    bundle = open_bundle(tmp_path / "v")
    with pytest.raises(ReadError, match=match):
        bundle.weight("w")


def test_a_compressed_index_is_read(tmp_path: Path) -> None:
    content = block(HEADER, (0, b"w", entry(2)))
    literal = bytes([(len(content) - 1) << 2]) + content
    (tmp_path / "v.index").write_bytes(table(varint(len(content)) + literal, kind=1))
    (tmp_path / "v.data-00000-of-00001").write_bytes(struct.pack("<ff", 3, 4))
    weight = open_bundle(tmp_path / "v").weight("w")
    assert not isinstance(weight, bytes)
    assert list(weight.read()) == [3, 4]  # type: ignore[union-attr]

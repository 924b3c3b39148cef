"""SavedModels, frozen graphs and TF.js graph-models as frozen graphs."""

from __future__ import annotations

import pytest

from kerasport.errors import ReadError
from kerasport.frontends.graphdef.bundle import slice_key
from kerasport.frontends.graphdef.messages import NodeDef
from kerasport.frontends.graphdef.snappy import decompressed
from kerasport.frontends.graphdef.tensors import varints
from kerasport.frontends.graphdef.wire import decode

pytestmark = pytest.mark.every_row

# ------------------------------------------------------------------------------------- wire format


def test_a_message_is_decoded() -> None:
    node = decode(NodeDef, b"\x0a\x03abc\x12\x03Add\x1a\x01x\x1a\x02^y\x9a\x06\x01z")
    assert (node.name, node.op, node.input, node.attr) == ("abc", "Add", ["x", "^y"], {})


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x04abc",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b\x0c",
        b"\x08\x01",
        b"\x0a\x01\xff",
        b"\x0d\x00\x00",
    ],
)
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(ReadError, match="not a valid protobuf message"):
        decode(NodeDef, data)


def test_numbers_of_7_bits_per_byte() -> None:
    assert varints(b"\x00\x7f\x80\x01\xac\x02" + b"\xff" * 9 + b"\x01").tolist() == [
        0,
        127,
        128,
        300,
        2**64 - 1,
    ]
    with pytest.raises(ReadError, match="truncated"):
        varints(b"\x01\x80")


# ------------------------------------------------------------------------------------- checkpoints


def test_a_block_of_snappy_is_decompressed() -> None:
    # 12 bytes: the literal "abc", then 9 bytes that begin 3 bytes before
    assert decompressed(b"\x0c\x08abc\x15\x03") == b"abc" * 4


@pytest.mark.parametrize(
    "data", [b"\x0c\x08abc", b"\x0c\x08abc\x15\x04", b"\x03\x08ab", b"\x01\xf4"]
)
def test_a_malformed_block_of_snappy_is_refused(data: bytes) -> None:
    with pytest.raises(ReadError):
        decompressed(data)


def test_keys_of_partitioned_variables() -> None:
    # as saved_tensor_slice_util.cc of TensorFlow encodes them
    assert slice_key("w", ((0, 5), (0, None))) == b"\x00w\x00\x01\x01\x02\x80\x85\x80\x7f"
    assert slice_key("w", ((100, 8192),)) == b"\x00w\x00\x01\x01\x01\xc0\x64\xe0\x20\x00"

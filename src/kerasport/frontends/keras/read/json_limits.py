"""JSON from an untrusted file: bounded in size and depth, and told apart from what is not JSON."""

from __future__ import annotations

import json
from typing import Any

from kerasport.errors import HostileFileError, ReadError

MAX_BYTES = 16 * 1024 * 1024  # 5000 layers take 6 MB
MAX_VALUES = 1024 * 1024  # each takes up to 200 bytes of memory, and perhaps three of text
MAX_DEPTH = 250  # models nested 60 deep need some 200


def parse_json(text: bytes | str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        ReadError: the text is not JSON.
        HostileFileError: it is larger or nested deeper than a model can need.
    """
    if len(text) > MAX_BYTES:
        raise HostileFileError(
            f"{where}: the JSON has {len(text)} bytes, more than the {MAX_BYTES} allowed"
        )
    if _values(text) > MAX_VALUES:
        raise HostileFileError(f"{where}: the JSON has more than the {MAX_VALUES} values allowed")
    try:
        value = json.loads(text)
    except RecursionError:
        raise HostileFileError(
            f"{where}: the JSON is nested more deeply than in any Keras model"
        ) from None
    except ValueError as error:
        raise ReadError(f"{where}: this is not valid JSON ({error})") from None
    if depth(value) > MAX_DEPTH:
        raise HostileFileError(f"{where}: the JSON is nested more than {MAX_DEPTH} levels deep")
    return value


def parse_config(text: bytes | str, where: str) -> Any:
    """The value of a JSON text, or of the JSON text that it holds: `json.dump(model.to_json(), file)` encodes it twice.

    Raises:
        ReadError: the text is not JSON.
        HostileFileError: it is larger or nested deeper than a model can need.
    """
    value = parse_json(text, where)
    return parse_json(value, where) if isinstance(value, str) else value


def _values(text: bytes | str) -> int:
    """No fewer than the values of a JSON text: each follows a comma or an opening bracket."""
    if isinstance(text, str):
        return sum(map(text.count, "[{,"))
    return sum(map(text.count, (b"[", b"{", b",")))


def depth(value: Any) -> int:
    """How many containers stand inside each other at the deepest place."""
    level, deepest = [value], 0
    while level := [item for item in level if isinstance(item, dict | list) and item]:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return deepest

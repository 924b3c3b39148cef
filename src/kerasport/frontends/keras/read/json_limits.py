"""Parse JSON from an untrusted file, with limits on its size and depth."""

from __future__ import annotations

import json
from typing import Any

from kerasport.errors import HostileFileError, ReadError

MAX_BYTES = 16 * 1024 * 1024  # bytes; 5000 layers take 6 MB
MAX_VALUES = 1024 * 1024  # each takes up to 200 bytes of memory, and possibly only three of text
MAX_DEPTH = 250  # models nested 60 deep need about 200


def parse_json(text: bytes | str, where: str) -> Any:
    """Parse a JSON text.

    Raises:
        ReadError: the text is not JSON.
        HostileFileError: it is larger or nested deeper than any model needs.
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
    """Parse a JSON text that may be encoded twice, as by `json.dump(model.to_json(), file)`.

    Raises:
        ReadError: the text is not JSON.
        HostileFileError: it is larger or nested deeper than any model needs.
    """
    value = parse_json(text, where)
    return parse_json(value, where) if isinstance(value, str) else value


def _values(text: bytes | str) -> int:
    """Upper bound on the number of values: each follows a comma or an opening bracket."""
    if isinstance(text, str):
        return sum(map(text.count, "[{,"))
    return sum(map(text.count, (b"[", b"{", b",")))


def depth(value: Any) -> int:
    """The nesting depth of containers, at most `MAX_DEPTH` + 1."""
    level, deepest = [value], 0
    while level := [item for item in level if isinstance(item, dict | list) and item]:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for items in children for child in items]
    return deepest

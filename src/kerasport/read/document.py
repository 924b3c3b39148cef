"""JSON from an untrusted file: bounded in size and depth, and told apart from what is not JSON."""

from __future__ import annotations

import json
from typing import Any

from kerasport.errors import HostileFileError, ReadError

MAX_BYTES = 256 * 1024 * 1024
MAX_DEPTH = 400  # a model nested 30 deep needs some 200


def parse_json(text: bytes | str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        ReadError: the text is not JSON.
        HostileFileError: it is larger or nested deeper than a model can need.
    """
    if len(text) > MAX_BYTES:
        raise HostileFileError(f"{where}: {len(text)} bytes of JSON, more than the {MAX_BYTES} allowed")
    try:
        value = json.loads(text)
    except RecursionError:
        raise HostileFileError(f"{where}: JSON nested too deep to be a model") from None
    except ValueError as error:
        raise ReadError(f"{where}: not valid JSON ({error})") from None
    if depth(value) > MAX_DEPTH:
        raise HostileFileError(f"{where}: JSON nested more than {MAX_DEPTH} deep")
    return value


def depth(value: Any) -> int:
    """How many containers stand inside each other at the deepest place."""
    level, deepest = [value], 0
    while level := [item for item in level if isinstance(item, dict | list) and item]:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest

"""Parts of the code that loads a converted model, which all targets share.

The paths are those of a page in the current directory if the output is below it, and of a page next
to the output if not.
"""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path

from kerasport.weights import Shape

CDN = "https://cdn.jsdelivr.net/npm"
OPEN_IMAGE, OPEN = 224, 16
"""Example sizes for unknown sizes of images, and of other tensors."""


def page_of(out: Path) -> tuple[str, Path]:
    """The path of an output as a page writes it, and the directory of that page."""
    place, here = Path(os.path.abspath(out)), Path.cwd()  # noqa: PTH100  (resolve() would follow links)
    folder = here if here in place.parents else place.parent
    return place.relative_to(folder).as_posix(), folder


def titled(folder: Path) -> str:
    """The title of the code for a page in a directory."""
    return "Load it in a page" if folder == Path.cwd() else f"Load it in a page in {folder}"


def script(head: str, lines: list[str]) -> str:
    """A script of a page: a line that loads a library, and a module."""
    return "\n".join(
        (head, '<script type="module">', *(f"  {line}" for line in lines), "</script>")
    )


def strings(sizes: list[int]) -> str:
    """A JavaScript array with one string for each element of a tensor with these sizes."""
    return '["text"]' if prod(sizes) == 1 else f'Array({prod(sizes)}).fill("text")'


def example_sizes(shape: Shape) -> list[int]:
    """The sizes of an example: one sample, and an arbitrary size for other unknown sizes."""
    default = OPEN_IMAGE if len(shape) == 4 else OPEN
    defaults = (1, *(default,) * len(shape))
    return [known if size is None else size for size, known in zip(shape, defaults, strict=False)]


def relative_url(path: str) -> str:
    """A relative URL as a JavaScript string, with special characters escaped."""
    for char in "%#?<\\":
        path = path.replace(char, f"%{ord(char):02X}")
    # the text before a colon in the first part would be read as a URL scheme
    return quoted_text(f"./{path}" if ":" in path.split("/", maxsplit=1)[0] else path)


def quoted_text(text: str) -> str:
    """A string of JavaScript or Python that cannot end a script of a page."""
    return json.dumps(text, ensure_ascii=not text.isprintable()).replace("</", "<\\/")

"""`model.json` and the files next to it, for both TF.js formats.

Source of the format: tfjs-core io/types.ts and tfjs-converter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasport.errors import OptionError, quoted
from kerasport.targets.encoding import Encoding, nbytes_of
from kerasport.targets.notes import BUFFER
from kerasport.targets.output import replacing
from kerasport.targets.plan import Output, Plan
from kerasport.targets.tfjs.channels import Channels
from kerasport.targets.tfjs.options import SHARD, TfjsOptions
from kerasport.targets.tfjs.shards import Written, write_weights
from kerasport.weights import Weight

WEB = Path(__file__).parent.parent.parent / "web"

MOST_SHARDS = 10_000  # files; a directory of more is slow to list, copy and upload


@dataclass(frozen=True, kw_only=True)
class TfjsPlan(Plan):
    """A TF.js model before it is written.

    Attributes:
        format: the format that model.json names, "layers-model" or "graph-model".
        document: the keys of model.json that describe the model.
        metadata: further keys of `userDefinedMetadata`.
        channels: name of each kernel whose channels can be scaled → its channels.
        optimizer: state of the optimizer, in the order in which TF.js reads it.
        scripts: modules to write next to the model; a page registers with them what TF.js lacks.
        asynchronous: whether a graph-model runs with `executeAsync()` only.
    """

    format: str
    document: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    channels: Mapping[str, Channels] = field(default_factory=dict)
    optimizer: Mapping[str, Weight] = field(default_factory=dict)
    scripts: tuple[Path, ...] = ()
    asynchronous: bool = False

    @property
    def nbytes(self) -> int:
        """Size in bytes of all weights as they are written, and of the optimizer's state."""
        return super().nbytes + sum(map(nbytes_of, self.optimizer.values()))

    @property
    def guide(self) -> str:
        """The page of the documentation about what can be done with the model."""
        return "docs/companion.md" if self.scripts else self.target.guide


def write_model(
    plan: TfjsPlan, out: Path, options: TfjsOptions, force: bool, progress: Callable[[int], None]
) -> Output:
    """Write a model to a directory, complete or not at all.

    Raises:
        OptionError: there would be too many shards.
        OutputExistsError: the output exists and is not replaced, or another process was faster.
    """
    if plan.nbytes > options.shard_size * MOST_SHARDS:
        raise OptionError(
            f"shards of {options.shard_size:,} bytes would be more than {MOST_SHARDS:,} files; "
            f"make them at least {-(-plan.nbytes // MOST_SHARDS):,} bytes",
            "shard_size",
        )
    with replacing(out, force=force) as folder:
        return write(plan, folder, shard_size=options.shard_size, progress=progress)


def write(
    plan: TfjsPlan,
    directory: Path,
    *,
    shard_size: int = SHARD,
    progress: Callable[[int], None] = lambda _: None,
) -> Output:
    """Write a model into an existing directory."""
    written = write_weights(
        {**plan.weights, **plan.optimizer},
        directory,
        optimizer=frozenset(plan.optimizer),
        shard_size=shard_size,
        encodings={
            n: encoding for n, encoding in plan.encodings.items() if isinstance(encoding, Encoding)
        },
        progress=progress,
    )
    files, nbytes = write_around(plan, written, directory)
    return Output(files, nbytes, written.errors)


def write_around(plan: TfjsPlan, written: Written, directory: Path) -> tuple[tuple[str, ...], int]:
    """Write all files except the weights, which are already in the directory.

    Returns:
        The names of all files, and their size in bytes.
    """
    text = model_json(plan, written.manifest)
    (directory / "model.json").write_text(text, encoding="utf-8")
    files = (file for script in plan.scripts for file in (script, typings(script)))
    scripts = {file.name: file.read_bytes() for file in files}
    for name, content in scripts.items():
        (directory / name).write_bytes(content)
    nbytes = len(text) + sum(map(len, scripts.values())) + written.nbytes
    return ("model.json", *scripts, *written.files), nbytes


def typings(script: Path) -> Path:
    """The TypeScript declarations next to a script."""
    return script.with_suffix(".d.ts")


def model_json(plan: TfjsPlan, manifest: Sequence[Mapping[str, Any]]) -> str:
    """The text of model.json, with a manifest of the weights."""
    from kerasport import __version__  # noqa: PLC0415  (the package imports this module)

    ours = {**plan.metadata.get("kerasport", {}), "renamed": dict(plan.renamed)}
    ours |= {"scripts": [script.name for script in plan.scripts]} if plan.scripts else {}
    document = {
        "format": plan.format,
        "generatedBy": f"keras {plan.writer}".strip(),
        "convertedBy": f"kerasport {__version__}",
        **plan.document,
        # a graph-model without weights still has a manifest, or TF.js throws
        "weightsManifest": manifest or [{"paths": [], "weights": []}],
        "userDefinedMetadata": {**plan.metadata, "kerasport": ours},
    }
    # allow_nan=False: a browser's JSON has neither NaN nor Infinity
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def size_notes(plan: Plan, shard_size: int) -> Iterator[str]:
    """Notes on weights and shards that no browser can hold in one ArrayBuffer."""
    limit = f"{BUFFER // 10**9} GB, which browsers cannot allocate at once"
    total = 0
    for name, weight in plan.weights.items():
        nbytes = nbytes_of(weight, plan.encodings.get(name))
        total += nbytes
        if nbytes > BUFFER:
            yield f"weight {quoted(name)} needs more than {limit}; only TF.js in Node can load it"
    if min(total, shard_size) > BUFFER:
        yield (
            f"a shard needs more than {limit}; choose a smaller --shard-size, such as the default "
            "of 4MiB"
        )

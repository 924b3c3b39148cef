"""A target: everything that kerasport knows about an output format, as one value.

The table of targets is in `kerasport.targets`. No other code asks which target it works for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kerasport.budget import FLOOR
from kerasport.errors import MissingPackageError
from kerasport.report import Snippet
from kerasport.targets.encoding import stored_dtype
from kerasport.targets.plan import Output, Plan
from kerasport.targets.rounding import RoundingRule


@dataclass(frozen=True)
class Options:
    """Options of every target. A target with more options has a subclass.

    Attributes:
        max_size: largest size in bytes of the converted model, and of the memory to create it.
        quantize: the rules for rounding weights; empty if none are rounded.
    """

    max_size: int = FLOOR
    quantize: tuple[RoundingRule, ...] = ()


@dataclass(frozen=True)
class Extra:
    """Packages that only one target needs, and the extra of kerasport that installs them."""

    name: str
    packages: Mapping[str, str]
    """Module → distribution that contains it."""

    @property
    def install(self) -> str:
        """The command that installs them."""
        return f'pip install "kerasport[{self.name}]"'

    def is_installed(self) -> bool:
        """Whether all packages are installed."""
        return all(find_spec(module) is not None for module in self.packages)


class Loader(Protocol):
    """Writes the code that loads a model."""

    def __call__(
        self, plan: Any, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
    ) -> tuple[Snippet, ...]:
        """The code for a page, and for other programs, to copy.

        Args:
            plan: the plan of the model.
            out: the directory or file that was written.
            dtypes: name of an input → dtype of the tensor to feed.
            files: names of the files that were written.
        """


@dataclass(frozen=True, kw_only=True)
class Repairer:
    """Corrects models in the format of a target that other programs wrote.

    Attributes:
        plan: plans the correct model, given what a front end opened and the options.
        changes: what the plan changes in the model, one sentence each.
        write: writes the correct model to a directory, or in place for None. Returns the names of
            the files, and the name of the backup. The last argument is whether to replace files.
        copy: copies a model that is correct to a directory. Returns the names of the files.
    """

    plan: Callable[[Any, Any], Plan]
    changes: Callable[[Any, Any], tuple[str, ...]]
    write: Callable[[Any, Any, Path | None, bool], tuple[tuple[str, ...], str]]
    copy: Callable[[Any, Path, bool], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An output format.

    The functions import what they need when they are called, so a run loads only its own target.

    Attributes:
        name: the name that users choose, such as "tfjs-graph".
        title: the name in sentences, such as "TF.js graph-model".
        suffix: suffix of the output file; empty if the output is a directory.
        entry: name of the file in the output directory that a page loads.
        not_suffixes: suffix that users give to the directory by mistake → why it is wrong.
        more_suffixes: suffixes of further files, which are appended to the name of the output file.
        options: class of the options.
        takes_layers: whether `plan` takes a `KerasModel`; other targets take a `Program`.
        trains: whether a model can be trained further.
        plan: plans the conversion; never raises for parts that are not supported.
        write: writes a plan to its place, complete or not at all.
        rounded: the plan with weights rounded by the rules of the options.
        stored_dtype: the dtype in which weights of a dtype are stored if they are not rounded.
        notes: notes on a plan that is about to be written, such as sizes that browsers do not load.
        load: the code that loads a model.
        not_finite: how the target treats NaN and infinity differently from Keras; may be empty.
        guide: page of the documentation about what can be done with a model.
        runtime: name of the runtime that verification uses, see `kerasport.verification.runtimes`.
        extra: packages that `write` needs; None if the base installation is enough.
        repairer: corrects models of other programs; None if the target has no such function.
    """

    name: str
    title: str
    suffix: str = ""
    entry: str = ""
    not_suffixes: Mapping[str, str] = field(default_factory=dict)
    more_suffixes: tuple[str, ...] = ()
    options: type[Options] = Options
    takes_layers: bool = False
    trains: bool = False
    plan: Callable[[Any, Any], Plan]
    write: Callable[[Any, Path, Any, bool, Callable[[int], None]], Output]
    rounded: Callable[[Any, Any], Plan]
    stored_dtype: Callable[[np.dtype[Any]], np.dtype[Any]] = stored_dtype
    notes: Callable[[Any, Any], Iterator[str]] = field(default=lambda *_: iter(()))
    load: Loader = field(default=lambda *_: ())
    not_finite: str = ""
    guide: str = "README.md"
    runtime: str = ""
    extra: Extra | None = None
    repairer: Repairer | None = None

    @property
    def family(self) -> str:
        """The first word of the title, such as "TF.js"."""
        return self.title.partition(" ")[0]

    @property
    def example(self) -> str:
        """A name for an output in messages and examples."""
        return f"model{self.suffix}" if self.suffix else "web_model"

    def files(self, out: Path) -> tuple[Path, ...]:
        """The files that the output consists of; empty if it is a directory."""
        if not self.suffix:
            return ()
        return (out, *(out.with_name(f"{out.name}{suffix}") for suffix in self.more_suffixes))

    def check_installed(self) -> None:
        """Check that the packages are installed that writing needs.

        Raises:
            MissingPackageError: one of them is not.
        """
        if self.extra is not None and not self.extra.is_installed():
            packages = ", ".join(self.extra.packages.values())
            raise MissingPackageError(
                f"{self.title}s are written with {packages}, which is not installed; "
                f"{self.extra.install}"
            )

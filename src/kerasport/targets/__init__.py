"""The table of targets, the choice among them, and the conversion with the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from kerasport.budget import limited
from kerasport.errors import OptionError, Problem, TooLargeError, with_article
from kerasport.frontends.keras.model import KerasModel
from kerasport.ir.program import Program
from kerasport.targets import output
from kerasport.targets.onnx import ONNX
from kerasport.targets.plan import Output, Plan
from kerasport.targets.target import Options, Target
from kerasport.targets.tfjs import GRAPH, LAYERS

__all__ = [
    "AUTO", "REPAIRED", "TARGETS", "Options", "Output", "Plan", "Source", "Target", "candidates",
    "check_free", "options_of", "planned", "target_at", "written", "written_as",
]  # fmt: skip

TARGETS: Mapping[str, Target] = {target.name: target for target in (LAYERS, GRAPH, ONNX)}
"""Name of a target → target, in the order in which "auto" tries those that write a directory."""

REPAIRED = next(target for target in TARGETS.values() if target.repairer is not None)
"""The target whose models `repair` corrects."""

AUTO = "auto"

Source: TypeAlias = KerasModel | Program


def candidates(to: str, out: Path | None = None, *, training: bool = False) -> tuple[Target, ...]:
    """The targets that are possible, in the order in which they are tried.

    Args:
        to: name of a target, or "auto": the target of the suffix of `out`, or else those that write
            a directory.
        out: the output; None if nothing is written.
        training: whether the model must be one that can be trained.

    Raises:
        OptionError: there is no such target, it cannot be trained, or it is not written to `out`.
    """
    if to not in (AUTO, *TARGETS):
        raise OptionError(f"unknown target {to!r}; the targets are {AUTO}, {', '.join(TARGETS)}")
    of_suffix = None if out is None else target_at(out)
    if of_suffix is not None and to not in (AUTO, of_suffix.name):
        raise OptionError(
            f"{out}: a file that ends in {of_suffix.suffix} is {with_article(of_suffix.title)}; "
            f"choose another output for {with_article(TARGETS[to].title)}"
        )
    if of_suffix is not None:
        chosen: tuple[Target, ...] = (of_suffix,)
    elif to == AUTO:
        chosen = tuple(target for target in TARGETS.values() if not target.suffix)
    else:
        chosen = (TARGETS[to],)
    if out is not None:
        _check_suffix(chosen[0], out)
    if training and not any(target.trains for target in chosen):
        trainable = " or ".join(target.name for target in TARGETS.values() if target.trains)
        raise OptionError(
            f"{with_article(chosen[0].title)} cannot be trained; use {trainable}, or omit "
            "trainable and optimizer"
        )
    return tuple(target for target in chosen if target.trains or not training)


def target_at(out: Path) -> Target | None:
    """The target that is written to files with the suffix of a path; None for a directory."""
    return next((t for t in TARGETS.values() if t.suffix and t.suffix == out.suffix), None)


def written_as(out: Path) -> Target:
    """The target that wrote an output: by its suffix, or else the first that writes directories."""
    directories = (target for target in TARGETS.values() if not target.suffix)
    return target_at(out) or next(directories)


def _check_suffix(target: Target, out: Path) -> None:
    """Raise `OptionError` if a target is not written to such a path."""
    if target.suffix and out.suffix != target.suffix:
        raise OptionError(
            f"{out}: {with_article(target.title)} must be written to a file that ends in "
            f"{target.suffix}"
        )
    if out.suffix in target.not_suffixes:
        reason = target.not_suffixes[out.suffix]
        raise OptionError(f"{out}: {reason}; pass a directory, such as {target.example}")


def check_free(
    targets: Sequence[Target], out: Path, *, force: bool, sources: Iterable[Path] = ()
) -> None:
    """Check, before anything is computed, that the output may be written.

    Raises:
        OptionError: the output is a URL, or a file of another format.
        OutputExistsError: the output exists and is not replaced.
        MissingPackageError: a target needs packages that are not installed.
    """
    output.check_kind(out, ", or ".join(dict.fromkeys(map(_example, TARGETS.values()))))
    for target in targets:
        target.check_installed()
    if files := targets[0].files(out):
        output.check_files_free(files, force=force, sources=sources)
    else:
        output.check_free(out, force=force, sources=sources)


def _example(target: Target) -> str:
    """The output of a target in words, such as "an ONNX model to a file such as model.onnx"."""
    place = "file" if target.suffix else "directory"
    return f"{with_article(target.family)} model to a {place} such as {target.example}"


def options_of(targets: Iterable[Target], **options: Any) -> dict[str, Options]:
    """The options of each target, from the options that a user specified.

    Args:
        targets: the possible targets.
        **options: options by name. None means the default.

    Raises:
        OptionError: none of the targets has one of the options, or a value is not valid.
    """
    targets = tuple(targets)
    options = {name: value for name, value in options.items() if value is not None}
    for name, value in options.items():
        supported = any(name in _option_names(target) for target in targets)
        if not supported and value != _default(name):
            owners = [
                f"{target.title}s" for target in TARGETS.values() if name in _option_names(target)
            ]
            raise OptionError(
                f"{name} is an option of {' and '.join(owners)} only; "
                "omit it, or choose another target",
                name,
            )
    return {target.name: _options_for(target, options) for target in targets}


def _option_names(target: Target) -> set[str]:
    """The names of the options of a target."""
    return {field.name for field in fields(target.options)}


def _options_for(target: Target, options: Mapping[str, Any]) -> Options:
    """The options of a target, with these values if it has them."""
    names = _option_names(target)
    return target.options(**{name: value for name, value in options.items() if name in names})


def _default(name: str) -> Any:
    """The default of an option."""
    for target in TARGETS.values():
        for field in fields(target.options):
            if field.name == name and field.default is not MISSING:
                return field.default
    raise OptionError(f"there is no option {name!r}", name)


def written(
    plan: Plan, out: Path, options: Options, *, force: bool = False, progress: Callable[[int], None]
) -> Output:
    """Write a plan to the output, which is complete or absent afterwards.

    Raises:
        OutputExistsError: the output exists and is not replaced, or another process was faster.
    """
    return plan.target.write(plan, out, options, force, progress)


def planned(source: Source, to: str | Sequence[Target] = AUTO, **options: Any) -> Plan:
    """Plan the conversion of a source to the first possible target that supports all of it.

    Args:
        source: a Keras model or a program.
        to: a name as in `candidates`, or the possible targets.
        **options: options of the targets.

    Raises:
        OptionError: there is no such target, or an option is not valid.
    """
    targets = candidates(to) if isinstance(to, str) else to
    if isinstance(source, Program):
        targets = [target for target in targets if not target.takes_layers]
        if not targets:
            others = [target.name for target in TARGETS.values() if not target.takes_layers]
            raise OptionError(
                "only a Keras model with layers can become a layers-model; use "
                f"{' or '.join(others)}"
            )
    chosen = options_of(targets, **options)
    plans: list[Plan] = []
    for target in targets:
        plan = plan_with(source, target, chosen[target.name])
        if not plan.problems:
            return _explained(plan, plans)
        plans.append(plan)
    return _best(plans)


def plan_with(source: Source, target: Target, options: Options) -> Plan:
    """The plan of one target, with a problem if the output would be too large."""
    with limited(options.max_size) as budget:
        plan = target.plan(_as_taken(source, target), options)
        if plan.problems:
            return plan
        try:
            budget.check_output(plan.nbytes)
        except TooLargeError as error:
            class_name = source.class_name if isinstance(source, KerasModel) else ""
            problem = Problem(source.name, class_name, error.reason, remedy=error.remedy)
            return replace(plan, problems=(problem,))
    return plan


def _as_taken(source: Source, target: Target) -> Source:
    """The source in the form that the target expects."""
    if target.takes_layers or isinstance(source, Program):
        return source
    from kerasport.frontends.keras.program import program_of  # noqa: PLC0415  (imports the lowering)

    return program_of(source)


def _explained(plan: Plan, tried: Sequence[Plan]) -> Plan:
    """The plan with a note on the target that was tried before and does not support the model."""
    if not tried:
        return plan
    before = tried[0]
    first, *others = before.problems
    more = f", and {len(others)} more part(s)" if others else ""
    # some reasons end with the advice to ask for the target that was chosen
    why = replace(first, reason=first.reason.partition("; use --to ")[0], remedy="")
    note = (
        f"written as a {_kind(plan)}, because a {_kind(before)} does not support all of it "
        f"({why}{more})"
    )
    return replace(plan, notes=(note, *plan.notes))


def _best(plans: Sequence[Plan]) -> Plan:
    """The plan with the fewest problems, and a note on the next best one."""
    best, *others = sorted(plans, key=lambda plan: len(plan.problems))
    if not others:
        return best
    note = (
        f"as a {_kind(others[0])}, {len(others[0].problems)} part(s) of the model would be refused"
    )
    return replace(best, notes=(*best.notes, note))


def _kind(plan: Plan) -> str:
    """The format within its family, such as "graph-model"."""
    return plan.target.title.rpartition(" ")[2]

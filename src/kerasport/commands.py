"""Render the help of commands and usage errors in the style of the reports.

The help shows options in aligned groups and one example per line. It draws no boxes, so every
encoding can print it. With `--json` a usage error is also a JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kerasport.report import Snippet
from kerasport.report.view import Fact, Facts, Prose, View

USAGE = 2
UsageError: Any = typer.BadParameter.__base__  # of the click that typer bundles, or of click itself
ARGUMENTS, INPUT, OUTPUT, TFJS, ONNX = "Arguments", "Input", "Output", "TF.js", "ONNX"
QUANTIZATION, TRAINING, COMPARISON, OTHER = "Quantization", "Training", "Comparison", "Report"
TENSORFLOW = "TensorFlow graphs"
GROUPS = (
    ARGUMENTS, INPUT, TENSORFLOW, OUTPUT, COMPARISON, TFJS, ONNX, QUANTIZATION, TRAINING, OTHER,
)  # fmt: skip
"""Groups of options, in the order of the help. Options without a group are in the last one."""


class Command(TyperCommand):
    """A command with grouped options and examples, which are the lines of its epilog."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(_rendered(_command_view(self, ctx)))


class Group(TyperGroup):
    """The program itself."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(_rendered(_group_view(self, ctx)))

    def main(
        self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run a command. Usage errors are printed and exit with code 2."""
        words = sys.argv[1:] if args is None else list(args)
        try:
            code = super().main(args=args, standalone_mode=False, **extra)
        except UsageError as error:
            report_usage(error, as_json="--json" in words)
            code = USAGE
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code


def report_usage(error: Any, *, as_json: bool) -> None:
    """Print a usage error on stderr, and as JSON on stdout if `as_json`."""
    message = str(error.format_message())
    context = error.ctx
    usage = " ".join(("Usage:", *_usage(context))) if context else ""
    more = f"Run '{context.command_path} --help' for the options." if context else ""
    typer.echo("\n".join(filter(None, (f"kerasport: {message}", usage, more))), err=True)
    if as_json:
        document: dict[str, Any] = {
            "error": "UsageError",
            "message": message,
            "usage": usage,
            "problems": [],
        }
        typer.echo(json.dumps(document, indent=2))


def _rendered(view: View) -> str:
    from kerasport.report.terminal import rendered  # noqa: PLC0415  (rich takes a while to import)

    return rendered(view, sys.stdout)


def _command_view(command: Any, ctx: Any) -> View:
    groups: dict[str, list[Fact]] = {}
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            argument = param.param_type_name == "argument"
            panel = ARGUMENTS if argument else getattr(param, "rich_help_panel", None) or OTHER
            groups.setdefault(panel, []).append(_fact(param, argument=argument))
    groups = {title: groups[title] for title in sorted(groups, key=GROUPS.index)}
    width = max(len(fact.label) for facts in groups.values() for fact in facts)
    examples = "\n".join((command.epilog or "").strip().splitlines())
    return (
        Prose(" ".join((command.help or "").split())),
        Snippet("Usage", "", " ".join(_usage(ctx))),
        *([Snippet("Examples", "", examples)] if examples else []),
        *(Facts(tuple(facts), title, width, typed=True) for title, facts in groups.items()),
    )


def _usage(ctx: Any) -> Iterator[str]:
    yield ctx.command_path
    if isinstance(ctx.command, Group):
        yield "COMMAND [ARGUMENTS]"
    for param in ctx.command.get_params(ctx):
        if param.param_type_name == "argument":
            yield param.metavar if param.required else f"[{param.metavar}]"
    yield "[OPTIONS]"


def _fact(param: Any, *, argument: bool) -> Fact:
    """A parameter with its help and its default."""
    text = " ".join((getattr(param, "help", None) or "").split())
    if argument:
        return Fact(param.metavar, text)
    names = sorted(param.opts, key=lambda name: name.startswith("--"))
    if param.secondary_opts:  # --x and --no-x
        names = [f"--[no-]{names[0].removeprefix('--')}"]
    # align the long names: indent those without a short name
    shown = ", ".join(names) if len(names[0]) == 2 else f"    {', '.join(names)}"
    default = param.default
    default = default.value if isinstance(default, Enum) else default
    shows_default = (
        getattr(param, "show_default", False)
        and isinstance(default, str | int)
        and not param.is_flag
    )
    shown_default = f" [default: {default}]" if shows_default else ""
    return Fact(f"{shown} {param.metavar or ''}".rstrip(), text + shown_default)


def _group_view(group: Any, ctx: Any) -> View:
    commands = tuple(
        Fact(name, _first(group.get_command(ctx, name))) for name in group.list_commands(ctx)
    )
    options = [_fact(param, argument=False) for param in group.get_params(ctx)]
    width = max(len(fact.label) for fact in (*commands, *options))
    return (
        Prose(group.help or ""),
        Snippet("Usage", "", " ".join(_usage(ctx))),
        Facts(commands, "Commands", width, typed=True),
        Facts(tuple(options), "Options", width, typed=True),
        Prose(group.epilog or ""),
    )


def _first(command: Any) -> str:
    """The first paragraph of a command's help."""
    return " ".join((command.help or "").partition("\n\n")[0].split())

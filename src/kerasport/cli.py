"""Commands in, exit codes out; no logic.

Exit codes: 0 done; 1 the model has parts without an exact translation, the numbers differ, or doctor found something
that does not work; 2 wrong usage; 3 a file cannot be read, the output is there already, or a program cannot be run;
4 a bug in kerasport.
"""

from __future__ import annotations

import gc
import io
import json
import re
import signal
import sys
import traceback as tracebacks
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasport.errors import InternalError, KerasportError, OptionError, UnsupportedModel, legible, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = 1
UNUSABLE = 3
BUG = 4

app = typer.Typer(
    name="kerasport",
    help="Take Keras models to the browser, exactly.",
    epilog="Exit codes: 0 done; 1 refused, or the numbers differ; 2 wrong usage; 3 a file or program is unusable; "
    "4 a bug in kerasport.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Source = Annotated[
    Path,
    typer.Argument(metavar="SRC", help="The Keras model: .keras, .h5, or an architecture JSON.", show_default=False),
]
Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="The directory of the TF.js model, or an ONNX file, model.onnx.", show_default=False
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        help="The weights of an architecture JSON: .weights.h5, .weights.json or .h5.",
        show_default=False,
    ),
]


class Target(str, Enum):
    """What to write."""

    auto = "auto"
    layers = "tfjs-layers"
    graph = "tfjs-graph"
    onnx = "onnx"


To = Annotated[
    Target,
    typer.Option(
        "--to",
        help="A layers-model, a graph-model, an ONNX model, or (auto) what the suffix of OUT says, else a layers-model "
        "where every layer has one.",
    ),
]
Opset = Annotated[int, typer.Option(min=17, max=22, help="Version of the operators of an ONNX model.")]
UnrollLimit = Annotated[
    int, typer.Option(min=0, help="Time steps up to which a graph-model needs no loop, and runs with predict().")
]
Companion = Annotated[
    bool,
    typer.Option(
        "--companion/--no-companion",
        help="Let a layers-model need kerasport-layers.js, a script beside it that the page loads first.",
    ),
]
Trainable = Annotated[
    bool,
    typer.Option("--trainable", help="Refuse what is exact at inference but would not train in TF.js as in Keras."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace a model that OUT holds already.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Print the Python traceback of an error, to report a bug in kerasport.")
]
ShardSize = Annotated[
    str,
    typer.Option("--shard-size", help="Size of a shard, such as 4MiB, 512KiB or a number of bytes; at least 16KiB."),
]
MaxSize = Annotated[
    str | None,
    typer.Option(
        "--max-size",
        help="Size that the converted model may have, such as 2GiB; otherwise 16 times that of SRC, at least 256MiB. "
        "A small file can ask for terabytes, so raise it for files that you trust.",
        show_default=False,
    ),
]
Inputs = Annotated[
    Path | None, typer.Option("--inputs", help="An .npz of inputs; random ones otherwise.", show_default=False)
]
Expected = Annotated[
    Path | None,
    typer.Option(
        "--expected", help="An .npz of the outputs for them, where Keras is not installed.", show_default=False
    ),
]
Backend = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        help="cpu or wasm, both otherwise; of an ONNX model onnxruntime or onnxruntime-web, the first otherwise.",
        show_default=False,
    ),
]
HELD = "a quantised model is held to none, unless one is given."
Rtol = Annotated[
    float | None, typer.Option(help=f"Relative difference that is allowed, else 1e-4; {HELD}", show_default=False)
]
Atol = Annotated[
    float | None,
    typer.Option(
        help=f"Absolute difference that is allowed, else 1e-5, or less where all outputs are below 1; {HELD}",
        show_default=False,
    ),
]
Quantize = Annotated[
    list[str] | None,
    typer.Option(
        "--quantize",
        "-q",
        metavar="KIND[=PATTERN,…]",
        help="Round weights to float16, uint16 or uint8, of ONNX models to float16 or int8: all where it does little "
        "harm, or those of such names.",
        show_default=False,
    ),
]

HalfCompute = Annotated[
    bool,
    typer.Option(
        "--half-compute", help="Of an ONNX model with --quantize float16: compute in float16, too, where it gains."
    ),
]

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


@app.callback(invoke_without_command=True)
def version(
    *, show: Annotated[bool, typer.Option("--version", "-V", help="Print the version.", is_eager=True)] = False
) -> None:
    """Take Keras models to the browser, exactly."""
    if show:
        from kerasport import __version__  # noqa: PLC0415

        typer.echo(f"kerasport {__version__}")
        raise typer.Exit


@app.command(
    epilog="Examples: `kerasport convert model.keras web_model` · "
    "`kerasport convert model.json web_model --weights model.weights.h5` · "
    "`kerasport convert old.h5 web_model --verify` · `kerasport convert model.keras web_model --quantize uint8` · "
    "`kerasport convert model.keras model.onnx` · "
    "`kerasport convert model.keras model.onnx --quantize float16 --half-compute`"
)
def convert(
    source: Source,
    out: Out,
    *,
    to: To = Target.auto,
    weights: Weights = None,
    shard_size: ShardSize = "4MiB",
    unroll_limit: UnrollLimit = 64,
    companion: Companion = True,
    optimizer: Annotated[
        bool, typer.Option("--optimizer", help="Take the optimizer's state along, to go on with training in TF.js.")
    ] = False,
    trainable: Trainable = False,
    opset: Opset = 20,
    quantize: Quantize = None,
    half_compute: HalfCompute = False,
    max_size: MaxSize = None,
    force: Force = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run the result and compare its numbers with those of Keras.")
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Convert a Keras model to a TF.js or ONNX model."""
    from kerasport import api  # noqa: PLC0415

    size = _bytes(shard_size)
    most = _bytes(max_size, "--max-size") if max_size else None

    def work(tell: Callable[[int, int], None]) -> Any:
        options: dict[str, Any] = {"shard_size": size, "unroll_limit": unroll_limit, "companion": companion}
        options |= {"optimizer": optimizer, "trainable": trainable}
        options |= {"opset": opset, "half_compute": half_compute, "max_size": most}
        options |= {"quantize": quantize} if quantize else {}
        return api.convert(source, out, to=to.value, weights=weights, force=force, progress=tell, **options)

    done = _run(lambda: _with_progress(work), as_json=as_json, traceback=traceback, stopped=UNWRITTEN)
    if not as_json:
        _tell(str(done))
    checked = (
        _run(lambda: api.verify(source, out, weights=weights), as_json=as_json, traceback=traceback) if verify else None
    )
    if as_json:
        _tell(done.to_dict() | ({"verification": checked.to_dict()} if checked else {}))
    elif checked:
        _tell(str(checked))
    if checked and not checked.ok:
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: `kerasport check model.keras` · `kerasport check model.keras --json`")
def check(
    source: Source,
    *,
    to: To = Target.auto,
    weights: Weights = None,
    companion: Companion = True,
    trainable: Trainable = False,
    max_size: MaxSize = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Tell what becomes of each layer, and why; exit code 1 where something is refused."""
    from kerasport import api  # noqa: PLC0415

    options: dict[str, Any] = {"weights": weights, "companion": companion, "trainable": trainable}
    options |= {"max_size": _bytes(max_size, "--max-size") if max_size else None}
    result = _run(lambda: api.check(source, to=to.value, **options), as_json=as_json, traceback=traceback)
    _tell(result.to_dict() if as_json else str(result))
    if not result.convertible:
        raise typer.Exit(REFUSED)


@app.command(epilog="Examples: `kerasport repair web_model/model.json` · `kerasport repair web_model right_model`")
def repair(
    source: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="The model.json, or the directory that holds it.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="The directory of the right model, a copy where nothing is wrong; without it, model.json is "
            "rewritten, and kept as model.json.bak.",
            show_default=False,
        ),
    ] = None,
    *,
    companion: Companion = True,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the model in OUT, or the backup.")] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Make a model.json right that tensorflowjs_converter made of a Keras 3 model, and that TF.js does not load."""
    from kerasport import api  # noqa: PLC0415

    result = _run(
        lambda: api.repair(source, out, companion=companion, force=force),
        as_json=as_json,
        traceback=traceback,
        stopped=UNWRITTEN,
    )
    _tell(result.to_dict() if as_json else str(result))


@app.command(
    epilog="Examples: `kerasport verify model.keras web_model` · "
    "`kerasport verify model.keras web_model --inputs in.npz --expected out.npz`"
)
def verify(
    source: Source,
    out: Out,
    *,
    weights: Weights = None,
    inputs: Inputs = None,
    expected: Expected = None,
    backend: Backend = None,
    rtol: Rtol = None,
    atol: Atol = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds within which Keras, and Node on each backend, have to answer.")
    ] = 3600,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Run the converted model and compare its numbers with those of Keras; exit code 1 where they differ."""
    from kerasport import api  # noqa: PLC0415

    there = {"onnxruntime", "onnxruntime-web"} if out.suffix == ".onnx" else {"cpu", "wasm"}
    if unknown := set(backend or ()) - there:
        raise typer.BadParameter(f"no such backend: {', '.join(sorted(unknown))}", param_hint="--backend")

    def work() -> Any:
        given: dict[str, Any] = {"weights": weights, "inputs": inputs, "expected": expected, "timeout": timeout}
        return api.verify(source, out, **given, backends=tuple(backend) if backend else None, rtol=rtol, atol=atol)

    result = _run(work, as_json=as_json, traceback=traceback)
    _tell(result.to_dict() if as_json else str(result))
    if not result.ok:
        raise typer.Exit(REFUSED)


@app.command(
    epilog="Examples: `kerasport doctor` · `kerasport doctor model.keras` · "
    "`kerasport doctor --python ~/old-project/.venv/bin/python`"
)
def doctor(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="SRC", help="A Keras file, or the model.json of TF.js.", show_default=False),
    ] = None,
    *,
    weights: Weights = None,
    python: Annotated[
        str | None, typer.Option("--python", help="The Python to look at; otherwise kerasport's.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which an import counts as hung.")] = 60,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Tell what is installed and whether it works, and with SRC, which ways into the browser are open for it.

    Exit code 1 where kerasport has no way for SRC; without SRC, where something that is installed does not work.
    """
    from kerasport import api  # noqa: PLC0415

    result = _run(
        lambda: api.doctor(source, weights=weights, python=python, timeout=timeout),
        as_json=as_json,
        traceback=traceback,
    )
    _tell(result.to_dict() if as_json else str(result))
    if not result.ok:
        raise typer.Exit(REFUSED)


def _bytes(text: str, option: str = "--shard-size") -> int:
    match = re.fullmatch(r"(\d+)\s*([KMG]?I?B)?", text.strip().upper())
    size = int(match[1]) * UNITS[match[2] or ""] if match else 0
    if size < 1:
        raise typer.BadParameter(f"{text!r} is no size; write 4MiB, 512KiB or a number of bytes", param_hint=option)
    return size


def _tell(report: str | dict[str, Any]) -> None:
    """Print a report, or as JSON what it holds."""
    _run(lambda: typer.echo(report if isinstance(report, str) else json.dumps(report, indent=2)))


def _run(work: Callable[[], Any], *, as_json: bool = False, traceback: bool = False, stopped: str = "") -> Any:
    """Do the work; an error or a signal becomes a message and an exit code, `stopped` is added to the latter's."""
    try:
        with unexpected():
            return work()
    except BrokenPipeError:  # nobody reads on, as behind `| head`; typer ends the program
        raise
    except OptionError as error:
        hint = f"--{error.option.replace('_', '-')}" if error.option else None
        raise typer.BadParameter(str(error), param_hint=hint) from None
    except (KerasportError, OSError) as error:
        _report(error, as_json=as_json, traceback=traceback)
        raise typer.Exit(_exit_code(error)) from None
    except KeyboardInterrupt as interrupt:
        typer.echo(f"kerasport: stopped{stopped}", err=True)
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        raise typer.Exit(128 + number) from None


UNWRITTEN = "; nothing was written"
ENDING = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that end a program; each system has some of them."""


def _end_tidily() -> None:
    """Let signals that end the program clean up as an interrupt does."""

    def interrupt(number: int, _: object) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)  # cleaning up is not to be interrupted by the next one
        raise KeyboardInterrupt(number)

    there = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    # what nohup or a caller chose to ignore stays ignored
    heard = [each for each in there if signal.getsignal(each) == signal.SIG_DFL]
    for each in heard:
        signal.signal(each, interrupt)


def _report(error: KerasportError | OSError, *, as_json: bool, traceback: bool) -> None:
    """Print an error, to stdout as JSON as well where that was asked for."""
    message = str(error) if isinstance(error, KerasportError) else legible(str(error))
    if traceback:
        typer.echo(_legible_lines("".join(tracebacks.format_exception(error))), err=True)
    typer.echo(f"kerasport: {message}", err=True)
    if as_json:
        problems = [problem.to_dict() for problem in getattr(error, "problems", ())]
        _tell({"error": type(error).__name__, "message": message, "problems": problems})


def _legible_lines(text: str) -> str:
    """A text of many lines as a terminal may show it."""
    return "\n".join(map(legible, text.split("\n")))


def _exit_code(error: KerasportError | OSError) -> int:
    codes = {UnsupportedModel: REFUSED, InternalError: BUG}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), UNUSABLE)


LONG = 64 * 1024 * 1024  # bytes from which on writing takes long enough to show


def _with_progress(work: Callable[[Callable[[int, int], None]], Any]) -> Any:
    """Do the work, with a progress bar where it is long and somebody looks."""
    if not sys.stderr.isatty():
        return work(lambda _, __: None)
    from rich.console import Console  # noqa: PLC0415  (takes time to import, and most models are small)
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415

    with Progress(
        BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("weights", visible=False)
        return work(lambda done, total: bar.update(task, completed=done, total=total, visible=total > LONG))


def main() -> None:
    """Entry point of the `kerasport` command."""
    gc.set_threshold(100_000)  # next to no cycles are made here; looking for them takes a tenth of a short run
    _end_tidily()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal has every letter
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:  # noqa: BLE001  (of what no command handles, such as a broken installation)
        bug = InternalError.of(error)
        bug.__cause__ = error
        _report(bug, as_json="--json" in sys.argv, traceback="--traceback" in sys.argv)
        sys.exit(BUG)

"""The commands: parse arguments, call the API, print the result, set the exit code.

Exit codes: 0 done; 1 parts of the model are not supported, the numbers differ, or doctor found a
package that does not work; 2 wrong usage; 3 a file cannot be read, the output already exists, or a
program cannot be run; 4 a bug in kerasport.
"""

from __future__ import annotations

import gc
import io
import json
import re
import signal
import sys
import traceback as tracebacks
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasport.commands import (
    COMPARISON,
    INPUT,
    ONNX,
    OUTPUT,
    QUANTIZATION,
    TENSORFLOW,
    TFJS,
    TRAINING,
    Command,
    Group,
)
from kerasport.errors import (
    InternalError,
    KerasportError,
    OptionError,
    UnsupportedModel,
    legible,
    unexpected,
)
from kerasport.report import Viewed, refusal_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Status: TypeAlias = Callable[[str], None] | None

    from kerasport.report.view import View

REFUSED = 1
UNUSABLE = 3
BUG = 4

app = typer.Typer(
    name="kerasport",
    cls=Group,
    help="Convert Keras models for the browser, with exactly the same numbers.",
    epilog="Exit codes: 0 done; 1 not supported, or the numbers differ; 2 wrong usage; 3 a file or "
    "program cannot be used; 4 a bug in kerasport.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SRC",
        help="Keras model: .keras, .h5, or an architecture JSON. Or a TensorFlow model: a "
        "SavedModel, a frozen graph .pb, or a TF.js graph-model.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="Directory of the TF.js model, or the ONNX file.", show_default=False
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", "-w",
        metavar="FILE",
        help="Weights for an architecture JSON: .weights.h5, .weights.json or .h5.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]  # fmt: skip
Signature = Annotated[
    str | None,
    typer.Option(
        "--signature",
        metavar="KEY",
        help="Signature of a SavedModel. The default is serving_default, or the only one.",
        show_default=False,
        rich_help_panel=TENSORFLOW,
    ),
]
Tags = Annotated[
    str | None,
    typer.Option(
        "--tags",
        metavar="TAG,...",
        help="Tags of the graph in a SavedModel. The default is serve.",
        show_default=False,
        rich_help_panel=TENSORFLOW,
    ),
]
Outputs = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAME,...",
        help="Outputs of a frozen graph, such as logits or split:1. The default is the nodes that "
        "no other node reads.",
        show_default=False,
        rich_help_panel=TENSORFLOW,
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="tfjs-layers: a layers-model, which a page can train further. tfjs-graph: a "
        "graph-model, which supports more layers, and is faster if the model has "
        "convolutions. onnx: an ONNX file. auto: ONNX if OUT ends in .onnx, otherwise a "
        "layers-model if every layer has one, otherwise a graph-model.",
        rich_help_panel=OUTPUT,
    ),
]
Opset = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=17,
        max=22,
        help="Version of the ONNX operators, 17 to 22.",
        rich_help_panel=ONNX,
    ),
]
UnrollLimit = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        help="Recurrent layers of a graph-model with up to N time steps are unrolled, so predict() "
        "runs them; longer ones are loops, which need executeAsync().",
        rich_help_panel=TFJS,
    ),
]
Companion = Annotated[
    bool,
    typer.Option(
        "--companion/--no-companion",
        help="Whether a layers-model may use kerasport-layers.js, a script for the layers that "
        "TF.js lacks. It is written next to model.json.",
        rich_help_panel=TFJS,
    ),
]
Trainable = Annotated[
    bool,
    typer.Option(
        "--trainable",
        help="Refuse layers that are exact at inference but would train differently in TF.js.",
        rich_help_panel=TRAINING,
    ),
]
Optimizer = Annotated[
    bool,
    typer.Option(
        "--optimizer",
        help="Include the state of the optimizer, to continue the training in TF.js.",
        rich_help_panel=TRAINING,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", "-f", help="Replace the model that is already in OUT.", rich_help_panel=OUTPUT
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of text, also for errors.")
]
Traceback = Annotated[
    bool,
    typer.Option("--traceback", help="Print the Python traceback of an error, to report a bug."),
]
ShardSize = Annotated[
    str,
    typer.Option(
        "--shard-size",
        metavar="SIZE",
        help="Size of a file of weights, such as 4MiB, 512KiB or a number of bytes; at least "
        "16KiB.",
        rich_help_panel=TFJS,
    ),
]
MaxSize = Annotated[
    str | None,
    typer.Option(
        "--max-size",
        metavar="SIZE",
        help="Largest converted model to write, such as 2GiB. The default is 16 times the size of "
        "SRC, and at least 256MiB. Raise it only for files you trust: a small file can need "
        "terabytes.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Inputs = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="An .npz of inputs. The default is random inputs.",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
Expected = Annotated[
    Path | None,
    typer.Option(
        "--expected",
        metavar="FILE",
        help="An .npz of the outputs that Keras computes for these inputs. With it, Keras need not "
        "be installed.",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
Backend = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="cpu or wasm for TF.js (default: both); onnxruntime or onnxruntime-web for ONNX "
        "(default: onnxruntime). Can be repeated.",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
Rtol = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Allowed relative difference (default: 1e-4; no limit for a quantized model).",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
Atol = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Allowed absolute difference (default: 1e-5, less if all outputs are below 1; no "
        "limit for a quantized model).",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
OtherPython = Annotated[
    str | None,
    typer.Option(
        "--python",
        metavar="PATH",
        help="Python of another environment, which runs the original model in its Keras.",
        show_default=False,
        rich_help_panel=COMPARISON,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1,
        help="Time limit for Keras, and for each backend.",
        rich_help_panel=COMPARISON,
    ),
]
Quantize = Annotated[
    list[str] | None,
    typer.Option(
        "--quantize", "-q",
        metavar="KIND",
        help="Round weights to float16, uint16 or uint8 (TF.js), or to float16 or int8 (ONNX). "
        "KIND=PATTERN,... rounds only the weights with such names. Can be repeated.",
        show_default=False,
        rich_help_panel=QUANTIZATION,
    ),
]  # fmt: skip
HalfCompute = Annotated[
    bool,
    typer.Option(
        "--half-compute",
        help="With --quantize float16, an ONNX model also computes in float16 where that is "
        "faster.",
        rich_help_panel=QUANTIZATION,
    ),
]

UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}


@app.callback(invoke_without_command=True)
def version(
    ctx: typer.Context,
    *,
    show: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Convert Keras models for the browser, with exactly the same numbers."""
    if show:
        from kerasport import __version__  # noqa: PLC0415  (rarely needed)

        typer.echo(f"kerasport {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), nl=False)


@app.command(
    cls=Command,
    epilog="""kerasport convert model.keras
kerasport convert model.keras web_model --to tfjs-graph
kerasport convert old.h5 web_model --verify
kerasport convert model.json web_model --weights model.weights.h5
kerasport convert model.keras web_model --quantize uint8
kerasport convert model.keras model.onnx
kerasport convert model.keras model.onnx --quantize float16 --half-compute
kerasport convert saved_model web_model
kerasport convert saved_model model.onnx --signature serving_default""",
)
def convert(
    source: Source,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="Directory of the TF.js model, or an ONNX file such as model.onnx. The default "
            "for model.keras is model_web next to it; with --to onnx, model.onnx.",
            show_default=False,
        ),
    ] = None,
    *,
    to: To = "auto",
    weights: Weights = None,
    signature: Signature = None,
    tags: Tags = None,
    outputs: Outputs = None,
    shard_size: ShardSize = "4MiB",
    unroll_limit: UnrollLimit = 64,
    companion: Companion = True,
    optimizer: Optimizer = False,
    trainable: Trainable = False,
    opset: Opset = 20,
    quantize: Quantize = None,
    half_compute: HalfCompute = False,
    max_size: MaxSize = None,
    force: Force = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Run the result and compare its numbers with those of Keras.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Convert a Keras or TensorFlow model to a TF.js or ONNX model."""
    from kerasport import api  # noqa: PLC0415  (loads numpy and h5py)

    size = _bytes(shard_size)
    most = _bytes(max_size, "--max-size") if max_size else None

    def work(tell: Callable[[int, int], None]) -> Any:
        return api.convert(
            source,
            out,
            to=to,
            weights=weights,
            signature=signature,
            tags=_names(tags),
            outputs=_names(outputs),
            shard_size=size,
            unroll_limit=unroll_limit,
            companion=companion,
            optimizer=optimizer,
            trainable=trainable,
            opset=opset,
            quantize=quantize or (),
            half_compute=half_compute,
            max_size=most,
            force=force,
            progress=tell,
        )

    done = _run(
        lambda: _with_progress(work), as_json=as_json, traceback=traceback, stopped=UNWRITTEN
    )
    if not as_json:
        _tell(done)

    def compare(status: Status) -> Any:
        return api.verify(source, done.out, weights=weights, status=status)

    checked = None
    if verify:
        checked = _run(lambda: _with_spinner(compare), as_json=as_json, traceback=traceback)
    if as_json:
        document = done.to_dict() | ({"verification": checked.to_dict()} if checked else {})
        _print(json.dumps(document, indent=2))
    elif checked:
        _print("")
        _tell(checked)
    if checked and not checked.ok:
        raise typer.Exit(REFUSED)


@app.command(
    cls=Command,
    epilog="""kerasport check model.keras
kerasport check model.keras --all
kerasport check model.keras --to tfjs-layers
kerasport check model.keras --json""",
)
def check(
    source: Source,
    *,
    to: To = "auto",
    weights: Weights = None,
    signature: Signature = None,
    tags: Tags = None,
    outputs: Outputs = None,
    companion: Companion = True,
    trainable: Trainable = False,
    max_size: MaxSize = None,
    every: Annotated[
        bool, typer.Option("--all", help="List all layers, also those that do not change.")
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Show whether a model can be converted, and what becomes of its layers. Writes nothing.

    The exit code is 1 if a part of the model is not supported.
    """
    from kerasport import api  # noqa: PLC0415  (loads numpy and h5py)

    options: dict[str, Any] = {"weights": weights, "companion": companion, "trainable": trainable}
    options |= {"signature": signature, "tags": _names(tags), "outputs": _names(outputs)}
    options |= {"max_size": _bytes(max_size, "--max-size") if max_size else None}
    result = _run(lambda: api.check(source, to=to, **options), as_json=as_json, traceback=traceback)
    _tell(result, result.view(every=every), as_json=as_json)
    if not result.convertible:
        raise typer.Exit(REFUSED)


@app.command(
    cls=Command,
    epilog="""kerasport repair web_model/model.json
kerasport repair web_model repaired_model""",
)
def repair(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="model.json, or the directory that contains it.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="Directory for the repaired model. Without it, model.json is rewritten in place, "
            "and the original is kept as model.json.bak.",
            show_default=False,
        ),
    ] = None,
    *,
    companion: Companion = True,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Replace the model in OUT, or the backup.", rich_help_panel=OUTPUT
        ),
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Repair a model.json that tensorflowjs_converter wrote for Keras 3 and TF.js does not load."""
    from kerasport import api  # noqa: PLC0415  (loads numpy and h5py)

    result = _run(
        lambda: api.repair(source, out, companion=companion, force=force),
        as_json=as_json,
        traceback=traceback,
        stopped=UNWRITTEN,
    )
    _tell(result, as_json=as_json)


@app.command(
    cls=Command,
    epilog="""kerasport verify model.keras web_model
kerasport verify model.keras model.onnx --backend onnxruntime-web
kerasport verify model.h5 web_model --python ../training/bin/python
kerasport verify model.keras web_model --inputs in.npz --expected out.npz""",
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
    python: OtherPython = None,
    timeout: Timeout = 3600,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Run the converted model, and compare its numbers with those of Keras.

    The exit code is 1 if they differ.
    """
    from kerasport import api  # noqa: PLC0415  (loads numpy and h5py)

    def work(status: Status) -> Any:
        return api.verify(
            source,
            out,
            weights=weights,
            inputs=inputs,
            expected=expected,
            backends=tuple(backend) if backend else None,
            rtol=rtol,
            atol=atol,
            timeout=timeout,
            python=python,
            status=status,
        )

    result = _run(lambda: _with_spinner(work), as_json=as_json, traceback=traceback)
    _tell(result, as_json=as_json)
    if not result.ok:
        raise typer.Exit(REFUSED)


@app.command(
    cls=Command,
    epilog="""kerasport doctor
kerasport doctor model.keras
kerasport doctor --python ~/old-project/.venv/bin/python""",
)
def doctor(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SRC", help="Keras file, or the model.json of TF.js.", show_default=False
        ),
    ] = None,
    *,
    weights: Weights = None,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="FILE",
            help="Python to examine. The default is the one that runs kerasport.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Time limit for each import.", rich_help_panel=INPUT
        ),
    ] = 60,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Show what is installed and whether it works, and how SRC can be converted.

    The exit code is 1 if kerasport cannot convert SRC or, without SRC, if an installed package does
    not work.
    """
    from kerasport import api  # noqa: PLC0415  (loads numpy and h5py)

    result = _run(
        lambda: api.doctor(source, weights=weights, python=python, timeout=timeout),
        as_json=as_json,
        traceback=traceback,
    )
    _tell(result, as_json=as_json)
    if not result.ok:
        raise typer.Exit(REFUSED)


def _bytes(text: str, option: str = "--shard-size") -> int:
    match = re.fullmatch(r"(\d+)\s*([KMG]?I?B)?", text.strip().upper())
    size = int(match[1]) * UNITS[match[2] or ""] if match else 0
    if size < 1:
        raise typer.BadParameter(
            f"{text!r} is not a size; write 4MiB, 512KiB or a number of bytes", param_hint=option
        )
    return size


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names that are separated by commas."""
    return None if text is None else tuple(name for name in text.split(",") if name)


def _tell(report: Any, view: View | None = None, *, as_json: bool = False) -> None:
    """Print a report as text, or all of its data as JSON."""
    if as_json:
        _print(json.dumps(report.to_dict(), indent=2))
    elif isinstance(report, Viewed):
        from kerasport.report.terminal import show  # noqa: PLC0415  (rich takes a while to import)

        _run(lambda: show(report.view() if view is None else view))
    else:
        _print(str(report))


def _print(text: str) -> None:
    _run(lambda: typer.echo(text))


def _run(
    work: Callable[[], Any], *, as_json: bool = False, traceback: bool = False, stopped: str = ""
) -> Any:
    """Do the work; convert an error or a signal to a message and an exit code.

    `stopped` is appended to the message on a signal.
    """
    try:
        with unexpected():
            return work()
    except BrokenPipeError:  # the reader closed the pipe, as after `| head`; typer ends the program
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
    """Clean up on signals that end the program as on an interrupt."""

    def interrupt(number: int, _: object) -> None:
        for other in caught:
            # another signal must not interrupt the cleanup
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    there = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    # signals that nohup or a caller ignores stay ignored
    caught = [other for other in there if signal.getsignal(other) == signal.SIG_DFL]
    for other in caught:
        signal.signal(other, interrupt)


def _report(error: KerasportError | OSError, *, as_json: bool, traceback: bool) -> None:
    """Print an error on stderr, and as JSON on stdout if `as_json`."""
    message = str(error) if isinstance(error, KerasportError) else legible(str(error))
    if traceback:
        typer.echo(_legible_lines("".join(tracebacks.format_exception(error))), err=True)
    if isinstance(error, UnsupportedModel):
        from kerasport.report.terminal import show  # noqa: PLC0415  (rich takes a while to import)

        show(refusal_view(error.problems, error.target), sys.stderr)
    else:
        typer.echo(f"kerasport: {message}", err=True)
    if as_json:
        problems = [problem.to_dict() for problem in getattr(error, "problems", ())]
        document = {"error": type(error).__name__, "message": message, "problems": problems}
        _print(json.dumps(document, indent=2))


def _legible_lines(text: str) -> str:
    """A text of several lines with each line made printable."""
    return "\n".join(map(legible, text.split("\n")))


def _exit_code(error: KerasportError | OSError) -> int:
    codes = {UnsupportedModel: REFUSED, InternalError: BUG}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), UNUSABLE)


LONG = 64 * 1024 * 1024  # bytes; writing more takes long enough to show progress


def _with_progress(work: Callable[[Callable[[int, int], None]], Any]) -> Any:
    """Do the work, with a progress bar on a terminal if it takes long."""
    if not sys.stderr.isatty():
        return work(lambda _, __: None)
    from rich.console import Console  # noqa: PLC0415  (takes time to import, and most models are small)

    # takes time to import, and most models are small
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415

    with Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("weights", visible=False)
        return work(
            lambda done, total: bar.update(task, completed=done, total=total, visible=total > LONG)
        )


def _with_spinner(work: Callable[[Status], Any]) -> Any:
    """Do the work, with a spinner that shows the current step on a terminal."""
    if not sys.stderr.isatty():
        return work(None)
    from rich.console import Console  # noqa: PLC0415  (takes time to import)
    from rich.text import Text  # noqa: PLC0415  (likewise)

    with Console(stderr=True).status("verifying") as spinner:
        # as text: a path may look like markup
        return work(lambda step: spinner.update(Text(legible(step))))


def main() -> None:
    """Entry point of the `kerasport` command."""
    # few reference cycles occur, and looking for them takes a tenth of a short run
    gc.set_threshold(100_000)
    _end_tidily()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # some terminals lack some characters
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:  # noqa: BLE001  (errors outside of commands, such as a broken installation)
        bug = InternalError.of(error)
        bug.__cause__ = error
        _report(bug, as_json="--json" in sys.argv, traceback="--traceback" in sys.argv)
        sys.exit(BUG)

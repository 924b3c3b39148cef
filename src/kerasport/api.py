"""The pipelines of the package: convert, check, repair, verify, doctor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasport.budget import allowed
from kerasport.errors import (
    SHORT,
    OptionError,
    UnsupportedModel,
    VerifyError,
    legible,
    of_file,
    unexpected,
)
from kerasport.frontends.graphdef import is_tensorflow_graph
from kerasport.ir.program import weights_of
from kerasport.releases import NEWEST, release_of
from kerasport.report import Check, Conversion, Repair, command
from kerasport.source import Opened, Source, opened, parts
from kerasport.targets import (
    AUTO,
    REPAIRED,
    TARGETS,
    Plan,
    candidates,
    check_free,
    options_of,
    planned,
    written,
)  # fmt: skip
from kerasport.targets.encoding import nbytes_of
from kerasport.targets.next_steps import after_check, after_conversion, after_repair
from kerasport.targets.notes import not_finite
from kerasport.targets.output import writing
from kerasport.targets.plan import with_notes
from kerasport.targets.rounding import parsed, report
from kerasport.urls import check_local

if TYPE_CHECKING:
    from kerasport.diagnosis import Diagnosis
    from kerasport.verification import Verification

Pathlike = str | os.PathLike[str]

TOPOLOGY = 4096  # bytes of a small model without its weights, for messages about a full disk


def convert(
    source: Source,
    out: Pathlike | None = None,
    *,
    to: str = AUTO,
    weights: Pathlike | None = None,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shard_size: int | None = None,
    unroll_limit: int | None = None,
    companion: bool = True,
    optimizer: bool = False,
    trainable: bool = False,
    opset: int | None = None,
    quantize: str | Iterable[str] = (),
    half_compute: bool = False,
    max_size: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert a Keras or TensorFlow model to a TF.js or ONNX model that computes the same numbers.

    Nothing is written if a part of the model cannot be converted exactly. The source is never
    changed.

    Args:
        source: path of a `.keras` file or folder, of a whole-model `.h5` file, or of an
            architecture JSON (with `weights`); or a built `keras.Model` or `tf_keras.Model`. Or the
            directory of a SavedModel or TF-Hub module, or a frozen graph `.pb`.
        out: folder for `model.json` and the weights (little-endian binary files, "shards"); or an
            ONNX file, whose name ends in `.onnx`. Weights of more than 1 GB go to a second file
            next to the ONNX file. By default `model.keras` becomes the folder `model_web` next to
            it, or `model.onnx` with `to="onnx"`.
        to: format of the output. "auto" is a layers-model if possible, else a graph-model.
            "tfjs-layers" is a layers-model, which a page can train further. "tfjs-graph" is a
            graph-model, which can contain more kinds of layers and often runs faster. "onnx" is an
            ONNX model; so is "auto" if `out` ends in `.onnx`.
        weights: path of the weights file, if `source` is an architecture JSON.
        signature: key of the signature of a SavedModel. The default is "serving_default", or the
            only one.
        tags: tags of the graph in a SavedModel. The default is "serve".
        outputs: names of the outputs of a frozen graph, such as "logits" or "split:1". The default
            is the nodes that no other node reads.
        shard_size: largest size of a weights file in bytes, at least 16 KiB. The default is 4 MiB,
            TF.js's own. A model has at most 10,000 of them.
        unroll_limit: largest number of time steps for which a graph-model computes recurrent
            layers step by step. Longer sequences become a loop, which needs `executeAsync` instead
            of `predict`. The default is 64.
        companion: whether a layers-model may need the script `kerasport-layers.js`, which is then
            written next to it. If False, layers that TF.js lacks are not supported.
        optimizer: whether a compiled layers-model keeps the state of its optimizer, to continue
            training where it stopped. With Adam, this makes the model three times as large.
        trainable: whether to refuse layers that would not train as they do in Keras. Implies a
            layers-model.
        opset: version of the ONNX operators, 17 to 22. The default is 20.
        quantize: "float16", "uint16" or "uint8" rounds the weights of a TF.js model; "float16" or
            "int8" those of an ONNX model. "uint8=PATTERN,PATTERN" rounds the weights whose names
            match a pattern; pass a list for several rules.
        half_compute: whether an ONNX model with float16 weights also computes in float16 where
            that is precise enough. Inputs and outputs stay float32.
        max_size: largest size in bytes of the converted model, and of the arrays in memory that
            are needed to build it. The default is 16 times the size of the source, and at least
            256 MiB: a small file can request terabytes.
        force: whether to replace an existing output.
        progress: a function that is called with the bytes written so far and the total.

    Returns:
        What was written: files, sizes in bytes, shapes and dtypes of the inputs, and the outcome
        for each layer.

    Raises:
        ReadError: the source cannot be read as a Keras model.
        HostileFileError: the source tries to run code, to read other files or to exhaust memory.
        UnsupportedModel: parts of the model cannot be converted exactly; its `problems` lists them.
        OutputExistsError: the output exists, and `force` is False.
        WriteError: the output cannot be written.
        MissingPackageError: an ONNX model needs packages that are not installed.
        OptionError: an argument has an invalid value, or cannot be combined with another. It is
            also a `ValueError`.
        InternalError: kerasport has a bug.

    >>> conversion = kerasport.convert("model.keras", "web_model")  # doctest: +SKIP
    >>> conversion.files  # doctest: +SKIP
    ('model.json', 'group1-shard1of1.bin')
    """
    out = default_out(source, to) if out is None else out
    targets = candidates(to, Path(out), training=trainable or optimizer)
    rules = parsed(quantize)
    options = {
        "quantize": rules,
        "shard_size": shard_size,
        "unroll_limit": unroll_limit,
        "companion": companion,
        "optimizer": optimizer,
        "trainable": trainable,
        "opset": opset,
        "half_compute": half_compute,
    }
    options_of(targets, **options)  # before the source is read
    files_read = _files_of(source, weights)
    with writing(out):
        check_free(targets, Path(out), force=force, sources=files_read)
    found = opened(source, weights, signature=signature, tags=tags, outputs=outputs)
    with found as model, unexpected() as passing:
        tell = passing(progress or (lambda *_: None))
        options["max_size"] = _limit(max_size, files_read, model)
        plan = planned(model, targets, **options)
        target = plan.target
        if plan.problems:
            raise UnsupportedModel(plan.problems, target.title)
        chosen = options_of(targets, **options)[target.name]
        plan = target.rounded(plan, chosen) if rules else plan
        plan = with_notes(
            plan, not_finite(plan.parts, target.not_finite), target.notes(plan, chosen)
        )
        total, done = plan.nbytes, 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            tell(done, total)

        with writing(out, total + TOPOLOGY):
            output = written(plan, Path(out), chosen, force=force, progress=count)
        return Conversion(
            source=_name(source),
            out=str(out),
            target=target.name,
            format=target.title,
            writer=plan.writer,
            layers=plan.layers,
            renamed=plan.renamed,
            notes=(*_newer(plan.writer, source, out, weights), *plan.notes),
            files=output.files,
            weights=sum(weight.size for weight in plan.weights.values()),
            nbytes=output.nbytes,
            rounded=report(plan, output.errors) if rules else (),
            choice=plan.choice,
            code=target.load(plan, Path(out), plan.fed_dtypes(), output.files),
            steps=after_conversion(plan, _verify_command(source, out, weights), Path(out)),
            **_ports(plan),
        )


def check(
    source: Source,
    *,
    to: str = AUTO,
    weights: Pathlike | None = None,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    companion: bool = True,
    trainable: bool = False,
    max_size: int | None = None,
) -> Check:
    """Report what would become of each layer and what cannot be converted. Writes nothing.

    Args:
        source: the model, as for `convert`.
        to: format of the output, as for `convert`.
        weights: path of the weights file, if `source` is an architecture JSON.
        signature: key of the signature of a SavedModel, as for `convert`.
        tags: tags of the graph in a SavedModel, as for `convert`.
        outputs: names of the outputs of a frozen graph, as for `convert`.
        companion: whether a layers-model may need `kerasport-layers.js`, as for `convert`.
        trainable: whether to refuse layers that would not train as they do in Keras, as for
            `convert`.
        max_size: largest size in bytes of the converted model, as for `convert`.

    Returns:
        The outcome for each layer, and the problems. A model with problems is no error here.

    Raises:
        ReadError: the source cannot be read as a Keras model.
        HostileFileError: the source tries to run code, to read other files or to exhaust memory.
        MissingPackageError: an ONNX model needs packages that are not installed.
        OptionError: an argument has an invalid value, or cannot be combined with another.
        InternalError: kerasport has a bug.
    """
    targets = candidates(to, training=trainable)
    options = {"companion": companion, "trainable": trainable}
    files_read = _files_of(source, weights)
    found = opened(source, weights, signature=signature, tags=tags, outputs=outputs)
    with found as model, unexpected():
        limit = _limit(max_size, files_read, model)
        plan = planned(model, targets, **options, max_size=limit)
        target = plan.target
        chosen = target.options(max_size=limit)
        plan = with_notes(
            plan, not_finite(plan.parts, target.not_finite), target.notes(plan, chosen)
        )
        return Check(
            source=_name(source),
            target=target.name,
            format=target.title,
            writer=plan.writer,
            layers=plan.layers,
            problems=plan.problems,
            notes=(*_newer(plan.writer, source, "web_model", weights), *plan.notes),
            nbytes=plan.nbytes,
            choice=plan.choice,
            steps=after_check(plan, _convert_command(source, to, weights)),
            **(_ports(plan) if not plan.problems else {}),
        )


def repair(
    source: Pathlike, out: Pathlike | None = None, *, companion: bool = True, force: bool = False
) -> Repair:
    """Correct a layers-model of the official converter that TF.js cannot load.

    The converter writes such models for Keras 3. Weights files stay as they are unless a weight
    must change. A correct model stays as it is.

    Args:
        source: path of `model.json`, or of the folder that contains it and the weights.
        out: folder for the corrected model. By default `model.json` is rewritten in place, and the
            old one is kept next to it as `model.json.bak`.
        companion: whether the corrected model may need `kerasport-layers.js`, as for `convert`.
        force: whether to replace a model in `out`, or an older backup.

    Returns:
        What was changed and written. If nothing had to be changed, `repaired` is False, and `out`
        is a copy.

    Raises:
        ReadError: the source is not such a model, or its config and weights do not match.
        HostileFileError: the source tries to read other files or to exhaust memory.
        UnsupportedModel: parts of the model cannot be corrected exactly; nothing is written.
        OutputExistsError: the output or the backup exists, and `force` is False.
        WriteError: the output cannot be written.
        InternalError: kerasport has a bug.
    """
    from kerasport.frontends.keras.read.layers_model import open_layers_model  # noqa: PLC0415  (rarely needed)

    repairer = REPAIRED.repairer
    assert repairer is not None
    options = options_of([REPAIRED], companion=companion)[REPAIRED.name]
    opened = open_layers_model(Path(source))
    path = str(opened.path)

    def unchanged(why: str) -> Repair:
        right = Repair(path, "", "", opened.version, opened.converter, (), {}, (why,), ())
        if out is None:
            return right
        with writing(out):
            files = repairer.copy(opened, Path(out), force)
        return replace(right, out=str(Path(out) / REPAIRED.entry), files=files)

    if opened.native:
        return unchanged(f"{opened.converter or opened.version} wrote this model for TF.js")
    with unexpected(), of_file(path):
        plan = repairer.plan(opened, options)
        if plan.problems:
            raise UnsupportedModel(plan.problems, plan.target.title)
        changes = repairer.changes(opened, plan)
        if not changes:
            return unchanged("TF.js loads it, and computes every layer of it as Keras does")
        with writing(opened.path if out is None else out, plan.nbytes + TOPOLOGY):
            files, backup = repairer.write(opened, plan, None if out is None else Path(out), force)
        written = opened.path if out is None else Path(out) / REPAIRED.entry
        return Repair(
            source=path,
            out=str(written),
            backup=backup,
            writer=plan.writer,
            converter=opened.converter,
            changes=changes,
            renamed=plan.renamed,
            notes=plan.notes,
            files=files,
            code=plan.target.load(plan, written.parent, {}, ()),
            steps=after_repair(written.parent),
        )


def verify(
    source: Source,
    out: Pathlike,
    *,
    weights: Pathlike | None = None,
    inputs: Pathlike | None = None,
    expected: Pathlike | None = None,
    backends: str | Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1, 3),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    timeout: float = 3600,
    python: Pathlike | None = None,
    status: Callable[[str], None] | None = None,
) -> Verification:
    """Run the converted model in TF.js or ONNX Runtime and compare its outputs with those of Keras.

    Args:
        source: the Keras model that was converted, as for `convert`.
        out: folder of the converted model, or the ONNX file.
        weights: path of the weights file, if `source` is an architecture JSON.
        inputs: path of an `.npz` file with an array for each input, named like the inputs of the
            model or in their order. By default random inputs are drawn.
        expected: path of an `.npz` file with the outputs that Keras computes for `inputs`. By
            default Keras runs in a separate process.
        backends: "cpu" and "wasm" of TF.js; "onnxruntime" and "onnxruntime-web" for an ONNX model.
            The default is cpu and wasm, or onnxruntime.
        batch_sizes: batch sizes of the random inputs.
        rtol: allowed relative difference. The default is 1e-4.
        atol: allowed absolute difference. The default is 1e-5. For an output whose values are all
            below 1, it is 1e-5 of the largest, but at least 2.4e-7 or a twentieth of the largest,
            whichever is less. For a quantized model, differences are reported but not limited,
            unless `rtol` or `atol` is opened.
        seed: seed of the random inputs.
        timeout: seconds that Keras, and each backend, may take.
        python: path of the Python of another environment, whose Keras runs the original. It needs
            Python 3.8 or later with Keras and numpy, not kerasport. By default the Keras of this
            environment runs it.
        status: a function that is called with a few words on each step that takes long.

    Returns:
        The differences of each output on each backend. A mismatch is no error; see
        `Verification.raise_for_mismatch`.

    Raises:
        VerifyError: Keras or the converted model could not be run; the message says what to do.
        ReadError: the source cannot be read as a Keras model.
        OptionError: there is no such backend, or another argument has an invalid value.
        InternalError: kerasport has a bug.
    """
    from kerasport.verification import verify_conversion  # noqa: PLC0415  (convert does not need it)

    if is_tensorflow_graph(source):
        raise VerifyError(
            "the verification of TensorFlow graphs is not supported yet; compare the outputs of "
            "the converted model with those of TensorFlow yourself"
        )
    return verify_conversion(
        source,
        Path(out),
        weights=weights,
        inputs=inputs,
        expected=expected,
        backends=backends,
        batch_sizes=tuple(batch_sizes),
        rtol=rtol,
        atol=atol,
        seed=seed,
        timeout=timeout,
        python="" if python is None else os.fspath(python),
        status=status,
    )


def doctor(
    source: Pathlike | None = None,
    *,
    weights: Pathlike | None = None,
    python: Pathlike | None = None,
    timeout: float = 60,
) -> Diagnosis:
    """Report which packages are installed and work, and how to get a file into a browser.

    Packages are imported in separate processes, never in this one. The file is only read.

    Args:
        source: path of a Keras file or of a TF.js model.json; None to examine the packages only.
        weights: path of the weights file, if `source` is an architecture JSON.
        python: path of the Python to examine. The default is the one that runs this.
        timeout: seconds after which an import counts as hung.

    Returns:
        The packages and their versions, the possible routes with their commands, and advice.

    Raises:
        ReadError: the source cannot be read as a model.
        KerasportError: `python` cannot be run.
        InternalError: kerasport has a bug.
    """
    from kerasport.diagnosis import diagnose  # noqa: PLC0415  (convert does not need it)

    path = None if source is None else Path(source)
    weights_path = None if weights is None else Path(weights)
    executable = None if python is None else os.fspath(python)
    with unexpected():
        return diagnose(path, weights_path, executable, timeout)


def default_out(source: Source, to: str = AUTO) -> Path:
    """The default output of a model: next to its file.

    Raises:
        OptionError: the source is not a file, so the output needs a name.
        ReadError: the source is a URL.
    """
    if not isinstance(source, str | os.PathLike):
        raise OptionError(
            "a model in memory needs a name for its output, such as 'web_model'", "out"
        )
    path = Path(source)
    check_local(path)
    suffix = TARGETS[to].suffix if to in TARGETS else ""
    return path.with_name(f"{path.stem}{suffix}" if suffix else f"{path.stem}_web")


def _newer(writer: str, source: Source, out: Pathlike, weights: Pathlike | None) -> tuple[str, ...]:
    """A note if a Keras newer than those in the tables wrote the source."""
    if release_of(writer) <= NEWEST:
        return ()
    newest = ".".join(map(str, NEWEST))
    verify = _verify_command(source, out, weights)
    note = (
        f"Keras {legible(writer, SHORT)} wrote the source, and this kerasport knows Keras up to "
        f"{newest}; unknown layers, options and arguments are refused, but known ones may compute "
        f"other results: run {verify}"
    )
    return (note,)


def _verify_command(source: Source, out: Pathlike, weights: Pathlike | None) -> str:
    """The command that compares a converted model with its source; empty if there is none."""
    if is_tensorflow_graph(source):
        return ""
    if not isinstance(source, str | os.PathLike):
        return f"kerasport.verify(model, {os.fspath(out)!r})"
    return command(
        "kerasport", "verify", source, out, *(() if weights is None else ("--weights", weights))
    )


def _convert_command(source: Source, to: str, weights: Pathlike | None) -> str:
    """The command that converts the model that was checked."""
    if not isinstance(source, str | os.PathLike):
        example = TARGETS[to].example if to in TARGETS else "web_model"
        return f"kerasport.convert(model, {example!r})"
    options = () if weights is None else ("--weights", weights)
    return command("kerasport", "convert", source, *(() if to == AUTO else ("--to", to)), *options)


def _files_of(source: Source, weights: Pathlike | None) -> list[Path]:
    """The files that a conversion reads."""
    return [Path(path) for path in (source, weights) if isinstance(path, str | os.PathLike)]


def _ports(plan: Plan) -> dict[str, Any]:
    """The fields of a report about inputs and outputs."""
    names = ("inputs", "outputs", "output_shapes", "dtypes", "expects", "gives")
    return {name: getattr(plan, name) for name in names}


def _limit(max_size: int | None, files: Sequence[Path], model: Opened) -> int:
    """The largest size of a converted model in bytes: the user's, or derived from the source."""
    if max_size is None:
        return allowed(sum(map(_nbytes, files)) or sum(map(nbytes_of, weights_of(parts(model)))))
    if max_size < 1:
        raise OptionError(f"max_size must be at least 1 byte, not {max_size}", "max_size")
    return max_size


def _nbytes(path: Path) -> int:
    """Size in bytes of a file, or of the files in a directory and in the directories in it.

    The weights of a model.json are next to it, and those of a SavedModel are one level down.
    """
    path = path.parent if path.name == "model.json" else path
    files = [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"the model {getattr(source, 'name', '')!r}"

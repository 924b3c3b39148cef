"""Converts broken models until something other than a success or a proper error comes out.

    python -m tools.fuzz --count 10000
    python -m tools.fuzz --seed 7 --only 4711 --keep offending

Each input goes through `check` and through `convert` for every target, a model.json through `repair`. A fault is

* any exception that is not a `KerasportError`, and any `InternalError`;
* a message or a report that cannot be printed or written as JSON;
* more than 10 s of CPU time or 500 MB of memory;
* a file left behind by a refused conversion, or none by a successful one;
* the death of the process.

An input depends on the seed number, its index and the seeds alone. The exit code is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from tools.mutations import Corpus, Sample, corpus_of, recorded_seeds, sample, seeds_in

import kerasport
import kerasport.source
from kerasport import api, errors, targets
from kerasport.errors import KerasportError

SECONDS = 10  # of CPU time, for one call
MEGABYTES = 500  # for one call
GRACE = 5  # seconds after which the process is killed if the signal is not heeded
TARGETS = ("tfjs-layers", "tfjs-graph", "onnx")


class TooLong(BaseException):
    """The call took more CPU time than it may."""


@dataclass(frozen=True)
class Fault:
    """What went wrong with one input; faults with the same `place` have the same cause."""

    index: int
    seed: str
    mutations: tuple[str, ...]
    call: str
    place: str
    detail: str


@dataclass
class Tally:
    """What came of the inputs so far."""

    inputs: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[Fault]] = field(default_factory=dict)  # by place
    seconds: float = 0
    slowest: tuple[float, int] = (0, -1)  # CPU seconds, index
    largest: tuple[float, int] = (0, -1)  # megabytes, index

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.inputs += other.inputs
        self.calls += other.calls
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)
        for place, faults in other.faults.items():
            self.faults.setdefault(place, []).extend(faults)


# ------------------------------------------------------------------------------------- one input


@dataclass
class Bench:
    """Runs inputs in a scratch directory and judges what comes of them."""

    corpus: Corpus
    number: int
    folder: Path
    tally: Tally = field(default_factory=Tally)

    def run(self, index: int) -> list[Fault]:
        """Send input `index` through every call that takes it; returns the faults."""
        made = sample(self.corpus, self.number, index)
        faults: list[Fault] = []
        place, out, temporary = (self.folder / name for name in ("in", "out", "tmp"))
        for folder in (place, out, temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        written(made, place)
        began = time.process_time()
        with shared() if index % 8 else nullcontext():
            for name, work in calls(made, place, out, Random(f"{self.number}:{index}")):
                outcome, fault = self._judged(index, name, work, out)
                self.tally.calls[outcome] += 1
                if fault is not None:
                    faults.append(Fault(index, made.seed.name, made.mutations, name, *fault))
                if outcome == "unreadable":  # what check cannot read, no conversion can
                    break
        self.tally.seconds += time.process_time() - began
        self.tally.inputs += 1
        for found in faults:
            self.tally.faults.setdefault(found.place, []).append(found)
        return faults

    def _judged(
        self, index: int, name: str, work: Callable[[], Any], out: Path
    ) -> tuple[str, tuple[str, str] | None]:
        """The outcome of a call in a word, and the place and detail of its fault if it has one."""
        with measured() as cost:
            outcome, fault = judged(work)
        seconds, megabytes = cost()
        self.tally.slowest = max(self.tally.slowest, (seconds, index))
        self.tally.largest = max(self.tally.largest, (megabytes, index))
        if fault is None and megabytes > MEGABYTES:
            fault = (f"memory in {name}", f"{megabytes:.0f} MB")
        left = sorted(path.name for path in out.iterdir())
        if fault is None and left != (
            ["m.onnx" if name.endswith("onnx") else "m"] if outcome == "written" else []
        ):
            fault = (f"left behind by {name}", f"{outcome}: {left}")
        if fault is None and (stray := [path.name for path in (out.parent / "tmp").iterdir()]):
            fault = (f"temporary files of {name}", str(stray))
        for entry in left:
            path = out / entry
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return outcome, fault


@contextmanager
def shared() -> Iterator[None]:
    """Calls read a file once, and plan each target once, which saves half of the time."""
    models, plans = dict[Any, Any](), dict[Any, Any]()
    with ExitStack() as opened:

        @contextmanager
        def read(source: Any, weights: Any = None, **options: Any) -> Iterator[Any]:
            if source not in models:
                models[source] = opened.enter_context(open_source(source, weights, **options))
            yield models[source]

        def plan(model: Any, target: Any, options: Any) -> Any:
            if (target.name, options) not in plans:
                plans[target.name, options] = original(model, target, options)
            return plans[target.name, options]

        open_source, original = kerasport.source.opened, targets.plan_with
        for module, name, stand_in in (
            (api, "opened", read),
            (targets, "plan_with", plan),
        ):
            opened.enter_context(patch.object(module, name, stand_in))
        yield


def written(made: Sample, folder: Path) -> None:
    """Write the files of an input."""
    for name, data in made.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def calls(
    made: Sample, place: Path, out: Path, rng: Random
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The calls that an input goes through, each with a name."""
    source = place / made.seed.source
    if made.seed.form == "tfjs":
        yield "repair", partial(kerasport.repair, source, out / "m")
        return
    weights = place / made.seed.weights if made.seed.weights else None
    yield "check", partial(kerasport.check, source, weights=weights)
    for target in TARGETS:
        path = out / ("m.onnx" if target == "onnx" else "m")
        options = some_options(rng, target)
        yield (
            f"convert {target}",
            partial(kerasport.convert, source, path, to=target, weights=weights, **options),
        )


def some_options(rng: Random, target: str) -> dict[str, Any]:
    """Options of `convert`, mostly none."""
    if rng.random() < 0.8:
        return {}
    match target:
        case "tfjs-layers":
            return rng.choice(
                (
                    {"companion": False},
                    {"trainable": True},
                    {"optimizer": True},
                    {"quantize": "uint8"},
                )
            )
        case "tfjs-graph":
            return rng.choice(({"unroll_limit": 1}, {"shard_size": 64}, {"quantize": "float16"}))
        case _:
            half = {"quantize": "float16", "half_compute": True}
            return rng.choice(({"opset": 17}, {"opset": 22}, {"quantize": "int8"}, half))


def judged(work: Callable[[], Any]) -> tuple[str, tuple[str, str] | None]:
    """Do the work; the outcome in a word, and the place and detail of the fault if there is one."""
    try:
        result = work()
        shown = str(result)
        json.dumps(result.to_dict(), allow_nan=False)
    except KerasportError as error:
        return _refused(error)
    except TooLong as error:
        return "fault", (f"time in {_frame(error)}", f"more than {SECONDS} s\n{_traceback(error)}")
    except Exception as error:  # noqa: BLE001  (the very thing that is looked for)
        return "fault", (f"{type(error).__name__} at {_frame(error)}", _traceback(error))
    fault = _unprintable(shown)
    if isinstance(result, kerasport.Check):
        return "convertible" if result.convertible else "unconvertible", fault
    repaired = isinstance(result, kerasport.Repair)
    return "written" if not repaired or result.out else "right already", fault


def _refused(error: KerasportError) -> tuple[str, tuple[str, str] | None]:
    """The same for an error that was raised on purpose, or on behalf of another."""
    cause = _cause(error)
    if isinstance(error, errors.InternalError) or isinstance(cause, MemoryError):
        return "fault", (f"{type(cause).__name__} at {_frame(cause)}", _traceback(error))
    reading = isinstance(error, errors.ReadError) and not _in_plan(error)
    return "unreadable" if reading else type(error).__name__, _unprintable(str(error))


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _in_plan(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    deeper = traceback.extract_tb(_cause(error).__traceback__)
    return any(frame.name == "planned" for frame in (*frames, *deeper))


def _unprintable(text: str) -> tuple[str, str] | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return "text that cannot be printed", str(error)
    lines = [line for line in text.split("\n") if not line.isprintable()]
    return ("text that a terminal may obey", repr(lines[0][:300])) if lines else None


def _frame(error: BaseException) -> str:
    """The innermost place in kerasport."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "kerasport/" in frame.filename
    ]
    if not frames:
        return "nowhere in kerasport"
    frame = frames[-1]
    return f"{frame.filename.rpartition('kerasport/')[2]}:{frame.lineno} {frame.name}"


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-14))[-6000:]


# ---------------------------------------------------------------------------------------- limits

_STATUS = Path("/proc/self/status")
_REFS = Path("/proc/self/clear_refs")


def _memory(key: str) -> float:
    """A line of /proc/self/status in MB; 0 where there is none."""
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{key}:\s+(\d+)", _STATUS.read_text())
    return int(found[1]) / 1024 if found else 0


@contextmanager
def measured() -> Iterator[Callable[[], tuple[float, float]]]:
    """Limit the CPU time; gives CPU seconds and the rise of the peak of memory in MB."""
    if _REFS.exists():
        _REFS.write_text("5")  # resets the peak
    before, began = _memory("VmRSS"), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    spent: list[tuple[float, float]] = []
    try:
        yield lambda: spent[0]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        spent.append((time.process_time() - began, _memory("VmHWM") - before))


def _too_long(*_: object) -> None:
    raise TooLong


def limit() -> None:
    """Limit what this process may take, beyond what it has already."""
    signal.signal(signal.SIGPROF, _too_long)
    if used := _memory("VmSize"):
        most = int((used + MEGABYTES) * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# --------------------------------------------------------------------------------------- workers


@dataclass(frozen=True)
class Task:
    """What a worker does: the inputs from `first` on, by a step."""

    number: int
    first: int
    end: int
    step: int
    seeds: tuple[Path, ...] = ()
    keep: Path | None = None
    most: int = 3  # files kept of one place
    cpu: float = float("inf")  # seconds after which to stop


def corpus(seeds: Sequence[Path]) -> Corpus:
    """The seeds of the tests, and those in further directories."""
    return corpus_of([*recorded_seeds(), *(seed for folder in seeds for seed in seeds_in(folder))])


def work(task: Task, send: Any, current: Any) -> None:
    """Run a task; sends tallies, and says in `current` at which input it is."""
    folder = Path(
        tempfile.mkdtemp(
            prefix="kerasport-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        )
    )
    tempfile.tempdir = str(folder / "tmp")
    gc.set_threshold(100_000)  # as the command line does
    bench = Bench(corpus(task.seeds), task.number, folder)
    kept: Counter[str] = Counter()
    began = told = time.process_time()
    try:
        with suppress(KerasportError):
            bench.run(task.first)  # imports everything
        bench.tally = Tally()
        limit()
        for index in range(task.first, task.end, task.step):
            current.value = index
            for fault in bench.run(index):
                kept[fault.place] += 1
                if task.keep is not None and kept[fault.place] <= task.most:
                    keep(sample(bench.corpus, task.number, index), fault, task.keep)
            now = time.process_time()
            if now - told > 5:
                send.send(bench.tally)
                bench.tally, told = Tally(), now
            if now - began > task.cpu:
                break
        send.send(bench.tally)
        current.value = task.end
        send.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(made: Sample, fault: Fault, folder: Path) -> None:
    """Keep the files of an input, with the description of its fault."""
    slug = re.sub(r"[^\w.]+", "_", fault.place)[:90].strip("_")
    target = folder / f"{slug}-{fault.index}"
    written(made, target)
    (target / "fault.txt").write_text(
        "\n".join(f"{key}: {value}" for key, value in asdict(fault).items()),
        encoding="utf-8",
        errors="replace",
    )


def fuzz(task: Task, workers: int, tell: Callable[[Tally], None]) -> Tally:
    """Share the task among processes. A process that dies is replaced, and its input has a fault."""
    context = multiprocessing.get_context("spawn")
    total = Tally()
    running: list[tuple[Any, Any, Any, Task]] = []

    def start(part: Task) -> None:
        receive, send = context.Pipe(duplex=False)
        current = context.Value("q", part.first)
        process = context.Process(target=work, args=(part, send, current), daemon=True)
        process.start()
        send.close()
        running.append((process, receive, current, part))

    for worker in range(workers):
        first = task.first + worker * task.step
        start(Task(**{**vars(task), "first": first, "step": task.step * workers}))
    while running:
        multiprocessing.connection.wait([receive for _, receive, _, _ in running])
        for entry in tuple(running):
            process, receive, current, part = entry
            try:
                while receive.poll():
                    total.add(receive.recv())
                    tell(total)
            except EOFError:
                process.join()
                running.remove(entry)
                if current.value < part.end:
                    died = Fault(
                        current.value,
                        "",
                        (),
                        "",
                        f"exit code {process.exitcode}",
                        "the process died",
                    )
                    total.faults.setdefault(died.place, []).append(died)
                    start(Task(**{**vars(part), "first": current.value + part.step}))
    return total


# ------------------------------------------------------------------------------------------- CLI


def told(total: Tally) -> str:
    """A tally in lines."""
    count = sum(map(len, total.faults.values()))
    lines = [
        (
            f"{total.inputs:,} inputs in {total.seconds:,.0f} s of CPU: {count:,} faults in "
            f"{len(total.faults)} places"
        ),
        f"slowest call {total.slowest[0]:.1f} s, largest {total.largest[0]:.0f} MB",
        ", ".join(f"{name}: {count:,}" for name, count in total.calls.most_common()),
    ]
    for place, faults in sorted(total.faults.items(), key=lambda item: -len(item[1])):
        first = faults[0]
        lines.append(
            f"  {len(faults):5} {place}  (first: input {first.index}, {first.call}, {first.seed})"
        )
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="number that all random choices depend on"
    )
    parser.add_argument("--count", type=int, default=1000, help="number of inputs")
    parser.add_argument("--first", type=int, default=0, help="index of the first input")
    parser.add_argument("--only", type=int, help="run a single input")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--keep", type=Path, help="directory for the files of faults")
    parser.add_argument(
        "--seeds", type=Path, action="append", default=[], help="directory of further seeds"
    )
    parser.add_argument(
        "--cpu", type=float, default=float("inf"), help="CPU seconds after which a worker stops"
    )
    given = parser.parse_args()
    first, end = (
        (given.first, given.first + given.count)
        if given.only is None
        else (given.only, given.only + 1)
    )
    task = Task(given.seed, first, end, 1, tuple(given.seeds), given.keep, cpu=given.cpu)
    total = fuzz(
        task,
        given.workers,
        lambda tally: print(told(tally).splitlines()[0], file=sys.stderr, flush=True),
    )
    print(told(total))
    if given.only is not None:
        print(*(fault.detail for faults in total.faults.values() for fault in faults), sep="\n")
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())

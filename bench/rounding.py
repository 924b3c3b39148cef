"""Seconds and peak memory of conversions that round weights, relative to rounding to uint8.

    python bench/rounding.py
    python bench/rounding.py --size 2600 --repeats 3

The model is generated: random weights, half of them in convolutions and half in dense layers. Every
round runs each command once, in a process of its own, and ratios are computed within a round.

Aim: int8 for ONNX takes at most twice as long as uint8 for TF.js, in less than 200 MB of memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from convert import MB, Run, forge, measure

COMMANDS = {
    "uint8, TF.js": ("uint8", "web_model"),
    "float16, TF.js": ("float16", "web_model"),
    "float16, ONNX": ("float16", "model.onnx"),
    "int8, ONNX": ("int8", "model.onnx"),
}
BASE = next(iter(COMMANDS))


def run(model: Path, kind: str, out: str) -> Run:
    """One conversion, into a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="kerasport-bench-", dir=model.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "kerasport",
            "convert",
            str(model),
            str(Path(folder, out)),
            "--quantize",
            kind,
        ]
        return measure(command)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=300, help="megabytes of weights")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kerasport-bench-") as folder:
        model = Path(folder, "model.keras")
        forge(model, options.size)
        print(f"{model.stat().st_size / MB:.0f} MB, {options.repeats} rounds\n")
        found = [
            {name: run(model, *of) for name, of in COMMANDS.items()} for _ in range(options.repeats)
        ]
    print(
        "| weights | median s | times uint8 | CPU s | times uint8 | peak MB "
        "|\n|---|---:|---:|---:|---:|---:|"
    )
    for name in COMMANDS:
        runs = [each[name] for each in found]
        seconds = median(each[name].seconds / each[BASE].seconds for each in found)
        busy = median((each[name].busy or 0) / (each[BASE].busy or 1) for each in found)
        cells = [f"{median(each.seconds for each in runs):.2f}", f"{seconds:.2f}"]
        cells += [f"{median(each.busy or 0 for each in runs):.2f}", f"{busy:.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {max(each.peak or 0 for each in runs):.0f} |")


if __name__ == "__main__":
    main()

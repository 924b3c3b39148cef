"""Write random models and their outputs to a folder, with the Keras of this environment.

PYTHONPATH=tools python -m random_models FOLDER --keras tf_keras --count 100
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from random_models.families import FAMILIES
from random_models.record import ALL, DISCARDED, FAILED, record


def main() -> None:
    """Write the models."""
    parser = argparse.ArgumentParser(prog="random_models", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keras", default="keras", help="module: keras or tf_keras")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--families", nargs="*", default=None, choices=sorted(ALL))
    parser.add_argument(
        "--debug", action="store_true", help="say which steps Keras rejects, and why"
    )
    options = parser.parse_args()
    keras = importlib.import_module(options.keras)
    families = options.families or list(ALL if options.keras == "keras" else FAMILIES)
    options.folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for index in range(options.first, options.first + options.count):
        made += record(keras, options.seed, index, families, options.folder) is not None
    print(f"{made} of {options.count} models", file=sys.stderr)
    if options.debug:
        for name, errors in sorted(FAILED.items()):
            print(name, len(errors), *dict.fromkeys(errors), sep="\n    ")
        print("discarded", *DISCARDED, sep="\n    ")


if __name__ == "__main__":
    main()

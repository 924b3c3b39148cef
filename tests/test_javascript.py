"""Types, lint and tests of the JavaScript, on a copy, so the sources stay clean."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kerasport.verification.runtimes import node

WEB = Path(__file__).parent.parent / "src" / "kerasport" / "web"


@pytest.mark.exhaustive
@pytest.mark.needs("node")
def test_types_lint_and_tests_of_the_javascript(tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    executable = node.find()
    npm = node.npm_command(executable)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(executable.parent), os.environ.get("PATH", "")]),
    }
    for command in ("ci --no-audit --no-fund", "run check"):
        done = subprocess.run(
            [*npm, *command.split()],
            cwd=web,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"npm {command}\n{done.stdout}\n{done.stderr}"

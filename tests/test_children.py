"""The processes of verification answer in time, and end when their parent ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import kerasport
from kerasport.errors import OptionError, VerifyError
from kerasport.verification.references import original
from kerasport.verification.references.keras_runner import Request
from kerasport.verification.references.original import Keras, Original
from kerasport.verification.runtimes import node
from kerasport.verification.runtimes.tfjs import Tfjs

BUSY = """\
import os, sys
sys.path[:] = sys.argv[1].split('\\n')
from kerasport.verification.references.keras_runner import end_with_parent
end_with_parent()
with open(sys.argv[-1] + '/pid', 'w') as file: file.write(str(os.getpid()))
while True: pass
"""
"""A Keras that computes without end."""

KERAS = """if True:
    import sys
    from pathlib import Path
    from tests.test_children import BUSY, hung, original

    original.START = BUSY
    hung(60)._ask(Path(sys.argv[1]))
"""
NODE = """if True:
    import sys
    from pathlib import Path
    from kerasport.verification import node
    from kerasport.verification.runtimes.worker import Worker

    Worker(node.find(), Path(sys.argv[1], "busy.mjs")).ask(b"?", 60)
"""
LOOP = """
import './parent.js'
import { writeFileSync } from 'node:fs'
setTimeout(() => { writeFileSync(process.argv[1] + '.pid', String(process.pid)); for (;;); }, 0)
"""


def hung(timeout: float) -> Original:
    return Original(
        Path("m.keras"),
        None,
        Keras("keras", "3.15.1", "jax"),
        False,
        Request("keras", ""),
        (),
        timeout,
    )


def is_over(pid: str) -> bool:
    """Whether a process is gone, or waits for nothing but that somebody asks for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_for(done: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["Keras", pytest.param("Node", marks=pytest.mark.needs("node"))])
def test_a_killed_verification_kills_its_child_processes(kind: str, tmp_path: Path) -> None:
    (tmp_path / "parent.js").write_bytes((node.WEB / "parent.js").read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "busy.mjs").write_text(LOOP)
    told = tmp_path / ("pid" if kind == "Keras" else "busy.mjs.pid")
    parent = subprocess.Popen(
        [sys.executable, "-c", KERAS if kind == "Keras" else NODE, str(tmp_path)]
    )
    wait_for(lambda: told.is_file() and told.read_text())
    pid = told.read_text()
    assert not is_over(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: is_over(pid))


def test_a_hung_keras_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(original, "START", BUSY)
    with pytest.raises(
        VerifyError, match=r"did not finish running m\.keras in 1 seconds; .* --timeout"
    ):
        hung(1)._ask(tmp_path)


@pytest.mark.needs("node")
def test_a_hung_node_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busy.cjs").write_text("for (;;);")
    monkeypatch.setattr(node, "worker", lambda *_: tmp_path / "busy.cjs")
    with (
        Tfjs(timeout=1) as runtime,
        pytest.raises(VerifyError, match=r"did not answer in 1 seconds.* --timeout"),
    ):
        runtime._exchange("?", None)


@pytest.mark.needs("node")
def test_a_hung_npm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "INSTALLED", 1)
    monkeypatch.setattr(node, "npm_command", lambda _: [sys.executable, "-c", "while True: pass"])
    with pytest.raises(VerifyError, match="npm did not finish in 1 seconds"):
        node.npm_ci(tmp_path)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_limit_is_positive(timeout: float, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="positive number of seconds"):
        kerasport.verify("m.keras", tmp_path, timeout=timeout)

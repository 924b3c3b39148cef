"""A Node process that runs models and answers JSON lines."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

from kerasport.errors import VerifyError
from kerasport.verification.runtimes import node

if TYPE_CHECKING:
    from typing_extensions import Self


class NodeRuntime:
    """Runs models in Node, for one caller at a time.

    Node starts with the first call. If it dies or hangs, that call fails and the next one starts a
    new process. `timeout` is the default number of seconds after which Node counts as hung.
    """

    scripts: ClassVar[node.Scripts]
    """The scripts that Node runs."""

    hang: ClassVar[str] = ""
    """A known cause of a call that does not return, for the message about it."""

    def __init__(self, report: node.Report = node.tell, *, timeout: float = 600) -> None:
        self._report = report
        self._timeout = timeout
        self._worker: Worker | None = None
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the Node process."""
        if self._worker:
            self._worker.close()
        self._worker = None

    def _exchange(self, line: str, timeout: float | None) -> bytes:
        self._worker = self._worker or Worker(node.find(), node.worker(self.scripts, self._report))
        try:
            seconds = self._timeout if timeout is None else timeout
            return self._worker.ask(line.encode(), seconds, self.hang)
        except BaseException:
            # after an interrupt, too: a late answer would be read as that to the next request
            self.close()
            raise


class Worker:
    """A Node process that answers every line with a line."""

    def __init__(self, executable: Path, script: Path) -> None:
        # a file, not a pipe: it is read only at the end, and a full pipe would block Node
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
        self._process = subprocess.Popen(  # noqa: S603  (Node, with our script)
            [executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._thread = Thread()

    def ask(self, line: bytes, timeout: float, hang: str = "") -> bytes:
        """The answer to a line; `hang` is a known cause of none.

        Raises:
            VerifyError: Node dies, or does not answer in time.
        """
        answers = SimpleQueue[bytes]()
        # pipes have no timeout; the thread that waits for them ends with the process
        self._thread = Thread(target=self._exchange, args=(line, answers), daemon=True)
        self._thread.start()
        try:
            answer = answers.get(timeout=timeout)
        except Empty:
            raise VerifyError(
                f"Node did not answer in {timeout:g} seconds{f'; {hang}' if hang else ''}. If the "
                "model needs more time, set a larger --timeout"
            ) from None
        if not answer.endswith(b"\n"):
            raise VerifyError(f"Node crashed{self._last_lines()}")
        return answer

    def _exchange(self, line: bytes, answers: SimpleQueue[bytes]) -> None:
        assert self._process.stdin, "made with pipes"
        assert self._process.stdout, "made with pipes"
        answer = b""
        with suppress(OSError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        answers.put(answer)

    def _last_lines(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return "".join(f"\n  {line}" for line in lines[-20:])

    def close(self) -> None:
        """Kill the process: a hung worker does not answer a shutdown request."""
        self._process.kill()
        self._process.wait()
        if self._thread.is_alive():
            self._thread.join()
        # an interrupted write may have left data in the buffer, which cannot be flushed any more
        with suppress(OSError):
            self._process.__exit__(None, None, None)
        self._log.close()

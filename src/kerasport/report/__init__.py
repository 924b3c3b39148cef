"""Reports: frozen records of what became of a model, their view, and its renderers."""

from kerasport.report.layers import LayerOutcome, Outcome, summary
from kerasport.report.records import (
    Check,
    Conversion,
    Repair,
    Rounded,
    Values,
    readable,
    refusal_view,
)
from kerasport.report.view import Snippet, Step, Viewed, command

__all__ = [
    "Check", "Conversion", "LayerOutcome", "Outcome", "Repair", "Rounded", "Snippet", "Step",
    "Values", "Viewed", "command", "readable", "refusal_view", "summary",
]  # fmt: skip

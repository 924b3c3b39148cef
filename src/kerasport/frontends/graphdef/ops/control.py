"""Loops and branches."""

from __future__ import annotations

from kerasport.frontends.graphdef.ops.call import Rows

ROWS: Rows = {}

"""Where the SDK's words to people go; must not configure logging, which is the program's own.

A program that has configured structlog gets them there, under the name `trialog`. In any other they
go to standard error: standard output is the program's result, and may be piped.
"""

from __future__ import annotations

import sys

import structlog
from structlog.typing import FilteringBoundLogger


def notice_logger() -> FilteringBoundLogger:
    """Return the logger to use now; ask each time, a program may configure structlog late."""
    if structlog.is_configured():
        configured: FilteringBoundLogger = structlog.get_logger("trialog")
        return configured
    plain: FilteringBoundLogger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    return plain

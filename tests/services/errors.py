"""What a service says when it cannot be had."""

from __future__ import annotations


class ServiceUnavailableError(Exception):
    """A service that the tests need cannot be started here; the message says why and the remedy."""

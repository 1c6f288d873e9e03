"""The limits that services told this process, for commands and for runs that nobody answers.

A command carries the limit it is judged by, so that a replay judges alike; the service refuses one
that carries another number than its policy in force, and the policy is asked for then. A run that
no service could answer gets what was told last, and before that the defaults.
"""

from __future__ import annotations

from trialog_schemas.limits import DEFAULT_LIMITS, Limits

POLICY_CHANGED = "PolicyChanged"
"""The code of a service that refuses a command for the policy in it."""

_told: dict[str, Limits] = {}
"""By address of the service. Setting and getting are one step each: no lock, also across forks."""


def note_policy(url: str, limits: Limits) -> None:
    """Remember the policy that a service tells."""
    _told[url] = limits


def known_policy(url: str) -> Limits:
    """Return the policy that a service told this process last; before that the defaults."""
    return _told.get(url, DEFAULT_LIMITS)

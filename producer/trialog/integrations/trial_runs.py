"""What every search has in common: how a trial's run is named and entered."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from trialog.run import Run
from trialog_schemas.errors import ResourceInUseError
from trialog_schemas.limits import NAME_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialog.settings import Session

_TRIAL_CHARS_MAX = 20
"""Room that a run's name leaves for a trial's number and, where it is taken, a suffix."""

_SUFFIX_DIGITS = 6


def run_name_of(search_name: str, trial: int | str) -> str:
    """Return a legal name for a trial's run: what a name may not have becomes `-`.

    A trial's id that has no room in it is cut at its front, which searches have in common.
    """
    end = _legal(str(trial))[-(NAME_CHARS_MAX // 2) :]
    room = NAME_CHARS_MAX - max(_TRIAL_CHARS_MAX, len(end) + 1 + _SUFFIX_DIGITS + 1)
    return f"{_legal(search_name)[:room]}-{end}"


def enter_trial_run(
    experiment_name: str, run_name: str, session: Session | None, tags: Mapping[str, str]
) -> Run:
    """Return an entered run of this name; where it is taken, of the name with a suffix.

    A search that is started again has the names of its last time.
    """
    try:
        return Run(experiment_name, run_name, session, tags=tags).__enter__()
    except ResourceInUseError:
        other = f"{run_name}-{uuid.uuid4().hex[:_SUFFIX_DIGITS]}"
        return Run(experiment_name, other, session, tags=tags).__enter__()


def _legal(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)

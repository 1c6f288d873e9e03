"""Private names of SageMaker's SDK that ported programs may touch; nothing else may use them.

`trialog` gives them by its `__getattr__`, with a DeprecationWarning; they are not in `__all__`.
"""

from __future__ import annotations

import warnings

from trialog.run import Run
from trialog.run_context import current_run, pop_run, push_run

_Trial = Run
_TrialComponent = Run


class _RunContext:
    """The current run by the three calls of SageMaker's class of this name.

    Theirs holds one run for the whole process. This is a stack of each thread and task, so that
    taking a run out makes the one around it the current one again.
    """

    @classmethod
    def add_run_object(cls, run: Run) -> None:
        """Make a run the current one, while it is open."""
        push_run(run)

    @classmethod
    def drop_current_run(cls) -> Run | None:
        """Take the current run out and return it; None if there is none."""
        run = current_run()
        if run is not None:
            pop_run(run)
        return run

    @classmethod
    def get_current_run(cls) -> Run | None:
        """Return the innermost run that is open in this thread or task, or None."""
        return current_run()


_NAMES: dict[str, tuple[object, str]] = {
    "_Trial": (_Trial, "use Run"),
    "_TrialComponent": (_TrialComponent, "use Run"),
    "_RunContext": (_RunContext, "use load_run() inside the run's block"),
}


def legacy_name(name: str) -> object:
    """Return what a private name of SageMaker's SDK stands for, and warn of it where it is used.

    Raises:
        AttributeError: it is no such name.
    """
    if name not in _NAMES:
        raise AttributeError(f"module 'trialog' has no attribute {name!r}")
    meant, instead = _NAMES[name]
    warnings.warn(
        f"trialog.{name} is a private name of SageMaker's SDK and may go; {instead}",
        DeprecationWarning,
        stacklevel=3,
    )
    return meant

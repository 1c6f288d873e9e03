"""The real MLflow client, pointed at a service of the tests and set back afterwards."""

from __future__ import annotations

import importlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

# Read when it is imported: it tells its makers nothing of these tests.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def import_mlflow(part: str = "mlflow") -> ModuleType:
    """Return MLflow's module, or one of its modules.

    It is imported when it is asked for: that takes seconds, which a process of other tests, though
    it collects these, need not spend.
    """
    return importlib.import_module(part)


@contextmanager
def mlflow_at(url: str) -> Iterator[ModuleType]:
    """Give MLflow's module as a program has it that begins with `set_tracking_uri`."""
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(url)
    try:
        yield mlflow
    finally:
        while mlflow.active_run() is not None:
            mlflow.end_run()
        mlflow.set_tracking_uri("")
        # What set_experiment has remembered for the runs to come.
        mlflow.tracking.fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        os.environ.pop("MLFLOW_RUN_ID", None)

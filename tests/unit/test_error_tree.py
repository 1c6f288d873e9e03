"""A sentence of each class of the error tree, provoked where it comes from, word for word.

The sentences of rules and names have a table of their own, `schemas/message_rows.py`; this one is
for what they do not raise, and for the tree to be whole.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.memory_runs import memory_runs
from trialog.call_aside import call_aside
from trialog.refusals import refusal_error, rejected_error
from trialog_schemas import errors, names
from trialog_schemas.decode import unpack_header
from trialog_schemas.errors import TrialogError, error_from_code
from trialog_schemas.events import Rejection
from trialog_schemas.limits import Limits
from trialog_server.read.list_runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = "http://127.0.0.1:9"
TAKEN = Rejection("run_name_in_use", "run 'r' exists already; give another name", "r")


@dataclass(frozen=True)
class Row:
    """A sentence with what provokes it in a folder of its own."""

    kind: type[TrialogError]
    cause: Callable[[Path], object]
    message: str


def raised(error: Exception) -> Callable[[Path], object]:
    """Return what raises an error that others make and do not raise."""

    def raise_it(_folder: Path) -> None:
        raise error

    return raise_it


def log_two_values(folder: Path) -> None:
    """Log a parameter twice."""
    with memory_runs(folder) as runs, trialog.Run("e", "r", runs.session) as run:
        run.log_parameter("lr", 0.1)
        run.log_parameter("lr", 0.2)


def log_too_much(folder: Path) -> None:
    """Log an artifact beyond what the policy allows."""
    with memory_runs(folder) as runs:
        run = trialog.Run("e", "r", runs.session)
        run._block.enter(runs.run_answer(), runs.opening(Limits(artifact_bytes_max=3)))
        try:
            run.log_artifact("notes", "text")
        finally:
            run._block.leave(None)


def enter_without_a_place(folder: Path) -> None:
    """Enter a run whose spool folder cannot be."""
    place = folder / "file"
    place.write_bytes(b"")
    trialog.Run("e", "r", trialog.Session(url=NOBODY, spool_dir=place / "spool")).__enter__()


def load_without_a_service(folder: Path) -> None:
    """Ask where nobody listens."""
    trialog.load_run("e", "r", trialog.Session(url=NOBODY, spool_dir=folder))


def call_a_defect(_folder: Path) -> None:
    """Call what breaks in a way that nobody expects."""

    def work() -> None:
        raise ZeroDivisionError

    try:
        asyncio.run(call_aside(work))
    finally:
        for thread in threading.enumerate():
            if thread.name == "trialog-aside":
                thread.join(30)  # it shows the error behind telling it


ROWS = [
    Row(
        errors.ValidationError,
        lambda _folder: names.check_run_name("a b"),
        "run name 'a b' has a character outside A-Z a-z 0-9 - _, U+0020 SPACE as character 2; "
        "replace it by one of these",
    ),
    Row(
        errors.WrongTypeError,
        lambda _folder: trialog.Run("e", "r", "http://h"),  # type: ignore[arg-type]
        "session is 'http://h' of type str; give a trialog.Session",
    ),
    Row(
        errors.NotNumericError,
        lambda _folder: names.check_metric_value("loss", "high"),
        "metric 'loss' has the value 'high' of type str; give a number",
    ),
    Row(
        errors.LimitExceededError,
        log_too_much,
        "artifact 'notes' has 4 bytes, allowed are 3; store it elsewhere and log its address",
    ),
    Row(
        errors.ParameterImmutableError,
        log_two_values,
        "parameter 'lr' is already 0.1 and cannot become 0.2; log it under another name",
    ),
    Row(errors.ResourceInUseError, raised(refusal_error(TAKEN)), TAKEN.message),
    Row(
        errors.ResourceNotFoundError,
        raised(run_not_found(uuid.UUID(int=7))),
        f"run '{uuid.UUID(int=7).hex}' does not exist or was deleted; list the runs to see which "
        "there are",
    ),
    Row(
        errors.RunRejectedError,
        raised(rejected_error("r", [TAKEN, TAKEN])),
        f"2 refusals in run 'r', the first: {TAKEN.message}",
    ),
    Row(
        errors.AccessRefusedError,
        raised(error_from_code("AccessRefused", "no key is given; set TRIALOG_API_KEY")),
        "no key is given; set TRIALOG_API_KEY",
    ),
    Row(
        errors.UnavailableError,
        load_without_a_service,
        f"no trialog service can be reached at {NOBODY}; start one with `trialog up` or set "
        "TRIALOG_URL",
    ),
    Row(
        errors.ClientError,
        raised(error_from_code("FromTheFuture", "told by a later service")),
        "told by a later service",
    ),
    Row(
        errors.SnapshotPendingError,
        raised(error_from_code("SnapshotPending", "12 % is done")),
        "12 % is done",
    ),
    Row(
        errors.WireError,
        lambda _folder: unpack_header(b"x" * 100),
        "bytes that do not start with TLOG",
    ),
    Row(
        errors.SpoolError,
        enter_without_a_place,
        "spool folder FOLDER/file/spool cannot be made: Not a directory; give another with "
        "TRIALOG_SPOOL_DIR or Session(spool_dir=…)",
    ),
    Row(
        errors.InternalError,
        call_a_defect,
        "call_a_defect.<locals>.work ended unexpectedly",
    ),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind.__name__)
def test_each_class_of_the_tree_has_its_sentence(row: Row, tmp_path: Path) -> None:
    """The class is exactly this one, and its words and code reach who catches it."""
    with pytest.raises(TrialogError) as caught:
        row.cause(tmp_path)
    assert type(caught.value) is row.kind
    assert caught.value.message.replace(str(tmp_path), "FOLDER") == row.message
    assert str(caught.value) == caught.value.message
    if isinstance(caught.value, trialog.ClientError):
        told = caught.value.response["Error"]
        assert told == {"Code": caught.value.code, "Message": caught.value.message}


def test_every_class_of_the_tree_stands_in_the_table() -> None:
    """A class that comes new has no place without a sentence here; the root is never raised."""
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, TrialogError)
    }
    assert {row.kind for row in ROWS} == kinds - {TrialogError}

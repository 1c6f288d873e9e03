"""How a handle gets into its run and out of it: created, resumed or joined; ended or left.

Asks the service where the answer decides; without one a run is kept in the spool and told later.
Must not append anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from dataclasses import dataclass, replace
from traceback import TracebackException
from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.commands import send_command, under_policy
from trialog.ids import new_id, now_us
from trialog.newest_positions import newest_positions
from trialog.notice_logger import notice_logger
from trialog.policy import known_policy, note_policy
from trialog.run_context import current_run
from trialog.spool_facts import CatalogEvent, SpoolMeta
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import (
    ModelInfo,
    RunCreated,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    artifact_content,
)
from trialog_schemas.limits import FAILURE_MESSAGE_CHARS_MAX, Limits
from trialog_schemas.rules import ArtifactState, RunState
from trialog_schemas.versions import EVENT_VERSIONS
from trialog_schemas.wire import body_json

if TYPE_CHECKING:
    from trialog.answers import RunAnswer
    from trialog.run import Run
    from trialog.settings import Endpoint
    from trialog_schemas.events import RunBody

SIGNAL_EXIT = 128
"""A shell tells of a program that signal n stopped by this code and n."""

_NO_TEXT = "<exception str() failed>"
"""What the standard library says of an exception whose `__str__` raises."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a handle enters: the first event of its stream, what is known, and who ends the run.

    Args:
        first: the event that opens the stream.
        state: what is known of the run.
        is_owner: leaving the block ends the run.
        catalog: the event that creates the run, if this handle does: for a log that has not got
            it yet, or that loses it.
        is_created: the service has created the run.
    """

    first: RunBody
    state: RunState
    is_owner: bool
    catalog: CatalogEvent | None = None
    is_created: bool = False


def unborn_run(endpoint: Endpoint, experiment_name: str, run_name: str) -> RunAnswer:
    """Return the description of a run that nobody has created yet: names, an id, nothing else."""
    run_id = uuid.uuid4().hex
    return {
        "run_id": run_id,
        "run_name": run_name,
        "run_arn": f"arn:trialog:run/{endpoint.account}/{run_id}",
        "experiment_id": "",
        "experiment_name": experiment_name,
        "status": "",
        "is_stale": False,
        "failure_message": None,
        "creation_time": "",
        "start_time": "",
        "end_time": None,
        "last_event_time": None,
        "parent_run_id": None,
        "parent_run_name": None,
        "created_by": {},
        "tags": {},
        "parameters": {},
        "metrics": {},
        "artifacts": [],
        "rejected_count": 0,
        "missing_count": 0,
        "points": 0,
        "limits": None,
    }


def find_run(endpoint: Endpoint, experiment_name: str, run_name: str) -> RunAnswer:
    """Return a run by name; the end of one that this process has just left is waited for.

    Raises:
        ResourceNotFoundError: there is no such run or experiment.
        UnavailableError: the service cannot be reached, or has not got so far yet.
    """
    newest = newest_positions(endpoint.url, experiment_name)
    return Client(endpoint).run(experiment_name, run_name, newest)


def create_run(
    endpoint: Endpoint, run: RunAnswer, parent: Run | None, client: Client | None = None
) -> Opening:
    """Have the service create a run, or prepare it to be created later.

    Args:
        endpoint: the service, and as whom.
        run: what it is to be.
        parent: the run in whose block it is entered, or None.
        client: asks the service; None makes one.

    Raises:
        ResourceInUseError: a live run has this name.
        ClientError: the service refused it for another reason.
    """
    created = RunCreated(
        run["run_id"],
        run["experiment_name"],
        run["run_name"],
        uuid.uuid4().hex,
        # Said again in the run's own stream, where they count: until then lists have them here.
        tags=run["tags"],
        parent_run_id=None if parent is None else parent.run_id,
    )
    is_created = True
    try:
        limits = Limits.from_json(dict(send_command(endpoint, created, client)["limits"]))
    except UnavailableError as exc:
        if not isinstance(exc.__cause__, OSError) or isinstance(exc.__cause__, TimeoutError):
            # Somebody is there, so that the sender may find nothing to say, or not for long.
            notice_logger().warning(
                "the service does not create the run now; it is kept and created later",
                run=f"{created.experiment_name}/{created.run_name}",
                reason=exc.message,
            )
        # Nobody decides: the run is kept in the spool under its own id and told later.
        limits, is_created = known_policy(endpoint.url), False
    kept = under_policy(endpoint, replace(created, if_taken="keep"))
    version = EVENT_VERSIONS["run_created"]
    catalog = CatalogEvent(now_us(), body_json(kept).decode(), version)
    first = RunStarted(
        run["experiment_name"], run["run_name"], limits, host=endpoint.host, pid=os.getpid()
    )
    state = RunState(limits=limits)
    return Opening(first, state, is_owner=True, catalog=catalog, is_created=is_created)


def resume_run(endpoint: Endpoint, state: RunState) -> Opening:
    """Return how a new owner goes on with an existing run."""
    return Opening(RunResumed(endpoint.host, os.getpid()), state, is_owner=True)


def join_run(endpoint: Endpoint, state: RunState) -> Opening:
    """Return how another handle logs into a run whose owner goes on."""
    return Opening(RunJoined(endpoint.host, os.getpid()), state, is_owner=False)


def policy_of(endpoint: Endpoint, run: RunAnswer) -> Limits:
    """Return a run's own policy; before its start is applied, the one that new runs get."""
    if run["limits"] is not None:
        return Limits.from_json(dict(run["limits"]))
    with contextlib.suppress(UnavailableError):
        note_policy(endpoint.url, Client(endpoint).policy())
    return known_policy(endpoint.url)


def state_of(run: RunAnswer, limits: Limits) -> RunState:
    """Return what an answer of the service tells the rules of a run with this policy."""
    return RunState(
        limits=limits,
        parameters=run["parameters"],
        points=run["points"],
        tags=run["tags"],
        artifacts={
            one["name"]: ArtifactState(
                artifact_content(one["sha256"], one["uri"], ModelInfo(**(one["model"] or {}))),
                one["version"],
            )
            for one in run["artifacts"]
        },
    )


def new_meta(
    endpoint: Endpoint,
    run: RunAnswer,
    writer_id: str | None = None,
    catalog: CatalogEvent | None = None,
) -> SpoolMeta:
    """Return the facts of a writer of a run, a new one or the one that is named."""
    return SpoolMeta(
        writer_id=writer_id or new_id(),
        run_id=run["run_id"],
        account=endpoint.account,
        user=endpoint.user,
        experiment_name=run["experiment_name"],
        run_name=run["run_name"],
        url=endpoint.url,
        kafka=endpoint.kafka,
        catalog=catalog,
    )


def parent_for(endpoint: Endpoint) -> Run | None:
    """Return the current run if a new one on this service is its child."""
    current = current_run()
    if current is None:
        return None
    its = current.endpoint
    return current if (its.url, its.account) == (endpoint.url, endpoint.account) else None


def ending_of(error: BaseException | None, *, is_owner: bool) -> RunEnded:
    """Return the event for leaving a block, with or without an exception.

    Two exceptions are no failure. `sys.exit()` and `sys.exit(0)` end a program that says itself
    that all is well; so does a child made by fork that shares the run. GeneratorExit tells a
    generator that holds the block that nobody asks it for more, as after a `break`, or at the end
    of a `zip` with something shorter. Most such generators never end otherwise, and Python's own
    word is that it is "technically not an error". The price: an exception in the loop around such
    a generator looks the same from in here; hold the run outside that loop to have it recorded.

    Any other code of `sys.exit` is Failed, and the signal is named for which it stands. SIGTERM
    itself is left to the program: a library that took it would change how the program ends, and
    Python's default action, like SIGKILL, leaves a run in progress that is shown as stale. A
    handler that calls `sys.exit(128 + number)`, the usual one, has the run ended and named.

    Source:
        https://docs.python.org/3/library/exceptions.html#GeneratorExit
    """
    if error is None or isinstance(error, GeneratorExit) or _is_clean_exit(error):
        return RunEnded("Completed", is_owner=is_owner)
    return RunEnded("Failed", failure_text(error), is_owner=is_owner)


def _is_clean_exit(error: BaseException) -> bool:
    if not isinstance(error, SystemExit):
        return False
    # As the interpreter sees it: any other object is printed, and the program has failed.
    return error.code is None or (isinstance(error.code, int) and error.code == 0)


def _signal_of(code: object) -> str:
    """Return which signal an exit code stands for: 128 + n to a shell, -n to `subprocess`."""
    if isinstance(code, int) and (code < 0 or code > SIGNAL_EXIT):
        with contextlib.suppress(ValueError):  # no signal has this number
            number = signal.Signals(-code if code < 0 else code - SIGNAL_EXIT)
            return f", stopped by {number.name}"
    return ""


def failure_text(error: BaseException) -> str:
    """Return what is kept of an exception: never empty, at most 1024 characters, storable."""
    kind = type(error).__name__
    # Given as a plain exception its text is str(error) and no suggestion; a broken __str__, which
    # must not hide the user's error, is caught in there.
    text = str(TracebackException(Exception, error, None)).replace(_NO_TEXT, "")
    if isinstance(error, KeyboardInterrupt):
        text = f"{kind}: stopped by {signal.SIGINT.name}"
    elif isinstance(error, SystemExit):
        text = f"{kind}: {text}{_signal_of(error.code)}"
    elif isinstance(error, asyncio.CancelledError):
        text = f"{kind}: the task was cancelled{text and ', '}{text}"
    storable = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return (storable if storable.strip() else kind)[:FAILURE_MESSAGE_CHARS_MAX]

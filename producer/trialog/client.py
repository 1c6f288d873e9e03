"""Questions to the service over HTTP, and commands that need their verdict now.

Blocks while it waits for an answer, so that nothing on the path of a log call may use it. Every
answer that is an error becomes the exception the tree in `trialog_schemas.errors` has for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote, urlencode

import orjson

from trialog.pages import pages
from trialog.slow_answer import said_when_slow
from trialog_schemas.errors import SnapshotPendingError, UnavailableError, error_from_code
from trialog_schemas.events import NIL_ID
from trialog_schemas.limits import Limits
from trialog_schemas.wire import frame, next_record, stream_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import urllib3

    from trialog.answers import (
        AppliedAnswer,
        CommandAnswer,
        DurabilityAnswer,
        EventAnswer,
        EventPage,
        ExperimentAnswer,
        ExperimentPage,
        Number,
        PolicyAnswer,
        RejectionAnswer,
        RejectionPage,
        RunAnswer,
        RunPage,
        SeriesPage,
    )
    from trialog.pages import Paged
    from trialog.settings import Endpoint
    from trialog_schemas.events import CatalogBody

    Parameter = str | int | float | None
    Request = Callable[[str, str, bytes | None, Mapping[str, str]], tuple[int, bytes]]

Page = TypeVar("Page")

RECORDS_TYPE = "application/x-trialog-records"
CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 30.0
WORD_AFTER_S = 5.0
"""How long somebody waits for an answer before it is said that the service is slow."""

PENDING_PAUSE_S = 0.2
"""The pause before tables of the past that are being made are asked for again."""

COMMAND_WAIT_S = 10.0
"""How long the service may wait for a verdict before it answers without one."""

_SENDERS_PATHS = ("/api/v1/records", "/api/v1/artifacts/", "/api/v1/applied", "/api/v1/durability")
"""What is asked in the background, for which the sender has words of its own, or is to wait."""

OK_BELOW = 300
"""No answer of a trialog service is a redirection; a login page's must not pass for a yes."""

TRY_AGAIN_FROM = 500
TRY_AGAIN = frozenset((408, 429))
"""Statuses of requests that may succeed when they are sent again, with those from 500 on."""


class Client:
    """Asks one service. Cheap to make: clients of one process share their connections.

    Args:
        endpoint: the service, and as whom.
        request: sends a request; None does it over HTTP.
        word_after_s: how long to wait for an answer before that is said.
        as_of: the moment that all questions are about, a time or positions; None is the present.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        request: Request | None = None,
        word_after_s: float = WORD_AFTER_S,
        as_of: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._word_after_s = word_after_s
        self._as_of = as_of
        self._request = request or request_over_http

    @property
    def as_of(self) -> str | None:
        """The moment of all answers, from the first one on as the service names it: exactly."""
        return self._as_of

    def command(self, writer_id: str, at_us: int, body: CatalogBody) -> CommandAnswer:
        """Append an event of the catalog and wait for its verdict.

        Raises:
            UnavailableError: the service cannot be reached, or no verdict came in time.
        """
        end = self._endpoint
        start = stream_start(end.account, end.user, NIL_ID, writer_id)
        record, _ = next_record(start, [(at_us, body)])
        answer = cast(
            "CommandAnswer",
            self._ask("POST", "/api/v1/commands", {"wait_s": COMMAND_WAIT_S}, body=frame([record])),
        )
        if not answer["applied"]:
            raise UnavailableError(
                f"the service at {end.url} took the command but gave no verdict within "
                f"{COMMAND_WAIT_S:g} s; is a worker running?"
            )
        return answer

    def policy(self) -> Limits:
        """Return the limits that new runs get."""
        answer = cast("PolicyAnswer", self._ask("GET", "/api/v1/policy"))
        return Limits.from_json(dict(answer["limits"]))

    def experiments(self, parameters: Mapping[str, Parameter]) -> ExperimentPage:
        """Return a page of experiments."""
        return cast("ExperimentPage", self._ask("GET", "/api/v1/experiments", parameters))

    def experiment(self, name: str) -> ExperimentAnswer:
        """Return one experiment by name."""
        path = f"/api/v1/experiments/{_segment(name)}"
        return cast("ExperimentAnswer", self._ask("GET", path))

    def runs(self, experiment_name: str, parameters: Mapping[str, Parameter]) -> RunPage:
        """Return a page of an experiment's runs."""
        path = f"/api/v1/experiments/{_segment(experiment_name)}/runs"
        return cast("RunPage", self._ask("GET", path, parameters))

    def search(self, experiment_name: str, question: Mapping[str, Parameter]) -> RunPage:
        """Return a page of the runs that a filter finds."""
        path = f"/api/v1/experiments/{_segment(experiment_name)}/runs/search"
        asked = {name: value for name, value in question.items() if value is not None}
        body = orjson.dumps(asked)
        return cast("RunPage", self._ask("POST", path, body=body, body_type="application/json"))

    def run(self, experiment_name: str, run_name: str, positions: Sequence[str] = ()) -> RunAnswer:
        """Return one run by name, as it is once the positions are applied."""
        path = f"/api/v1/experiments/{_segment(experiment_name)}/runs/{_segment(run_name)}"
        return cast("RunAnswer", self._ask("GET", path, positions=positions))

    def run_by_id(self, run_id: str, positions: Sequence[str] = ()) -> RunAnswer:
        """Return one run by id, as it is once the positions are applied."""
        return cast("RunAnswer", self._ask("GET", f"/api/v1/runs/{run_id}", positions=positions))

    def applied(
        self, positions: Sequence[str], *, run_id: str, writer_id: str, wait_s: float
    ) -> AppliedAnswer:
        """Tell whether the positions are applied, and what was refused of this writer."""
        pairs: list[tuple[str, Parameter]] = [("position", token) for token in positions]
        pairs += [("run", run_id), ("writer", writer_id), ("wait_s", wait_s)]
        return cast("AppliedAnswer", self._ask("GET", "/api/v1/applied", pairs))

    def durability(
        self, writers: Sequence[tuple[str, str]], positions: Sequence[str], wait_s: float
    ) -> DurabilityAnswer:
        """Tell how far writers (run and id of each) are, once the positions are applied."""
        asked = [{"run_id": run_id, "writer_id": writer_id} for run_id, writer_id in writers]
        return cast(
            "DurabilityAnswer",
            self._ask(
                "POST",
                "/api/v1/durability",
                {"wait_s": wait_s},
                body=orjson.dumps({"writers": asked, "positions": list(positions)}),
                body_type="application/json",
            ),
        )

    def rejections(self, run_id: str, positions: Sequence[str] = ()) -> Iterator[RejectionAnswer]:
        """Yield all refusals of a run."""
        path = f"/api/v1/runs/{run_id}/rejections"
        for page in self._pages(path, {}, positions):
            yield from cast("RejectionPage", page)["rejections"]

    def events(self, run_id: str) -> Iterator[EventAnswer]:
        """Yield all events of a run as they are in the log."""
        for page in self._pages(f"/api/v1/runs/{run_id}/events", {}):
            yield from cast("EventPage", page)["events"]

    def series(self, run_id: str, name: str, positions: Sequence[str] = ()) -> Iterator[SeriesPage]:
        """Yield a metric's series page by page, in order of step, then arrival."""
        path = f"/api/v1/runs/{run_id}/series"
        for page in self._pages(path, {"name": name}, positions):
            yield cast("SeriesPage", page)

    def read_artifact(
        self, run_id: str, name: str, version: int | None, positions: Sequence[str] = ()
    ) -> bytes:
        """Return an artifact's bytes; without a version, of the newest one."""
        return self._exchange(
            "GET",
            f"/api/v1/runs/{run_id}/artifacts/content",
            {"name": name, "version": version},
            headers=_position_header(positions),
        )

    def put_artifact(self, sha256: str, content: bytes) -> None:
        """Store an artifact's bytes under their digest."""
        # Its answer is read: what is no trialog service may take anything and keep nothing.
        self._ask(
            "PUT",
            f"/api/v1/artifacts/{sha256}",
            body=content,
            body_type="application/octet-stream",
        )

    def send_records(self, framed: bytes) -> list[dict[str, str]]:
        """Append framed records to the log; return a receipt for each."""
        answer = self._ask("POST", "/api/v1/records", body=framed)
        return cast("dict[str, list[dict[str, str]]]", answer)["receipts"]

    def _pages(
        self, path: str, parameters: Mapping[str, Parameter], positions: Sequence[str] = ()
    ) -> Iterator[Paged]:
        def ask(token: str | None) -> Paged:
            asked = {**parameters, "next_token": token}
            return cast("Paged", self._ask("GET", path, asked, positions=positions))

        return pages(ask)

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Parameter] | Sequence[tuple[str, Parameter]] = (),
        *,
        body: bytes | None = None,
        body_type: str = RECORDS_TYPE,
        positions: Sequence[str] = (),
    ) -> object:
        headers = _position_header(positions)
        if body is not None:
            headers["Content-Type"] = body_type
        raw = self._exchange(method, path, parameters, body=body, headers=headers)
        try:
            answer = cast("object", orjson.loads(raw))
            if self._as_of is not None and isinstance(answer, dict):
                # A time may have a page more when the next is asked for; positions have not.
                self._as_of = answer.get("as_of", self._as_of)
            return answer
        except orjson.JSONDecodeError as exc:
            raise UnavailableError(
                f"what answers at {self._endpoint.url} is no trialog service; check TRIALOG_URL"
            ) from exc

    def _exchange(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Parameter] | Sequence[tuple[str, Parameter]] = (),
        *,
        body: bytes | None = None,
        headers: dict[str, str],
    ) -> bytes:
        pairs = list(parameters.items() if hasattr(parameters, "items") else parameters)
        if self._as_of is not None:
            pairs.append(("as_of", self._as_of))
        query = urlencode([(name, value) for name, value in pairs if value is not None])
        url = f"{self._endpoint.url}{path}" + (f"?{query}" if query else "")
        if self._endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        while True:
            is_quiet = path.startswith(_SENDERS_PATHS)
            status, data = self._send(method, url, body, headers, is_quiet=is_quiet)
            if status < OK_BELOW:
                return data
            error = _error_of(status, data, self._endpoint.url)
            if not isinstance(error, SnapshotPendingError):
                raise error
            # A service that makes the tables says so every few seconds, or fails otherwise.
            time.sleep(PENDING_PAUSE_S)

    def _send(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], *, is_quiet: bool
    ) -> tuple[int, bytes]:
        try:
            with (
                contextlib.nullcontext()
                if is_quiet
                else said_when_slow(self._endpoint, self._word_after_s)
            ):
                return self._request(method, url, body, headers)
        except TimeoutError as exc:
            raise UnavailableError(
                f"the service at {self._endpoint.url} does not answer: it takes connections and "
                f"was silent for {ANSWER_TIMEOUT_S:g} s; see what holds it, or start it again"
            ) from exc
        except OSError as exc:
            raise UnavailableError(
                f"no trialog service can be reached at {self._endpoint.url}; "
                "start one with `trialog up` or set TRIALOG_URL"
            ) from exc


def number(value: Number | None) -> float:
    """Return a number of an answer; the texts for NaN and ±Inf become these, None NaN."""
    return math.nan if value is None else float(value)


def request_over_http(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> tuple[int, bytes]:
    """Send a request and wait for its answer; return status and body.

    Raises:
        TimeoutError: somebody took it, and no answer came in time.
        OSError: nobody took it.
    """
    import urllib3  # noqa: PLC0415  a program that only logs to Kafka never needs it

    try:
        answer = _connections().request(
            method,
            url,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=answer_timeout_s),
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.ReadTimeoutError as exc:
        raise TimeoutError(str(exc)) from exc
    except urllib3.exceptions.HTTPError as exc:
        raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc
    return answer.status, answer.data


class _Connections:
    """The connections of this process; a child made by fork opens its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._pool: urllib3.PoolManager | None = None

    def __call__(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415

        with self._lock:
            if self._pool is None or self._pid != os.getpid():
                self._pool = urllib3.PoolManager(num_pools=4, maxsize=16, block=False)
                self._pid = os.getpid()
            return self._pool

    def forget(self) -> None:
        """Begin anew in a child made by fork, whose copy of the lock may be taken for good."""
        self._lock = threading.Lock()
        self._pool = None


_connections = _Connections()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_connections.forget)


def _error_of(status: int, raw: bytes, url: str) -> Exception:
    try:
        error = orjson.loads(raw)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return UnavailableError(
            f"what answers at {url} is no trialog service (status {status}); check TRIALOG_URL"
        )
    if code == SnapshotPendingError.code:
        return SnapshotPendingError(message)
    if status >= TRY_AGAIN_FROM or status in TRY_AGAIN:
        return UnavailableError(message)  # whatever it says: a fault of the service is no refusal
    facts = {key: str(error[key]) for key in ("field", "value", "limit") if error.get(key)}
    return error_from_code(code, message, facts)  # type: ignore[arg-type]  # keys as in ErrorFacts


def _position_header(positions: Sequence[str]) -> dict[str, str]:
    return {"Trialog-Position": ",".join(positions)} if positions else {}


def _segment(text: str) -> str:
    return quote(text, safe="")

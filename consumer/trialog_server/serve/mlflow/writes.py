"""Writes of MLflow's clients: judged, appended, and waited for until they are applied.

A client hears the verdict in the answer to its own request, and whatever it reads next has all that
it wrote. Judged twice: early, by what is applied, so that a request is taken whole or not at all;
and by the projection, with authority, whose refusal is the answer where another client came first.
Must not know how requests look.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

# pydantic reads this class for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

from trialog.ids import now_us
from trialog.refusals import refusal_error
from trialog.run_writer import sha256_of
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError
from trialog_schemas.events import (
    NIL_ID,
    ArtifactLogged,
    ParametersLogged,
    Rejection,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import TAG_VALUE_CHARS_MAX
from trialog_schemas.names import check_not_reserved
from trialog_schemas.rules import RunState, decide_body
from trialog_server.read.check_applied import check_applied
from trialog_server.read.list_rejections import writer_rejections
from trialog_server.read.run_to_write import run_to_write
from trialog_server.serve.mlflow.long_values import (
    JSON_TYPE,
    LONG_VALUES_ARTIFACT,
    long_values_document,
    shortened,
)
from trialog_server.serve.mlflow.shapes import parameter_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from trialog_schemas.events import CatalogBody, MetricsLogged, RunBody, RunCreated
    from trialog_schemas.names import ParameterValue
    from trialog_server.ingest.run_streams import Appended
    from trialog_server.read.run_to_write import RunToWrite
    from trialog_server.serve.service import Service


class NothingJSON(TypedDict):
    """What MLflow answers a write of which there is nothing to tell."""


APPLIED_WAIT_S = 10.0
"""How long a write waits for the projection before its client is told to ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What one request logs to a run, in the order in which it is judged."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    metrics: MetricsLogged | None = None


class RunWrites:
    """Writes to the runs of one account.

    Args:
        service: what they go to.
        account: whose runs they are.
        wait_s: how long each waits until it is applied.
    """

    def __init__(self, service: Service, account: str, wait_s: float = APPLIED_WAIT_S) -> None:
        self._service = service
        self._account = account
        self._wait_s = wait_s

    async def find(self, run_id: UUID) -> RunToWrite:
        """Return a live run.

        Raises:
            ResourceNotFoundError: there is none of that id.
        """
        return await self._read(run_id)

    async def _read(
        self, run_id: UUID, *, with_parameters: bool = False, with_artifacts: bool = False
    ) -> RunToWrite:
        return await run_to_write(
            self._service.pool,
            self._account,
            run_id,
            policy=self._service.terms.limits,
            with_parameters=with_parameters,
            with_artifacts=with_artifacts,
        )

    async def log(self, run_id: UUID, logged: Logged, request: bytes | None = None) -> None:
        """Log all or nothing.

        Args:
            run_id: the run.
            logged: what is logged.
            request: tells a request that may not be done twice from all others.

        Raises:
            ResourceNotFoundError: there is no such run.
            ClientError: what the rules refuse; nothing was logged.
            UnavailableError: it is not known to be logged; the same request may come again.
        """
        streams = self._service.streams
        appended = None if request is None else await streams.again(request)
        if appended is not None:
            await self._wait_verdict(appended, run_id.hex)
            return
        check_not_reserved([*logged.tags, *logged.removed])
        run = await self._read(run_id, with_parameters=bool(logged.parameters))
        if not any(_long(run.state, logged.parameters, logged.tags)):
            await self._append(run, logged, request)
            return
        # The artifact with the whole values grows; of two at once each would leave out the other's.
        async with streams.turn(run.run_id):
            run = await self._read(
                run_id, with_parameters=bool(logged.parameters), with_artifacts=True
            )
            await self._append(run, logged, request)

    async def _append(self, run: RunToWrite, logged: Logged, request: bytes | None) -> None:
        """Append what the rules accept, as one record, and wait for the verdict."""
        at_us = now_us()
        told = [(at_us, body) for body in await self._accepted(run, logged)]
        if told:
            streams = self._service.streams
            appended = await streams.append(self._account, run.run_id, told, request)
            await self._wait_verdict(appended, run.run_id)

    async def record(self, run_id: UUID, told: Sequence[tuple[int, RunBody]]) -> None:
        """Record events of a run, each a time in µs and a body, and wait for the verdict.

        Raises:
            ClientError: what the rules refuse.
            UnavailableError: they are not known to be recorded.
        """
        appended = await self._service.streams.append(self._account, run_id.hex, told)
        await self._wait_verdict(appended, run_id.hex)

    async def command(self, user: str, body: CatalogBody, run_id: str = NIL_ID) -> None:
        """Record an event of the catalog and wait for its verdict.

        Raises:
            ClientError: what the rules refuse.
            UnavailableError: it is not known to be recorded.
        """
        streams = self._service.streams
        appended = await streams.append_command(self._account, user, now_us(), body)
        await self._wait_verdict(appended, NIL_ID, run_id)

    async def create(self, user: str, created: RunCreated, started_at_us: int) -> None:
        """Create a run that is in progress since then; its tags may be of any length.

        Creating it once more under the same id changes nothing.

        Raises:
            ClientError: what the rules refuse; there is no such run.
            UnavailableError: the run is not known to exist.
        """
        limits = self._service.terms.limits
        check_not_reserved(created.tags)
        short = replace(created, tags=_short_tags(created.tags))
        new = RunState(limits=limits)
        for refused in decide_body(new, TagsSet(short.tags)).rejections[:1]:
            raise refusal_error(refused)
        await self.command(user, short, created.run_id)
        bodies: list[RunBody] = [RunStarted(created.experiment_name, created.run_name, limits)]
        if short.tags:
            bodies.append(TagsSet(short.tags))
        bodies += await self._long_values(new, {}, created.tags)
        await self.record(UUID(created.run_id), [(started_at_us, body) for body in bodies])

    async def _accepted(self, run: RunToWrite, logged: Logged) -> list[RunBody]:
        """Return what the rules accept of what is logged.

        Raises:
            ClientError: they refuse something; the attempt is recorded.
        """
        fresh = _but_same(logged.parameters, run.state.parameters)
        chars_max = run.state.limits.parameter_value_chars_max
        bodies: list[RunBody] = []
        if fresh:
            bodies.append(
                ParametersLogged(
                    {name: shortened(value, chars_max) for name, value in fresh.items()}
                )
            )
        if logged.tags or logged.removed:
            bodies.append(TagsSet(_short_tags(logged.tags), logged.removed))
        if logged.metrics is not None:
            bodies.append(logged.metrics)
        accepted: list[RunBody] = []
        for body in bodies:
            verdict = decide_body(run.state, body)
            for refused in verdict.rejections[:1]:
                await self.refuse(run, refused)
            if verdict.accepted is not None:
                accepted.append(body)
        return accepted + await self._long_values(run.state, fresh, logged.tags)

    async def refuse(self, run: RunToWrite, refused: Rejection) -> NoReturn:
        """Record that a call on a run was refused, and raise it.

        Raises:
            ClientError: the error of that refusal.
        """
        # A slip of the pen leaves no trace, as with the SDK; what the rules refuse is a fact.
        if refused.code != "invalid":
            with contextlib.suppress(UnavailableError):
                await self._service.streams.append_refused(self._account, run.run_id, refused)
        raise refusal_error(refused)

    async def _long_values(
        self, state: RunState, parameters: Mapping[str, str], tags: Mapping[str, str]
    ) -> list[RunBody]:
        """Store what is too long for the run, and return the event of the artifact that has it."""
        long_parameters, long_tags = _long(state, parameters, tags)
        if not long_parameters and not long_tags:
            return []
        limits = state.limits

        def grow(before: bytes | None) -> bytes:
            document = long_values_document(before, long_parameters, long_tags)
            # The versions before keep what is not in this one.
            is_large = before is not None and len(document) > limits.artifact_bytes_max
            return grow(None) if is_large else document

        body = await self._grown(state, LONG_VALUES_ARTIFACT, grow, is_output=True)
        # What is refused of it is recorded all the same, so that it is seen; the run does not fail.
        return [] if body is None else [body]

    async def log_input_document(
        self, run_id: UUID, name: str, grow: Callable[[bytes | None], bytes]
    ) -> None:
        """Record the next version of a JSON artifact that tells what a run has used.

        Args:
            run_id: the run.
            name: of the artifact.
            grow: makes the next version of the newest one, of None the first.

        Raises:
            ResourceNotFoundError: there is no such run.
            ClientError: the rules refuse the artifact.
            UnavailableError: it is not known to be recorded.
        """
        async with self._service.streams.turn(run_id.hex):
            run = await self._read(run_id, with_artifacts=True)
            body = await self._grown(run.state, name, grow, is_output=False)
            if body is None:
                return
            for refused in decide_body(run.state, body).rejections[:1]:
                await self.refuse(run, refused)
            await self.record(run_id, [(now_us(), body)])

    async def _grown(
        self,
        state: RunState,
        name: str,
        grow: Callable[[bytes | None], bytes],
        *,
        is_output: bool,
    ) -> ArtifactLogged | None:
        """Store the next version of a JSON artifact and return its event; None: it is no other."""
        newest = state.artifacts.get(name)
        document = grow(None if newest is None else await self.bytes_of(newest.content))
        digest = sha256_of(document)
        body = ArtifactLogged(name, "artifact", JSON_TYPE, is_output, digest, len(document))
        verdict = decide_body(state, body)
        if verdict.accepted is not None:
            await self.store_bytes(digest, _once(document))
        return body if verdict.accepted is not None or verdict.rejections else None

    async def store_bytes(self, digest: str, chunks: AsyncIterator[bytes]) -> None:
        """Store an artifact's bytes, unless they are there."""
        if await self._service.store.has(digest) is None:
            bytes_max = self._service.terms.artifact_bytes_max
            await self._service.store.put_stream(digest, chunks, bytes_max)

    async def bytes_of(self, digest: str) -> bytes | None:
        """Return an artifact's bytes, or None if the store has lost them."""
        with contextlib.suppress(ResourceNotFoundError):
            return b"".join([part async for part in await self._service.store.get_stream(digest)])
        return None

    async def _wait_verdict(self, appended: Appended, *run_ids: str) -> None:
        """Wait until what was appended is applied.

        Raises:
            ClientError: what the rules refused of it.
            UnavailableError: it is not applied in time.
        """
        if not await self._service.applied.wait([appended.position], self._wait_s):
            raise UnavailableError(
                f"what was sent is recorded, and not applied after {self._wait_s:g} s; the "
                "projection is behind, send the same again"
            )
        last_seq = appended.seqs[1]
        await check_applied(
            self._service.pool, run_ids[0], appended.writer_id, last_seq, appended.position
        )
        for told in await writer_rejections(
            self._service.pool, run_ids, appended.writer_id, appended.seqs
        ):
            if told.name != LONG_VALUES_ARTIFACT:
                raise refusal_error(
                    Rejection(told.code, told.message, told.name, told.value, told.facts)
                )


def _but_same(parameters: Mapping[str, str], known: Mapping[str, ParameterValue]) -> dict[str, str]:
    """Return parameters but those that the run has under this very text.

    MLflow's values are texts: the number 0.1 that the SDK logged is `0.1` to its clients.
    """
    return {
        name: value
        for name, value in parameters.items()
        if name not in known or parameter_text(known[name]) != value
    }


def _long(
    state: RunState, parameters: Mapping[str, str], tags: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters and the tags that are longer than the run may have them."""
    chars_max = state.limits.parameter_value_chars_max
    return (
        {name: text for name, text in parameters.items() if len(text) > chars_max},
        {key: text for key, text in tags.items() if len(text) > TAG_VALUE_CHARS_MAX},
    )


def _short_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: shortened(value, TAG_VALUE_CHARS_MAX) for key, value in tags.items()}


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content

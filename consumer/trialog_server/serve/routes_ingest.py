"""Routes that write: records, catalog commands, artifacts' bytes.

The records route is the hot one: a plain Starlette route, no model between body and gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import ValidationError, error_from_code
from trialog_schemas.events import NIL_ID, Event, ExperimentCreated, RunCreated, RunDeleted
from trialog_schemas.wire import CATALOG_TOPIC, Position, unframe
from trialog_server.artifacts import check_sha256
from trialog_server.read.check_applied import check_applied
from trialog_server.read.experiments import find_experiment
from trialog_server.read.list_rejections import writer_rejections
from trialog_server.read.list_runs import find_run
from trialog_server.serve.access import caller_of
from trialog_server.serve.bounds import COMMANDS_PATH, POLICY_PATH, RECORDS_PATH
from trialog_server.serve.errors import RequestRefusedError
from trialog_server.serve.questions import (
    WaitS,
    check_content_type,
    check_fields,
    checked_router,
    quiet_since,
)
from trialog_server.serve.shapes import (
    CommandJSON,
    ExperimentJSON,
    ReceiptJSON,
    ReceiptsJSON,
    RunJSON,
    StoredJSON,
    experiment_json,
    json_response,
    rejection_json,
    run_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter

    from trialog_schemas.decode import AnyEvent
    from trialog_schemas.limits import Limits
    from trialog_server.ingest.gateway import Receipt
    from trialog_server.serve.service import Service

RECORDS_TYPE = "application/x-trialog-records"

CREATED = 201

_BINARY_BODY = {
    "requestBody": {
        "required": True,
        "content": {RECORDS_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_ARTIFACT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class IngestRoutes:
    """The writing routes of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def hot_route(self) -> Route:
        """Return the route of framed records."""
        return Route(RECORDS_PATH, self.accept_records, methods=["POST"])

    def router(self) -> APIRouter:
        """Return the other writing routes, and a twin of the hot one, which describes it.

        The hot route comes first and answers; the twin never does.
        """
        router = checked_router("write")
        router.add_api_route(
            RECORDS_PATH,
            self.accept_records,
            methods=["POST"],
            response_model=ReceiptsJSON,
            openapi_extra=_BINARY_BODY,
        )
        router.add_api_route(
            COMMANDS_PATH,
            self.run_command,
            methods=["POST"],
            response_model=CommandJSON,
            openapi_extra=_BINARY_BODY,
        )
        router.add_api_route(
            "/api/v1/artifacts/{sha256}",
            self.put_artifact,
            methods=["PUT"],
            response_model=StoredJSON,
            responses={CREATED: {"description": "stored now; 200: it was there"}},
            openapi_extra=_ARTIFACT_BODY,
        )
        router.add_api_route(
            "/api/v1/artifacts/{sha256}", self.has_artifact, methods=["HEAD"], response_model=None
        )
        return router

    async def accept_records(self, request: Request) -> Response:
        """Append framed records to the log; the answer has a receipt for each."""
        check_fields(request, {})
        check_content_type(request, RECORDS_TYPE)
        framed = await request.body()
        account = caller_of(request).account
        receipts = await self._service.gateway.accept(framed, account=account)
        telemetry = self._service.telemetry
        telemetry.ingest_bytes.inc(len(framed))
        for receipt in receipts:
            outcome = "accepted" if isinstance(receipt, Position) else "refused"
            telemetry.ingest_records.labels(outcome).inc()
        content: ReceiptsJSON = {"receipts": [_receipt_json(receipt) for receipt in receipts]}
        return json_response(content)

    async def run_command(self, request: Request, wait_s: WaitS = 10.0) -> Response:
        """Append one framed catalog record and wait for its verdict.

        Rules that refuse are no HTTP errors: they are in `rejections`.
        """
        check_content_type(request, RECORDS_TYPE)
        framed = await request.body()
        account = caller_of(request).account
        writer_id, seqs, events = _command_events(framed)
        _check_policy(events, self._service.terms.limits)
        (receipt,) = await self._service.gateway.accept(framed, account=account)
        if not isinstance(receipt, Position):
            raise error_from_code(receipt.code, receipt.message)
        is_applied = await self._service.applied.wait([receipt], wait_s)
        if is_applied:
            await check_applied(self._service.pool, NIL_ID, writer_id, seqs[1], receipt)
        run_ids = [NIL_ID, *_run_ids(events)]
        rejections = (
            await writer_rejections(self._service.pool, run_ids, writer_id, seqs)
            if is_applied
            else ()
        )
        run, experiment = await self._outcome(account, events) if is_applied else (None, None)
        answer: CommandJSON = {
            "position": receipt.token(),
            "applied": is_applied,
            "rejections": [rejection_json(rejection) for rejection in rejections],
            "run": run,
            "experiment": experiment,
            "limits": self._service.terms.limits.to_json(),
        }
        return json_response(answer)

    async def put_artifact(
        self, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], request: Request
    ) -> Response:
        """Store an artifact's bytes under their SHA-256."""
        digest = check_sha256(sha256)
        size = await self._service.store.has(digest)
        if size is not None:
            async for _chunk in request.stream():
                pass  # the bytes are there; the client is let finish, so that it reads the answer
            stored: StoredJSON = {"sha256": digest, "size": size}
            return json_response(stored)
        size = await self._service.store.put_stream(
            digest, request.stream(), self._service.terms.artifact_bytes_max
        )
        stored = {"sha256": digest, "size": size}
        return json_response(stored, CREATED)

    async def has_artifact(
        self, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
    ) -> Response:
        """Tell whether an artifact's bytes are stored, so that nobody sends them twice."""
        size = await self._service.store.has(check_sha256(sha256))
        if size is None:
            return Response(status_code=404)
        return Response(headers={"Trialog-Size": str(size)})

    async def _outcome(
        self, account: str, events: Sequence[AnyEvent]
    ) -> tuple[RunJSON | None, ExperimentJSON | None]:
        """Return what the last event was about, as it is now."""
        pool = self._service.pool
        last = events[-1]
        match last.body if isinstance(last, Event) else None:
            case RunCreated() as created:
                run = await find_run(pool, account, created.run_id)
                experiment = await find_experiment(pool, account, name=created.experiment_name)
                return (
                    None if run is None else run_json(run, quiet_since(self._service)),
                    None if experiment is None else experiment_json(experiment),
                )
            case ExperimentCreated() as created:
                experiment = await find_experiment(
                    pool, account, experiment_id=created.experiment_id
                )
                return None, None if experiment is None else experiment_json(experiment)
        return None, None


def _command_events(framed: bytes) -> tuple[str, tuple[int, int], Sequence[AnyEvent]]:
    """Return writer, first and last seq, and the events of the one catalog record of a command.

    Raises:
        ValidationError: it is another number of records, or no record of the catalog.
        WireError: it is no record at all.
    """
    records = unframe(framed)
    if len(records) != 1:
        raise ValidationError(
            f"a command is one framed record, not {len(records)}; send them one by one",
            field="body",
            value=len(records),
            limit=1,
        )
    header, events = unpack_record(records[0])
    if header.topic != CATALOG_TOPIC:
        raise ValidationError(
            f"a command is a record of the catalog, this one is of run {header.run_id}; "
            f"send it to {RECORDS_PATH}",
            field="run",
            value=header.run_id,
            limit="the catalog",
        )
    return header.writer_id, (header.first_seq, header.first_seq + header.count - 1), events


def _check_policy(events: Sequence[AnyEvent], policy: Limits) -> None:
    """Refuse a command that would be judged by another policy than the one in force.

    The number stands in the event, so that a replay judges alike; nobody here may change it.
    """
    for event in events:
        body = event.body if isinstance(event, Event) else None
        if isinstance(body, ExperimentCreated | RunCreated) and (
            body.experiments_max != policy.experiments_max
        ):
            raise RequestRefusedError(
                f"experiments_max of the command is {body.experiments_max}, the policy in force "
                f"says {policy.experiments_max}; ask {POLICY_PATH} and send it again",
                code="PolicyChanged",
                status=409,
                facts={
                    "field": "experiments_max",
                    "value": str(body.experiments_max),
                    "limit": str(policy.experiments_max),
                },
            )


def _run_ids(events: Sequence[AnyEvent]) -> list[str]:
    bodies = [event.body for event in events if isinstance(event, Event)]
    return [body.run_id for body in bodies if isinstance(body, RunCreated | RunDeleted)]


def _receipt_json(receipt: Receipt) -> ReceiptJSON:
    if isinstance(receipt, Position):
        return {"position": receipt.token()}
    return {"code": receipt.code, "message": receipt.message}

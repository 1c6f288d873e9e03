"""What takes spools to the log: in which order, what is noted, and what a fault costs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, events_in, new_folder, steps_of
from trialog.shipper import Shipment, Shipper
from trialog.spool import Spool
from trialog.spool_ack import Ack
from trialog.spool_facts import CatalogEvent
from trialog.spool_folder import SpoolFolder
from trialog.stream import StreamReader
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    UnavailableError,
    ValidationError,
)
from trialog_schemas.events import ArtifactLogged, RunCreated, UnknownEvent
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position, body_json

if TYPE_CHECKING:
    from pathlib import Path

AWAY = UnavailableError("the log is away")


@pytest.fixture
def log() -> MemoryTransport:
    """A log that takes everything."""
    return MemoryTransport()


@pytest.fixture
def service() -> MemoryService:
    """A service that stores everything."""
    return MemoryService()


@pytest.fixture
def shipper(log: MemoryTransport, service: MemoryService) -> Shipper:
    """A shipper whose log is the service's."""
    return Shipper(service, log)


def open_shipment(folder: SpoolFolder) -> tuple[Shipment, Spool]:
    """Return a spool that is written to, and its shipment."""
    spool = Spool(folder)
    return Shipment(folder, spool, StreamReader(folder, is_checked=False)), spool


def dead_shipment(folder: SpoolFolder) -> Shipment:
    """Return the shipment of a spool whose writer is dead."""
    return Shipment(folder, None, StreamReader(folder, is_checked=True))


def log_steps(spool: Spool, *steps: int) -> None:
    """Log a point for each step."""
    for step in steps:
        spool.append_point("loss", step, step, 0.5)


def log_artifact(spool: Spool, text: str) -> str:
    """Log an artifact as a run does: bytes first, then the event; return its digest."""
    content = text.encode()
    digest = hashlib.sha256(content).hexdigest()
    spool.store_blob(digest, content)
    spool.append_event(
        ArtifactLogged("notes", "artifact", "text/plain", sha256=digest, size=len(content))
    )
    return digest


async def test_ship_sends_what_is_new_and_then_nothing(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """Each point is sent once, and a turn with nothing new sends nothing."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_steps(spool, 1, 2)
    assert await shipper.ship([shipment])
    log_steps(spool, 3)
    assert await shipper.ship([shipment])
    assert not await shipper.ship([shipment])
    assert steps_of(log.values(EVENTS_TOPIC)) == [1, 2, 3]
    assert len(log.sends) == 2
    assert shipment.is_acked
    assert not shipment.is_sent


async def test_ship_puts_many_spools_into_one_sending(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """A hundred quiet runs cost one round trip, not a hundred."""
    shipments = []
    for number in range(100):
        shipment, spool = open_shipment(new_folder(tmp_path, number))
        log_steps(spool, number)
        shipments.append(shipment)
    await shipper.ship(shipments)
    assert log.sends == [100]
    assert all(shipment.is_acked for shipment in shipments)


async def test_ship_of_a_closed_spool_is_all_of_it(shipper: Shipper, tmp_path: Path) -> None:
    """Only a spool to which nothing can come any more is sent as a whole."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_steps(spool, 1)
    await shipper.ship([shipment])
    spool.close()
    await shipper.ship([shipment])
    assert shipment.is_sent


# D12 K9
async def test_ship_of_a_dead_writers_spool_goes_on_where_the_log_has_it(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """An adopter sends the rest under the old writer, with the seqs that follow."""
    folder = new_folder(tmp_path)
    shipment, spool = open_shipment(folder)
    log_steps(spool, 1)
    await shipper.ship([shipment])
    log_steps(spool, 2)
    folder.release()
    adopted = SpoolFolder.adopt(folder.path)
    assert adopted is not None
    dead = dead_shipment(adopted)
    assert dead.positions == shipment.positions
    await shipper.ship([dead])
    events = events_in(log.values(EVENTS_TOPIC))
    assert [(event.writer_id, event.seq) for event in events] == [
        (folder.meta.writer_id, 1),
        (folder.meta.writer_id, 2),
    ]
    assert dead.is_sent


# K10
async def test_ship_while_the_log_is_away_notes_nothing_and_sends_all_later(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """What was read for a sending that failed is read again, with the same bytes."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_steps(spool, 1)
    log.fault = AWAY
    for step in (2, 3):
        with pytest.raises(UnavailableError):
            await shipper.ship([shipment])
        log_steps(spool, step)
    assert not shipment.is_acked
    log.fault = None
    await shipper.ship([shipment])
    assert steps_of(log.values(EVENTS_TOPIC)) == [1, 2, 3]
    assert [event.seq for event in events_in(log.values(EVENTS_TOPIC))] == [1, 2, 3]


# D12
async def test_ship_whose_answer_was_lost_sends_the_same_bytes_again(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """The log has the records twice, and the projection can tell that by their seqs."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_steps(spool, 1, 2)
    log.faults_after = [AWAY]
    with pytest.raises(UnavailableError):
        await shipper.ship([shipment])
    await shipper.ship([shipment])
    first, second = log.values(EVENTS_TOPIC)
    assert first == second


# D12
async def test_ship_by_an_adopter_after_a_lost_answer_sends_the_same_bytes(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """Killed between the send and its note, a process leaves what its adopter sends alike."""
    folder = new_folder(tmp_path)
    shipment, spool = open_shipment(folder)
    log_steps(spool, 1, 2)
    log.faults_after = [AWAY]
    with pytest.raises(UnavailableError):
        await shipper.ship([shipment])
    await shipper.ship([dead_shipment(folder)])
    first, second = log.values(EVENTS_TOPIC)
    assert first == second


@pytest.mark.parametrize("error", [AccessRefusedError("no such key"), ClientError("not so")])
async def test_ship_that_the_log_refuses_as_a_whole_raises_and_keeps_all(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path, error: ClientError
) -> None:
    """A wrong key is no reason to drop anything: once it is right, everything is sent."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_steps(spool, 1)
    log.fault = error
    with pytest.raises(type(error)):
        await shipper.ship([shipment])
    log.fault = None
    await shipper.ship([shipment])
    assert steps_of(log.values(EVENTS_TOPIC)) == [1]


async def test_ship_keeps_a_record_that_the_log_refuses_and_goes_on(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """One poisonous record costs itself: its bytes stay for people, the next ones are sent."""
    folder = new_folder(tmp_path)
    shipment, spool = open_shipment(folder)
    log_steps(spool, 1)
    log.refused = folder.meta.writer_id.encode()
    await shipper.ship([shipment])
    log.refused = None
    log_steps(spool, 2)
    await shipper.ship([shipment])
    assert steps_of(log.values(EVENTS_TOPIC)) == [2]
    assert shipment.refusals == ["a record that this log does not take"]
    (kept,) = (folder.path / "refused").iterdir()
    assert steps_of([kept.read_bytes()]) == [1]
    assert folder.has_refused


async def test_ship_of_one_broken_spool_does_not_keep_the_others(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """A folder that somebody deleted is the trouble of its run alone."""
    broken, spool = open_shipment(new_folder(tmp_path, 1))
    log_steps(spool, 1)
    sound, spool = open_shipment(new_folder(tmp_path, 2))
    log_steps(spool, 2)
    broken.folder.segment_path(1).unlink()
    broken.folder.path.rename(tmp_path / "elsewhere")
    await shipper.ship([broken, sound])
    assert steps_of(log.values(EVENTS_TOPIC)) == [2]
    assert broken.trouble is not None
    assert sound.trouble is None


async def test_trouble_ends_with_the_first_sending_that_succeeds(
    shipper: Shipper, service: MemoryService, tmp_path: Path
) -> None:
    """What was wrong with a spool is not said of it any more once it is mended."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_artifact(spool, "text")
    service.fault = AccessRefusedError("no such key")
    troubles = []
    for fault in (service.fault, None):
        service.fault = fault
        await shipper.ship([shipment])
        troubles.append(shipment.trouble)
    assert troubles == ["no such key", None]
    assert shipment.is_acked


async def test_ship_stores_artifacts_before_the_events_that_name_them(
    shipper: Shipper, log: MemoryTransport, service: MemoryService, tmp_path: Path
) -> None:
    """No reader finds an artifact whose bytes are not there; each is stored once."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    digest = log_artifact(spool, "text")
    service.fault = AWAY
    with pytest.raises(UnavailableError):
        await shipper.ship([shipment])
    assert log.records == []
    service.fault = None
    await shipper.ship([shipment])
    assert service.blobs == {digest: b"text"}
    assert len(log.records) == 1
    assert shipment.uploaded == {digest}


async def test_ship_to_a_log_of_its_own_sends_events_while_the_store_is_away(
    log: MemoryTransport, service: MemoryService, tmp_path: Path
) -> None:
    """On Kafka points do not wait for the service; the artifact does, and the run is not done."""
    shipper = Shipper(service, log, has_own_log=True)
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_artifact(spool, "text")
    service.fault = AWAY
    await shipper.ship([shipment])
    assert len(log.records) == 1
    assert shipper.store_fault == AWAY.message
    assert not shipment.is_acked


@pytest.mark.parametrize(
    "error", [ValidationError("the digest is another"), LimitExceededError("it is too large")]
)
async def test_ship_keeps_an_artifact_that_will_never_be_taken(
    shipper: Shipper,
    log: MemoryTransport,
    service: MemoryService,
    tmp_path: Path,
    error: ClientError,
) -> None:
    """Its bytes stay beside the spool, the reason is told, and the events are sent."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    digest = log_artifact(spool, "text")
    service.fault = error
    await shipper.ship([shipment])
    assert shipment.refusals == [error.message]
    assert (shipment.folder.path / "refused" / digest).read_bytes() == b"text"
    assert len(log.records) == 1


@pytest.mark.parametrize(
    "error", [AccessRefusedError("no such key"), ClientError("no such route", code="RouteNotFound")]
)
async def test_ship_keeps_an_artifact_waiting_for_what_can_be_mended(
    shipper: Shipper, service: MemoryService, tmp_path: Path, error: ClientError
) -> None:
    """A wrong key or an older service is no verdict on the artifact: it is sent later."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    digest = log_artifact(spool, "text")
    service.fault = error
    await shipper.ship([shipment])
    assert not shipment.folder.has_refused
    service.fault = None
    await shipper.ship([shipment])
    assert service.blobs == {digest: b"text"}


def folder_with_catalog(tmp_path: Path, version: int = 1) -> SpoolFolder:
    """The folder of a run that nobody was there to create."""
    created = RunCreated(META.run_id, "e", "r", "cd" * 16, if_taken="keep")
    catalog = CatalogEvent(77, body_json(created).decode(), version)
    fields = {name: getattr(META, name) for name in META.__slots__}
    return SpoolFolder.create(tmp_path, type(META)(**{**fields, "catalog": catalog}))


# B3
async def test_ship_creates_a_run_entered_without_a_service_once_and_first(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """The event that creates it comes before its records, and not again with the next ones."""
    folder = folder_with_catalog(tmp_path)
    shipment, spool = open_shipment(folder)
    for step in (1, 2):
        log_steps(spool, step)
        await shipper.ship([shipment])
    assert [record.topic for record in log.records] == [CATALOG_TOPIC, EVENTS_TOPIC, EVENTS_TOPIC]
    (created,) = events_in(log.values(CATALOG_TOPIC))
    assert isinstance(created.body, RunCreated)
    assert (created.body.run_id, created.at_us, created.seq) == (META.run_id, 77, 1)
    ack = folder.read_ack()
    assert ack is not None
    assert ack.is_catalog_acked


# K8
async def test_ship_sends_a_creation_in_the_version_it_was_kept_in(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """The release that sends it may write another version, of another body."""
    shipment, spool = open_shipment(folder_with_catalog(tmp_path, version=7))
    log_steps(spool, 1)
    await shipper.ship([shipment])
    (record,) = log.values(CATALOG_TOPIC)
    (created,) = unpack_record(record)[1]
    assert isinstance(created, UnknownEvent)
    assert (created.type, created.version) == ("run_created", 7)


# D12
async def test_ship_of_a_creation_whose_answer_was_lost_sends_the_same_bytes(
    shipper: Shipper, log: MemoryTransport, tmp_path: Path
) -> None:
    """It has a writer of its own, derived from the spool's: the second is a duplicate."""
    shipment, spool = open_shipment(folder_with_catalog(tmp_path))
    log_steps(spool, 1)
    log.faults_after = [AWAY]
    with pytest.raises(UnavailableError):
        await shipper.ship([shipment])
    await shipper.ship([shipment])
    first, second = log.values(CATALOG_TOPIC)
    assert first == second
    assert steps_of(log.values(EVENTS_TOPIC)) == [1]


async def test_ship_notes_where_the_newest_record_is(shipper: Shipper, tmp_path: Path) -> None:
    """Whoever adopts the spool can ask whether it is applied without sending anything."""
    folder = new_folder(tmp_path)
    shipment, spool = open_shipment(folder)
    for step in range(3):
        log_steps(spool, step)
        await shipper.ship([shipment])
    ack = folder.read_ack()
    assert isinstance(ack, Ack)
    assert (ack.partition, ack.log_offset) == (0, 2)
    assert dead_shipment(folder).positions == {(EVENTS_TOPIC, 0): Position(EVENTS_TOPIC, 0, 2)}


async def test_what_is_not_known_to_be_applied_is_overdue_after_a_while(
    shipper: Shipper, tmp_path: Path
) -> None:
    """Then the disk has to have it, too; nothing in the log is never overdue."""
    shipment, spool = open_shipment(new_folder(tmp_path))
    assert not shipment.is_overdue(-1.0)
    log_steps(spool, 1)
    await shipper.ship([shipment])
    assert shipment.is_overdue(-1.0)
    assert not shipment.is_overdue(60.0)


async def test_ship_tells_the_bytes_of_each_step(
    log: MemoryTransport, service: MemoryService, tmp_path: Path
) -> None:
    """Progress counts artifacts and records alike."""
    seen: list[int] = []
    shipper = Shipper(service, log, seen.append)
    shipment, spool = open_shipment(new_folder(tmp_path))
    log_artifact(spool, "12345")
    await shipper.ship([shipment])
    assert seen == [5, len(log.records[0].value)]

"""A log that has lost its end is fed again: how that is noticed, what is sent, what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, events_in, steps_of
from tests.unit.producer.test_cleaner import LARGE, Shop
from trialog import cleaner
from trialog.adoption import Adopter
from trialog.durability import Counting, durability_of
from trialog.settings import Session
from trialog.shipper import Shipment
from trialog.spool import Spool
from trialog.spool_facts import CatalogEvent
from trialog.spool_folder import SpoolFolder
from trialog.stream import StreamReader
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import ParametersLogged, RunCreated
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, body_json

if TYPE_CHECKING:
    from pathlib import Path


class Losing(Shop):
    """A shop whose log may lose its end, and whose service says what is left of it."""

    def lose(self, records: int) -> list[bytes]:
        """Take the last records out of the log; return them."""
        kept = len(self.log.records) - records
        lost = [record.value for record in self.log.records[kept:]]
        del self.log.records[kept:]
        self.service.log_ends["events:0"] = kept
        return lost

    def tell(self, shipment: Shipment) -> None:
        """Let the service have in its tables what is in the log."""
        seqs = {event.seq for event in events_in(self.log.values(EVENTS_TOPIC))}
        writer_id, last = shipment.folder.meta.writer_id, max(seqs, default=0)
        self.service.last_seqs[writer_id] = last
        self.service.missing[writer_id] = [[seq, seq] for seq in range(1, last) if seq not in seqs]
        self.service.log_ends["events:0"] = len(self.log.records)


@pytest.fixture
def shop(tmp_path: Path) -> Losing:
    """Everything that takes a spool to its end; every look is due."""
    made = Losing(tmp_path)
    made.cleaner = cleaner.Cleaner(made.service, look_interval_s=0)
    return made


async def send(shop: Losing, shipment: Shipment, spool: Spool, *steps: int) -> None:
    """Log points, each as a record of its own."""
    for step in steps:
        spool.append_point("loss", step, step, 0.5)
        await shop.shipper.ship([shipment])


def told(shop: Losing) -> list[int]:
    """Return the steps in the log, in its order."""
    return steps_of(shop.log.values(EVENTS_TOPIC))


# D12 K2
@pytest.mark.parametrize("is_refilled", [False, True])
async def test_what_the_log_lost_before_it_was_applied_is_sent_again(
    shop: Losing, is_refilled: bool
) -> None:
    """The same bytes, also where others' records took the places that were lost."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3)
    before = shop.log.values(EVENTS_TOPIC)
    shop.lose(2)
    shop.tell(shipment)
    if is_refilled:
        other, other_spool = shop.open(2)
        await send(shop, other, other_spool, 7, 8, 9)
        shop.service.log_ends.clear()
    assert await shop.clean(shipment) == []
    assert shipment.lost_from == 2
    assert shipment.acked < spool.end
    await shop.shipper.ship([shipment])
    assert shop.log.values(EVENTS_TOPIC)[-2:] == before[-2:]
    assert (shipment.is_acked, shipment.is_on_its_way) == (True, False)
    assert len(told(shop)) == (6 if is_refilled else 3)


# D12
async def test_log_that_was_cut_back_is_noticed_by_the_next_receipt(shop: Losing) -> None:
    """Nobody has to ask: a position behind an older one says it, and all of it comes in order."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3)
    shop.lose(2)
    await send(shop, shipment, spool, 4)
    assert shipment.acked < spool.end
    await shop.shipper.ship([shipment])
    assert told(shop) == [1, 4, 2, 3, 4]
    assert shipment.is_acked
    ack = shipment.folder.read_ack()
    assert ack is not None
    assert (ack.next_seq, ack.log_offset) == (5, 4)


# D12
async def test_hole_that_the_tables_tell_of_is_sent_again_once(shop: Losing) -> None:
    """What stands around it is left out; while it is not applied, it is not sent over and over."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3, 4)
    del shop.log.records[1:3]
    shop.tell(shipment)
    shop.service.log_ends.clear()
    await shop.clean(shipment)
    await shop.shipper.ship([shipment])
    assert told(shop) == [1, 4, 2, 3, 4]
    await shop.clean(shipment)
    assert not shipment.is_on_its_way
    assert not await shop.shipper.ship([shipment])
    shop.tell(shipment)
    await send(shop, shipment, spool, 5)
    await shop.clean(shipment)
    assert told(shop) == [1, 4, 2, 3, 4, 5]


# D12
async def test_what_is_never_applied_is_not_sent_again_for_ever(shop: Losing) -> None:
    """A service of another log would have it fill with copies. The spool stays.

    Once some of it came, it is counted anew.
    """
    shop.cleaner = cleaner.Cleaner(shop.service, look_interval_s=0, feed_pause_s=0)
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2)
    writer_id = shipment.folder.meta.writer_id
    shop.service.last_seqs[writer_id] = 0
    for _ in range(cleaner.FEEDS_MAX + 3):
        await shop.clean(shipment)
        await shop.shipper.ship([shipment])
    assert told(shop) == [1, 2] * (1 + cleaner.FEEDS_MAX)
    known = durability_of(shipment, spool, Counting(shipment, spool))
    assert (shipment.is_given_up, known.given_up) == (True, 2)
    assert "2 events given up" in str(known)
    shop.service.last_seqs[writer_id] = 1
    await shop.clean(shipment)
    await shop.shipper.ship([shipment])
    assert told(shop)[-2:] == [2, 2]
    assert durability_of(shipment, spool, Counting(shipment, spool)).given_up == 0
    for _ in range(cleaner.FEEDS_MAX):
        await shop.clean(shipment)
        await shop.shipper.ship([shipment])
    assert shipment.is_given_up
    shop.service.last_seqs[writer_id] = 2
    await shop.clean(shipment)
    await send(shop, shipment, spool, 3)
    known = durability_of(shipment, spool, Counting(shipment, spool))
    assert (known.accepted.events, known.applied.events, known.given_up) == (3, 2, 0)
    shop.service.last_seqs[writer_id] = 3
    spool.close()
    await shop.shipper.ship([shipment])
    assert shipment.folder.path.exists()
    assert shipment in [*await shop.clean(shipment), *await shop.clean(shipment)]


# D12 K9
async def test_run_that_has_ended_is_sent_again_before_its_folder_goes(shop: Losing) -> None:
    """Nothing is deleted on the word of a position that another record has taken."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2)
    spool.close()
    await shop.shipper.ship([shipment])
    shop.lose(1)
    shop.tell(shipment)
    shop.service.log_ends.clear()
    assert await shop.clean(shipment) == []
    assert shipment.folder.path.exists()
    assert not shipment.is_sent
    await shop.shipper.ship([shipment])
    shop.tell(shipment)
    assert await shop.clean(shipment) == [shipment]
    assert (told(shop), shipment.folder.path.exists()) == ([1, 2], False)


# D12
async def test_applied_events_that_the_log_lost_are_sent_again_as_far_as_the_spool_has_them(
    shop: Losing,
) -> None:
    """The tables have them, a replay of the log would not; segments that went are gone."""
    shipment, spool = shop.open()
    for value in "abc":  # each begins a segment of its own
        spool.append_event(ParametersLogged({value: LARGE}))
        await shop.shipper.ship([shipment])
    await send(shop, shipment, spool, 1, 2)
    assert await shop.clean(shipment) == []
    start = shipment.folder.segments()[0]
    assert start == shipment.reader.start.segment == shipment.acked.segment
    lost = shop.lose(5)
    await shop.clean(shipment)
    assert shipment.lost_from == shipment.reader.start.next_seq
    await shop.shipper.ship([shipment])
    kept = [event.seq for event in events_in(shop.log.values(EVENTS_TOPIC))]
    assert kept == list(range(shipment.reader.start.next_seq, 6))
    assert shop.log.values(EVENTS_TOPIC) == lost[-len(kept) :]


# D12 K9
async def test_adopter_feeds_a_log_that_lost_what_the_dead_had_sent(
    shop: Losing, tmp_path: Path
) -> None:
    """The spool of a killed program is whole until its events are applied."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3)
    writer_id = shipment.folder.meta.writer_id
    shop.lose(3)
    shop.service.last_seqs[writer_id], shop.service.log_ends["events:0"] = 0, 0
    shipment.folder.release()
    endpoint = Session(url=shipment.folder.meta.url, spool_dir=tmp_path).resolve({})
    adopter = Adopter(endpoint, shop.log, service=shop.service)

    report = await adopter.adopt(shipment.folder.path)
    assert (report.outcome, told(shop)) == ("unconfirmed", [1, 2, 3])
    shop.tell(shipment)
    assert (await adopter.adopt(shipment.folder.path)).outcome == "sent"
    assert told(shop) == [1, 2, 3]


async def test_feeding_that_is_broken_off_begins_anew(shop: Losing) -> None:
    """The log goes away amid it: nothing is taken for sent that was not."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3)
    shop.lose(3)
    shop.tell(shipment)
    await shop.clean(shipment)
    shop.log.faults_after = [UnavailableError("away")]
    with pytest.raises(UnavailableError):
        await shop.shipper.ship([shipment])
    assert shipment.acked < spool.end
    shop.lose(len(shop.log.records))
    await shop.shipper.ship([shipment])
    assert told(shop) == [1, 2, 3]
    assert shipment.is_acked


async def test_damaged_spool_feeds_nothing_wrong_and_stays(shop: Losing) -> None:
    """A lost record in front would give the next ones its seqs: they are not sent again at all."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1, 2, 3)
    folder = shipment.folder
    segment = folder.segment_path(1)
    raw = bytearray(segment.read_bytes())
    raw[16 + 24 + 20] ^= 1  # of the first point
    segment.write_bytes(raw)
    spool.append_point("loss", 4, 4, 0.5)
    dead = Shipment(folder, None, StreamReader(folder, is_checked=True))
    shop.lose(3)
    shop.tell(shipment)
    await shop.shipper.ship([dead])
    assert await shop.clean(dead) == []
    await shop.shipper.ship([dead])
    assert told(shop) == [4]
    assert "cannot be sent again" in str(dead.trouble)
    assert await shop.clean(dead) == []
    assert not dead.is_on_its_way
    assert folder.path.exists()


async def test_what_the_log_refuses_is_no_loss(shop: Losing) -> None:
    """It is kept beside the spool; the tables miss it, and it is not sent over and over."""
    shipment, spool = shop.open()
    await send(shop, shipment, spool, 1)
    shop.log.refused = shipment.folder.meta.writer_id.encode()
    await send(shop, shipment, spool, 2)
    shop.log.refused = None
    await send(shop, shipment, spool, 3)
    spool.close()
    await shop.shipper.ship([shipment])
    shop.tell(shipment)
    assert shop.service.missing[shipment.folder.meta.writer_id] == [[2, 2]]
    assert await shop.clean(shipment) == [shipment]
    assert told(shop) == [1, 3]


# D12
async def test_run_whose_creation_is_lost_is_created_again(shop: Losing, tmp_path: Path) -> None:
    """Its events alone would be nobody's; that is tried once, as the rules may have refused it.

    The spool stays until that is applied, too.
    """
    created = RunCreated("ab" * 16, "e", "r", "cd" * 16, if_taken="keep")
    catalog = CatalogEvent(77, body_json(created).decode())
    folder = SpoolFolder.create(tmp_path, replace(META, writer_id="07" * 16, catalog=catalog))
    spool = Spool(folder)
    shipment = Shipment(folder, spool, StreamReader(folder, is_checked=False))
    await send(shop, shipment, spool, 1)
    assert [record.topic for record in shop.log.records] == [CATALOG_TOPIC, EVENTS_TOPIC]
    shop.log.records.clear()
    shop.service.log_ends |= {"events:0": 0, "catalog:0": 0}
    shop.service.last_seqs[folder.meta.writer_id], shop.service.is_known = 0, False
    await shop.clean(shipment)
    await shop.shipper.ship([shipment])
    assert [record.topic for record in shop.log.records] == [CATALOG_TOPIC, EVENTS_TOPIC]
    shop.service.log_ends.clear()
    shop.tell(shipment)
    await shop.clean(shipment)
    assert not shipment.is_on_its_way
    spool.close()
    await shop.shipper.ship([shipment])
    shop.service.log_applied["catalog:0"] = 0
    assert await shop.clean(shipment) == []
    shop.service.log_applied.clear()
    assert await shop.clean(shipment) == [shipment]

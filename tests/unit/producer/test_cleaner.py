"""What is deleted of spools, and when: not before the service says that it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import new_folder
from trialog.cleaner import Cleaner
from trialog.durability import Counting
from trialog.shipper import Shipment, Shipper
from trialog.spool import FIRST_SEGMENT_BYTES, Spool
from trialog.stream import StreamReader
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.errors import AccessRefusedError, ClientError, UnavailableError
from trialog_schemas.events import ParametersLogged

if TYPE_CHECKING:
    from pathlib import Path

LARGE = "x" * FIRST_SEGMENT_BYTES
"""A text that no first segment has room for: its event begins the next one."""


class Shop:
    """A spool folder with a log, a service, a shipper and a cleaner."""

    def __init__(self, spool_dir: Path) -> None:
        self.log, self.service = MemoryTransport(), MemoryService()
        self.shipper = Shipper(self.service, self.log)
        self.cleaner = Cleaner(self.service)
        self._spool_dir = spool_dir

    def open(self, number: int = 1) -> tuple[Shipment, Spool]:
        """Return a spool that is written to, and its shipment."""
        folder = new_folder(self._spool_dir, number)
        spool = Spool(folder)
        return Shipment(folder, spool, StreamReader(folder, is_checked=False)), spool

    async def clean(self, *shipments: Shipment) -> list[Shipment]:
        """Clean and return whose folders were left."""
        return await self.cleaner.clean(shipments, 0.0)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Everything that takes a spool to its end, in memory but for the spool."""
    return Shop(tmp_path)


async def test_folder_of_an_ended_run_goes_when_all_of_it_is_applied(shop: Shop) -> None:
    """Whoever ends early leaves nothing behind."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    await shop.shipper.ship([shipment])
    assert await shop.clean(shipment) == [shipment]
    assert not shipment.folder.path.exists()
    assert shop.service.questions == [["events:0:0"]]


async def test_folder_stays_while_the_run_is_open(shop: Shop) -> None:
    """Although everything so far is applied."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    await shop.shipper.ship([shipment])
    assert await shop.clean(shipment) == []
    assert shipment.folder.segments() == [1]
    assert shop.service.questions == []


async def test_folder_stays_until_the_service_says_yes(shop: Shop) -> None:
    """Accepted by the log is not enough; the same question is asked again until then."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    await shop.shipper.ship([shipment])
    shop.service.is_applied = False
    for _ in range(2):
        assert await shop.clean(shipment) == []
    shop.service.is_applied = True
    assert await shop.clean(shipment) == [shipment]
    assert len(shop.service.questions) == 3


@pytest.mark.parametrize("error", [UnavailableError("away"), AccessRefusedError("no such key")])
async def test_service_that_cannot_say_costs_disk_and_no_data(
    shop: Shop, error: ClientError
) -> None:
    """Away or refusing, it deletes nothing, and raises nothing into the sender."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    await shop.shipper.ship([shipment])
    before = sorted(path.name for path in shipment.folder.path.iterdir())
    shop.service.fault = error
    assert await shop.clean(shipment) == []
    assert sorted(path.name for path in shipment.folder.path.iterdir()) == before


async def test_run_that_logged_nothing_goes_without_a_question(shop: Shop) -> None:
    """There is no position to ask for."""
    shipment, spool = shop.open()
    spool.close()
    await shop.shipper.ship([shipment])
    assert await shop.clean(shipment) == [shipment]
    assert shop.service.questions == []


async def test_segments_of_a_living_run_go_when_they_are_applied(shop: Shop) -> None:
    """A long run does not fill the disk: only the segment that is written to stays."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    for _ in range(3):
        spool.append_event(ParametersLogged({"large": LARGE}))
    assert len(shipment.folder.segments()) > 1
    await shop.shipper.ship([shipment])
    assert await shop.clean(shipment) == []
    assert shipment.folder.segments() == [shipment.acked.segment]
    spool.append_point("loss", 2, 2, 0.5)
    await shop.shipper.ship([shipment])
    assert len(shop.service.questions) == 1
    assert await shop.clean(shipment) == []
    assert len(shop.service.questions) == 1


async def test_count_that_begins_as_its_segment_goes_raises_nothing(shop: Shop) -> None:
    """The sender's thread may delete between two steps of a program that asks how far it is."""
    shipment, spool = shop.open()
    before = Shipment(shipment.folder, spool, StreamReader(shipment.folder, is_checked=False))
    for _ in range(2):
        spool.append_event(ParametersLogged({"large": LARGE}))
    await shop.shipper.ship([shipment])
    await shop.clean(shipment)
    assert 1 not in shipment.folder.segments()
    spool.append_point("loss", 1, 1, 0.5)
    assert Counting(before, spool).recorded() == before.marks.newest
    assert Counting(shipment, spool).recorded().seq == 3


async def test_spool_whose_segments_went_is_read_on_by_its_adopter(shop: Shop) -> None:
    """The ack on the disk says where to go on; seqs follow those that are gone."""
    shipment, spool = shop.open()
    spool.append_event(ParametersLogged({"large": LARGE}))
    spool.append_event(ParametersLogged({"large": LARGE}))
    await shop.shipper.ship([shipment])
    await shop.clean(shipment)
    sent = len(shop.log.records)
    spool.append_point("loss", 2, 2, 0.5)
    dead = Shipment(shipment.folder, None, StreamReader(shipment.folder, is_checked=True))
    await shop.shipper.ship([dead])
    assert len(shop.log.records) == sent + 1
    assert dead.reader.lost == []


async def test_artifacts_bytes_go_when_their_event_is_applied(shop: Shop) -> None:
    """Uploaded is not enough: a reader who is not there yet may ask for them again."""
    shipment, spool = shop.open()
    spool.store_blob("aa" * 32, b"content")
    spool.append_point("loss", 1, 1, 0.5)
    await shop.shipper.ship([shipment])
    shop.service.is_applied = False
    await shop.clean(shipment)
    assert shipment.folder.blob_names() == ["aa" * 32]
    shop.service.is_applied = True
    await shop.clean(shipment)
    assert shipment.folder.blob_names() == []
    assert shipment.uploaded == set()


async def test_question_about_a_run_does_not_move_on_with_every_event(shop: Shop) -> None:
    """Under load a question for the newest event would never be answered with yes."""
    shipment, spool = shop.open()
    shop.service.is_applied = False
    for _ in range(2):
        spool.append_event(ParametersLogged({"large": LARGE}))
        await shop.shipper.ship([shipment])
        assert await shop.clean(shipment) == []
        shop.service.last_seqs.setdefault(shipment.folder.meta.writer_id, 1)
        first = shipment.folder.segments()[0]
    assert (first, shipment.marks.newest.seq) == (2, 2)
    assert shop.service.questions == [["events:0:0"]] * 2


async def test_run_that_is_never_applied_keeps_no_other_spool_there(shop: Shop) -> None:
    """Its partition may stand still, or its spool be damaged: the disk is not to fill for that."""
    stuck, stuck_spool = shop.open(1)
    stuck_spool.append_point("loss", 1, 1, 0.5)
    stuck_spool.close()
    await shop.shipper.ship([stuck])
    shop.service.is_applied = False
    assert await shop.clean(stuck) == []
    for number in (2, 3):
        other, spool = shop.open(number)
        spool.append_point("loss", 1, 1, 0.5)
        spool.close()
        await shop.shipper.ship([other])
        shop.service.last_seqs[other.folder.meta.writer_id] = 1
        assert await shop.clean(stuck, other) == [other]
    shop.service.is_applied = True
    assert await shop.clean(stuck) == [stuck]


async def test_one_question_is_for_many_spools(shop: Shop) -> None:
    """It names the newest position of each partition and nothing before it."""
    shipments = []
    for number in range(20):
        shipment, spool = shop.open(number)
        spool.append_point("loss", 1, 1, 0.5)
        spool.close()
        shipments.append(shipment)
    await shop.shipper.ship(shipments)
    assert await shop.clean(*shipments) == shipments
    assert shop.service.questions == [["events:0:19"]]


async def test_what_was_refused_keeps_its_folder_when_all_else_went(shop: Shop) -> None:
    """People find the refused bytes; the folder is free for the next who looks at it."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    shipment.folder.keep_refused("some.record", b"bytes")
    await shop.shipper.ship([shipment])
    assert await shop.clean(shipment) == [shipment]
    assert shipment.folder.segments() == []
    assert (shipment.folder.path / "refused" / "some.record").read_bytes() == b"bytes"
    assert type(shipment.folder).adopt(shipment.folder.path) is not None


async def test_spool_that_is_forgotten_is_asked_for_no_more(shop: Shop) -> None:
    """A folder that was left to a sync is not deleted behind its back."""
    shipment, spool = shop.open()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    await shop.shipper.ship([shipment])
    shop.service.is_applied = False
    await shop.clean(shipment)
    shop.cleaner.forget(shipment)
    shop.service.is_applied = True
    assert await shop.clean() == []
    assert shipment.folder.path.exists()

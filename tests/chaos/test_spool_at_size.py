"""A spool that ends anywhere in its last 64 KiB, or has bits flipped there, gives up the rest."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checks import reported
from tests.chaos.effects import effects_of
from tests.chaos.loss_faults import damage
from tests.chaos.plain_log import read_record
from tests.chaos.plain_spool import Hole, pieces_of
from tests.unit.producer.spools import events_of, new_folder, points_of
from trialog.spool import Spool
from trialog.spool_format import EVENT, POINT, ROW, SEGMENT_HEAD, SegmentScan
from trialog.stream import StreamReader
from trialog_schemas.events import ParametersLogged

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.spool_folder import SpoolFolder

TAIL_BYTES = 64 * 1024
FLIPS = 1_000
WIDE = tuple(f"m{number}" for number in range(250))
_FACTS = {POINT, ROW, EVENT}


def filled(folder: SpoolFolder) -> list[int]:
    """Log records of all kinds, more than 64 KiB; return where each ends."""
    spool = Spool(folder)
    ends = []
    step = 0
    while spool.end.offset < TAIL_BYTES + 4096:
        if step % 8 == 0:
            spool.append_event(ParametersLogged({f"p{step}": "x" * 200}), step)
            ends.append(spool.end.offset)
        if step % 2 == 0:
            spool.append_point("loss", step, step, step / 3)
            ends.append(spool.end.offset)
        if step % 12 == 0:
            spool.cut()
        spool.append_row(WIDE, step, step, [float(step)] * len(WIDE))
        ends.append(spool.end.offset)
        step += 1
    spool.close()
    return ends


def facts_in(data: bytes) -> int:
    """Return how many records that say something are found in a segment's bytes."""
    scan = SegmentScan(is_checked=True)
    start = SEGMENT_HEAD.size
    return sum(
        region.records
        for stretch in scan.stretches(memoryview(data)[start:], start, start)
        for region in stretch.regions
        if region.kind in _FACTS
    )


# K9
@pytest.mark.slow(reason="reads a segment of 64 KiB several thousand times")
def test_spool_cut_at_every_byte_of_its_last_64_kib_gives_what_stood_before(
    tmp_path: Path,
) -> None:
    """Every record that is whole is found, wherever the file ends, and nothing else is."""
    folder = new_folder(tmp_path)
    ends = filled(folder)
    raw = folder.segment_path(1).read_bytes()
    assert facts_in(raw) == len(ends)
    with folder.segment_path(1).open("r+b") as file:
        for cut in range(len(raw), len(raw) - TAIL_BYTES, -1):
            file.truncate(cut)
            whole_bytes = cut & -8
            if cut != whole_bytes:
                # A reader takes whole words: what it sees is that of the cut before.
                continue
            found = folder.read_segment(1, 0)
            assert len(found) == whole_bytes
            assert facts_in(found) == bisect.bisect_right(ends, whole_bytes), cut


# K9
@pytest.mark.slow(reason="reads a spool of 64 KiB a thousand times")
def test_spool_with_a_thousand_flipped_bits_gives_the_rest(tmp_path: Path) -> None:
    """One wrong bit costs the record it is in, or those that need its names; the rest is given."""
    folder = new_folder(tmp_path)
    ends = filled(folder)
    path = folder.segment_path(1)
    raw = path.read_bytes()
    rng = random.Random(1)
    rows = len(ends) // 2  # of one declaration, which a flip may hit as well
    for place in rng.sample(range(SEGMENT_HEAD.size * 8, len(raw) * 8), FLIPS):
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        found = facts_in(bytes(damaged))
        assert len(ends) - found in {0, 1} or len(ends) - found > rows, place
    _check_report(folder, raw, rng)


def _check_report(folder: SpoolFolder, raw: bytes, rng: random.Random) -> None:
    """Of some flips: what the adopter sends is right, and what it lost it says."""
    whole = points_of(events_of(list(StreamReader(folder, is_checked=True).records())))
    for place in rng.sample(range(len(raw) // 2 * 8, len(raw) * 8), 20):
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        folder.segment_path(1).write_bytes(damaged)
        reader = StreamReader(folder, is_checked=True)
        found = points_of(events_of(list(reader.records())))
        assert all(set(points) <= set(whole[name]) for name, points in found.items()), place
        assert found == whole or reader.lost, place


@pytest.mark.slow(reason="damages and reads a spool of 64 KiB again and again")
def test_damage_costs_what_the_format_says_and_the_reader_tells_every_byte_of_it(
    tmp_path: Path,
) -> None:
    """Cut or with wrong bits: what stands before, between and behind is given, nothing else."""
    folder = new_folder(tmp_path)
    filled(folder)
    path = folder.segment_path(1)
    raw = path.read_bytes()
    whole = Counter(call for piece in pieces_of(raw) for call in piece.calls)
    for seed in range(25):
        path.write_bytes(raw)
        cost = damage(path, random.Random(seed))
        reader = StreamReader(folder, is_checked=True)
        records = [read_record(record.value) for record in reader.records()]
        (effects,) = effects_of(record for record in records if record is not None).values()
        assert Counter(effects.calls) == Counter(
            {call: times for call, times in whole.items() if call not in cost.calls}
        ), seed
        told = [
            (one.segment, Hole(one.damage.start, one.damage.start + one.damage.size))
            for one in reader.lost
        ]
        assert reported("", [(1, hole) for hole in cost.holes], told) == [], seed

"""Leases on real Postgres: fair shares, and nothing is written by who has lost the partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.projection_cases import projection_pool
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.project.lease import FencedError, Leases
from trialog_server.project.settings import ProjectionSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.postgres.pool import Pool

pytestmark = pytest.mark.postgres

PARTITIONS = [
    Partition(CATALOG_TOPIC, 0),
    *(Partition(EVENTS_TOPIC, number) for number in range(4)),
]
LONG = ProjectionSettings(lease_s=60.0, renew_s=20.0)
"""No lease ends by itself during a test."""

CHAIN = bytes(range(32))
BEFORE = b"before"


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A pool on a migrated database."""
    async with projection_pool(postgres_url) as opened:
        yield opened


async def worker(pool: Pool, settings: ProjectionSettings = LONG) -> Leases:
    """The leases of one more worker, which has seen what there is but claimed nothing."""
    leases = Leases(pool, settings, PARTITIONS)
    await leases.declare()
    return leases


async def overdue(pool: Pool, leases: Leases) -> None:
    """Let the time of a worker's leases and of its own row be over, as after a SIGKILL."""
    past = "SET until = clock_timestamp() - interval '1 second' WHERE owner = $1"
    await pool.execute(f"UPDATE trialog.leases {past}", leases.owner)
    await pool.execute(f"UPDATE trialog.workers {past}", leases.owner)


async def advance(pool: Pool, leases: Leases, partition: Partition, next_offset: int) -> None:
    """Move a position as a batch does, in a transaction of its own."""
    async with pool.acquire() as connection, connection.transaction():
        await leases.advance(connection, leases.claims[partition], next_offset, CHAIN, BEFORE)
    leases.claims[partition].next_offset = next_offset


async def test_first_worker_claims_all_partitions_from_their_start(pool: Pool) -> None:
    """Alone, a worker has every partition; its epochs are the first ones."""
    alone = await worker(pool)
    was_short = alone.is_short

    await alone.tend()

    assert sorted(alone.claims) == PARTITIONS
    assert (was_short, alone.is_short) == (True, False)
    assert {(one.epoch, one.next_offset, one.chain) for one in alone.claims.values()} == {
        (1, 0, b"")
    }


# L2
@pytest.mark.parametrize(
    ("workers", "shares"), [(2, [3, 2]), (3, [2, 2, 1]), (5, [1] * 5), (6, [1] * 5 + [0])]
)
async def test_shares_are_fair_and_cover_all_partitions(
    pool: Pool, workers: int, shares: list[int]
) -> None:
    """However many workers there are, each partition has one owner; the shares are even."""
    all_leases = [await worker(pool) for _ in range(workers)]
    for _ in range(3):  # who has too much gives up, who has too little claims
        for leases in all_leases:
            await leases.tend()

    held = [partition for leases in all_leases for partition in leases.claims]
    assert sorted(held) == PARTITIONS
    assert sorted((len(leases.claims) for leases in all_leases), reverse=True) == shares


async def test_worker_that_leaves_frees_its_partitions_at_once(pool: Pool) -> None:
    """The next one need not wait for the leases to end, and goes on at the positions left."""
    first, second = await worker(pool), await worker(pool)
    await first.tend()
    await advance(pool, first, PARTITIONS[1], 7)
    await first.leave()

    await second.tend()

    assert sorted(second.claims) == PARTITIONS
    claim = second.claims[PARTITIONS[1]]
    assert (claim.epoch, claim.next_offset, claim.chain) == (2, 7, CHAIN)


# K2
async def test_position_of_a_lost_partition_cannot_be_moved(pool: Pool) -> None:
    """A worker that slept through its lease writes nothing, whatever it still believes."""
    zombie, heir = await worker(pool), await worker(pool)
    await zombie.tend()
    await overdue(pool, zombie)
    await heir.tend()
    await advance(pool, heir, PARTITIONS[0], 3)

    for next_offset in (1, 4):
        with pytest.raises(FencedError):
            await advance(pool, zombie, PARTITIONS[0], next_offset)
    async with pool.acquire() as connection:
        with pytest.raises(FencedError):
            await zombie.guard(connection, zombie.claims[PARTITIONS[0]])
    assert not await zombie.reread(zombie.claims[PARTITIONS[0]])
    assert PARTITIONS[0] not in zombie.claims


# K3
async def test_position_moves_only_from_where_it_stands(pool: Pool) -> None:
    """The same batch applied twice is refused the second time: the position says so."""
    alone = await worker(pool)
    await alone.tend()
    stale = alone.claims[PARTITIONS[0]].next_offset
    await advance(pool, alone, PARTITIONS[0], 5)
    alone.claims[PARTITIONS[0]].next_offset = stale

    with pytest.raises(FencedError):
        await advance(pool, alone, PARTITIONS[0], 5)
    assert await alone.reread(alone.claims[PARTITIONS[0]])
    assert alone.claims[PARTITIONS[0]].next_offset == 5


async def test_position_goes_back_with_its_transaction(pool: Pool) -> None:
    """Rows and position are one: what is rolled back leaves the position where it was."""
    alone = await worker(pool)
    await alone.tend()
    claim = alone.claims[PARTITIONS[2]]
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await alone.advance(connection, claim, 9, CHAIN, BEFORE)
        await transaction.rollback()

    assert await alone.reread(claim)
    assert (claim.next_offset, claim.chain or b"") == (0, b"")


async def test_tend_finds_out_what_was_lost(pool: Pool) -> None:
    """A worker whose lease ended finds out at its next look, before it claims anew."""
    sleeper, heir = await worker(pool), await worker(pool)
    await sleeper.tend()
    await overdue(pool, sleeper)
    await heir.tend()

    before = dict(sleeper.claims)
    await sleeper.tend()

    assert not set(sleeper.claims) & set(heir.claims)
    assert all(claim is not before[one] for one, claim in sleeper.claims.items())


# K2
async def test_tend_finds_a_position_that_a_crash_took_back(pool: Pool) -> None:
    """What Postgres forgot is begun anew where it stands now; the other claims go on."""
    alone = await worker(pool)
    await alone.tend()
    for partition in PARTITIONS:
        await advance(pool, alone, partition, 3)
    await advance(pool, alone, PARTITIONS[1], 5)
    before = dict(alone.claims)
    await pool.execute(
        "UPDATE trialog.leases SET next_offset = 3 WHERE (topic, partition) = ($1, $2)",
        *PARTITIONS[1],
    )

    await alone.tend()

    assert sorted(alone.claims) == PARTITIONS
    assert {one for one in PARTITIONS if alone.claims[one] is not before[one]} == {PARTITIONS[1]}
    await advance(pool, alone, PARTITIONS[1], 4)


async def test_generations_have_leases_and_workers_of_their_own(pool: Pool) -> None:
    """A rebuild beside the live tables takes no partition away from those who write them."""
    await pool.execute(
        "INSERT INTO trialog.generations (generation, schema_name, status)"
        " VALUES (2, 'gen_2', 'building')"
    )
    rebuild_settings = ProjectionSettings(
        generation=2, schema_name="gen_2", lease_s=60.0, renew_s=20.0
    )
    live, rebuild = await worker(pool), await worker(pool, rebuild_settings)

    await live.tend()
    await rebuild.tend()

    assert sorted(live.claims) == sorted(rebuild.claims) == PARTITIONS

"""Epoch-fenced claims on partitions, kept in `trialog.leases`; knows no event and no rows.

Every worker that lives has a row in `trialog.workers`. Each claims its fair share of the partitions
and gives up what is above it, so that a new worker finds some. A claim raises the partition's
epoch; whoever writes with an older epoch changes nothing (`advance`). All times are those of
Postgres' clock: the clocks of the workers' machines do not matter.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trialog_schemas.wire import SHORT_NAME_BY_TOPIC
from trialog_server.log.base import Partition
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialog_server.postgres.pool import Connection, Pool
    from trialog_server.project.settings import ProjectionSettings


class FencedError(Exception):
    """The partition has another owner now, or stands elsewhere; nothing was written."""


@dataclass(slots=True)
class Claim:
    """A worker's hold of a partition.

    Args:
        partition: what is held.
        epoch: the claim's number; only the newest may write.
        next_offset: where reading resumes; equal to the row in Postgres.
        chain: hash over all records applied so far.
        chain_before: the same without the last of them; None where it is not known.
    """

    partition: Partition
    epoch: int
    next_offset: int
    chain: bytes
    chain_before: bytes | None = None


class Leases:
    """The claims of one worker; used by that worker's task only."""

    def __init__(
        self, pool: Pool, settings: ProjectionSettings, partitions: Iterable[Partition]
    ) -> None:
        self.claims: dict[Partition, Claim] = {}
        self._pool = pool
        self._settings = settings
        self._partitions = sorted(partitions)
        self._workers = 1
        # Begins with the generation, so that workers of a rebuild are not counted with the others.
        self._prefix = f"g{settings.generation}/"
        self.owner = f"{self._prefix}{socket.gethostname()}:{os.getpid()}/{uuid.uuid4().hex[:8]}"

    @property
    def is_short(self) -> bool:
        """Whether partitions must be free that nobody holds yet; `tend` is then due sooner."""
        return len(self.claims) < len(self._partitions) // self._workers

    @property
    def _share(self) -> int:
        """The largest fair share, rounded up: the shares then always cover all partitions."""
        return -(-len(self._partitions) // self._workers)

    async def tend(self) -> None:
        """Renew what is held, then claim or give up until the share is fair; see `claims`.

        A partition that stands elsewhere than this worker believes gets another claim object: who
        projects it begins there anew.
        """
        settings = self._settings
        async with self._pool.acquire() as connection:
            self._workers = await connection.fetchval(
                load_query("register_worker"), self.owner, settings.lease_s, self._prefix
            )
            await self._renew(connection)
            excess = sorted(self.claims)[self._share :]
            if excess:
                await self._release(connection, excess)
            elif len(self.claims) < self._share:
                await self._claim(connection)

    async def declare(self) -> None:
        """Make the rows of partitions that no worker has seen before."""
        await self._pool.execute(
            load_query("declare_leases"), self._settings.generation, *_columns(self._partitions)
        )

    async def leave(self) -> None:
        """Free all partitions at once, so that others need not wait for the leases to end."""
        async with self._pool.acquire() as connection:
            await self._release(connection, list(self.claims))
            await connection.execute(load_query("unregister_worker"), self.owner)

    async def advance(
        self,
        connection: Connection,
        claim: Claim,
        next_offset: int,
        chain: bytes,
        chain_before: bytes,
    ) -> None:
        """Move the partition's position in the caller's transaction; must be its first statement.

        Everything that is written afterwards in this transaction is written by the only owner:
        the row stays locked until the end, and a newer claim makes the comparison fail.

        Whoever listens on `trialog_applied` is told the new position when the transaction commits.

        The statement also switches this transaction to an asynchronous commit. That is safe here:
        the position and the rows are in one transaction, so that a crash of Postgres loses both or
        none, and what is lost is applied again from the log, which is durable by itself: `tend`
        sees that the position is another one.

        Raises:
            FencedError: the claim is not valid any more.
        """
        moved = await connection.fetchval(
            load_query("advance_lease"),
            self._settings.generation,
            claim.partition.topic,
            claim.partition.number,
            claim.epoch,
            claim.next_offset,
            next_offset,
            chain,
            self._settings.lease_s,
            f"{SHORT_NAME_BY_TOPIC[claim.partition.topic]}:{claim.partition.number}:{next_offset}",
            chain_before,
        )
        if moved is None:
            raise FencedError(f"epoch {claim.epoch} of {claim.partition} is over")

    async def guard(self, connection: Connection, claim: Claim) -> None:
        """Lock the partition's row in the caller's transaction without moving its position.

        Raises:
            FencedError: the claim is not valid any more.
        """
        held = await connection.fetchval(
            load_query("guard_lease"),
            self._settings.generation,
            claim.partition.topic,
            claim.partition.number,
            claim.epoch,
        )
        if held is None:
            raise FencedError(f"epoch {claim.epoch} of {claim.partition} is over")

    async def reread(self, claim: Claim) -> bool:
        """Take position and chain from Postgres, when a commit's answer was lost.

        Returns False, and drops the claim, when another worker has the partition.
        """
        row = await self._pool.fetchrow(
            load_query("reread_lease"),
            self._settings.generation,
            claim.partition.topic,
            claim.partition.number,
            claim.epoch,
        )
        if row is None:
            self.drop(claim.partition)
            return False
        claim.next_offset, claim.chain = row["next_offset"], row["chain"]
        claim.chain_before = row["chain_before"]
        return True

    def drop(self, partition: Partition) -> None:
        """Forget a claim that is lost."""
        self.claims.pop(partition, None)

    async def _renew(self, connection: Connection) -> None:
        held = list(self.claims.values())
        if not held:
            return
        rows = await connection.fetch(
            load_query("renew_leases"),
            self._settings.generation,
            self._settings.lease_s,
            *_columns([claim.partition for claim in held]),
            [claim.epoch for claim in held],
        )
        kept = {Partition(row["topic"], row["partition"]): row for row in rows}
        for claim in held:
            row = kept.get(claim.partition)
            if row is None:
                self.drop(claim.partition)
            elif row["next_offset"] != claim.next_offset:
                # A crash of Postgres took back what was committed last, see `advance`. Without
                # this look nobody would notice until the partition's next record.
                self.claims[claim.partition] = replace(
                    claim,
                    next_offset=row["next_offset"],
                    chain=row["chain"],
                    chain_before=row["chain_before"],
                )

    async def _claim(self, connection: Connection) -> None:
        rows = await connection.fetch(
            load_query("claim_leases"),
            self._settings.generation,
            self.owner,
            self._settings.lease_s,
            self._share - len(self.claims),
        )
        for row in rows:
            partition = Partition(row["topic"], row["partition"])
            self.claims[partition] = Claim(
                partition, row["epoch"], row["next_offset"], row["chain"], row["chain_before"]
            )

    async def _release(self, connection: Connection, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        epochs = [self.claims[partition].epoch for partition in partitions]
        await connection.execute(
            load_query("release_leases"),
            self._settings.generation,
            *_columns(partitions),
            epochs,
        )
        for partition in partitions:
            self.drop(partition)


def _columns(partitions: Sequence[Partition]) -> tuple[list[str], list[int]]:
    return (
        [partition.topic for partition in partitions],
        [partition.number for partition in partitions],
    )

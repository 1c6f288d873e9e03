"""Where the log ends, asked as seldom as possible: many ask whether their records are there.

An end that was seen a moment ago answers whoever asks for something before it. Whoever asks for
something behind it is answered by a look that began after the question: a record that was
acknowledged before the question must not be taken for lost.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialog_server.log.base import Log, Partition

FRESH_S = 1.0
"""How long an end that was seen answers questions."""

ANSWER_S = 2.0
"""How long the log may take: a question about a run is not to wait for a broker that is away."""


class LogEnds:
    """The ends of a log's partitions, for one event loop."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._asking = asyncio.Lock()
        self._seen: dict[Partition, tuple[float, int]] = {}

    async def at(self, wanted: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return the end of each partition: the offset that its next record gets.

        Args:
            wanted: partitions, each with the offset that is looked for in it.

        Returns:
            Nothing of a partition whose end the log does not tell now.
        """
        asked_at_s = time.monotonic()
        missing = self._not_known(wanted, asked_at_s)
        if missing:
            async with self._asking:  # whoever waited may find that the one before has asked
                missing = self._not_known(missing, asked_at_s)
                if missing:
                    await self._ask(missing)
        return {
            one: self._seen[one][1] for one in wanted if one in self._seen and one not in missing
        }

    def _not_known(
        self, wanted: Mapping[Partition, int], asked_at_s: float
    ) -> dict[Partition, int]:
        return {
            partition: offset
            for partition, offset in wanted.items()
            if not self._answers(partition, offset, asked_at_s)
        }

    def _answers(self, partition: Partition, offset: int, asked_at_s: float) -> bool:
        seen_at_s, end = self._seen.get(partition, (float("-inf"), 0))
        is_fresh = seen_at_s >= asked_at_s - FRESH_S
        return seen_at_s >= asked_at_s or (is_fresh and offset < end)

    async def _ask(self, missing: dict[Partition, int]) -> None:
        began_at_s = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                bounds = await self._log.bounds(missing)
        except (TimeoutError, UnavailableError):
            return
        for partition, (_, end) in bounds.items():
            self._seen[partition] = (began_at_s, end)
            missing.pop(partition, None)

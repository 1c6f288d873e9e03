"""The projection on real Postgres beside an independent model, under everything that may go wrong.

Runs of several writers share one partition. Their records arrive in any order between the writers,
again in another cut, with holes, between rubbish and events from the future; workers are killed in
the moment of a commit, lose the answer to one, are replaced and write all the same. After each step
the tables must hold what `partition_model` works out from the records that the position covers. The
canaries at the end show that the machine notices a projection that is broken on purpose.

Hypothesis derives the steps from the source alone, so that every run walks the same ones; what it
prints of a failure is the steps that lead there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration.partition_model import (
    UNSTORABLE,
    Call,
    Dreamed,
    Record,
    Rubbish,
    Sent,
    tables_of,
)
from tests.integration.projection_bench import (
    PLACE,
    Bench,
    Parts,
    Sender,
    chain_after,
    open_bench,
    run_id_of,
)
from tests.unit.consumer.project_writers import AT_US, catalog_writer, run_created
from tests.unit.schemas.run_model import (
    ARTIFACT_BYTES,
    DROPPED_TAG,
    Artifact,
    Entered,
    Left,
    Parameters,
    Points,
    Tags,
)
from trialog_schemas.events import ParametersLogged
from trialog_schemas.rules import Verdict, decide
from trialog_server.log.base import LogRecord
from trialog_server.project.decode import Unreadable, decode_record
from trialog_server.project.fold_runs import fold_run
from trialog_server.project.lease import FencedError, Leases
from trialog_server.project.partition import PartitionProjection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from tests.integration.projection_bench import Hand
    from tests.unit.schemas.run_model import Said
    from trialog_schemas.events import Event
    from trialog_schemas.rules import RunState
    from trialog_server.postgres.pool import Connection
    from trialog_server.project.decode import Decoded
    from trialog_server.project.fold_runs import Folded, Judge
    from trialog_server.project.lease import Claim
    from trialog_server.project.runs import KnownRun

pytestmark = pytest.mark.postgres

Given = TypeVar("Given")

RUNS, WRITERS = 2, 2

_RUBBISH = (
    b"",  # stands for the record before, cut short
    b"rubbish",
    catalog_writer().record(run_created()).value,
)

VOCABULARY: tuple[Said | Dreamed, ...] = (
    *(Parameters(((name, value),)) for name in "abcd" for value in (1, True, 1.0, "1")),
    Parameters((("a", 1), ("b", [True]), ("", 2))),
    Parameters((("c", {"k": 1.0}), ("d", None))),
    *(Points(((True, (("x", step, 0.5), ("y", step, -step))),)) for step in (0, 1, 5, -1, -2)),
    *(Points(((False, (("x", step, 2.0),)),)) for step in (7, 4, 3, -1)),
    Points(((False, (("x", 2, 1.0), ("z", 3, 1e300), ("x", 1, 0.0))),)),
    Points(((True, (("x", 9, 1.0),)), (False, (("bad\nname", 1, 1.0), ("y", 2, 3.0))))),
    *(Artifact(name, content, 9) for name in ("m", "n", "o") for content in "ab"),
    *(Artifact("m", "c", ARTIFACT_BYTES + more) for more in (-1, 0, 1)),
    Artifact("", "a", 1),
    Tags((("s", "1"), ("t", "2")), ()),
    Tags((("s", "2"),), ("t", "u")),
    Tags(((DROPPED_TAG, "3"), ("t", "1")), ()),
    Tags((("", "1"),), ()),
    Entered("resumed"),
    Entered("joined"),
    Left("Completed", None, is_owner=True),
    Left("Failed", "boom", is_owner=True),
    Left("Completed", None, is_owner=False),
    Left("Failed", "bang", is_owner=False),
    Dreamed(),
)
"""What processes say of a run, legal or not. Ready-made: a walk has so many draws and no more."""


class Turn(NamedTuple):
    """A writer's turn: what it logs, by how wrong a clock, and how much of it is sent.

    Before that a full disk may have taken an event. A sender whose answer was lost sends its last
    events once more, in another cut and with one further event.
    """

    run: int
    writer: int
    calls: list[Said | Dreamed]
    after_us: int
    events: int
    is_lossy: bool
    again: int


_TURNS = st.lists(
    st.builds(
        Turn,
        run=st.integers(0, RUNS - 1),
        writer=st.integers(0, WRITERS - 1),
        calls=st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4),
        after_us=st.integers(-50, 50),
        events=st.integers(1, 6),
        is_lossy=st.sampled_from([False] * 3 + [True]),
        again=st.sampled_from([0, 0, 1, 4]),
    ),
    min_size=1,
    max_size=3,
)
_BATCH = st.sampled_from([4, 1, 2, 9, 30])


class Deliveries(RuleBasedStateMachine):
    """Writers of two runs, a log of one partition, and its workers beside the model."""

    runner: ClassVar[asyncio.Runner]
    bench: ClassVar[Bench]
    parts: ClassVar[Parts] = Parts()

    def __init__(self) -> None:
        super().__init__()
        self.senders = {
            (run, writer): Sender(run, writer) for run in range(RUNS) for writer in range(WRITERS)
        }
        self.logged: dict[tuple[int, int], list[Call]] = {who: [] for who in self.senders}
        self.heard = dict.fromkeys(self.senders, 0)
        self.log: list[LogRecord] = []
        self.told: list[Record] = []
        self.applied = 0
        self.zombies: list[Hand] = []
        self._do(self.bench.empty())
        self.hand = self._do(self.bench.claim(self.parts))

    def _do(self, work: Coroutine[object, object, Given]) -> Given:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        """The owner of each run enters it, which brings the limits."""
        for run in range(RUNS):
            self._log(run, 0, [Entered("started")], 0)
            self._send(run, 0, 0, 1)

    @rule(value=st.sampled_from(_RUBBISH), turns=_TURNS)
    def poison(self, value: bytes, turns: list[Turn]) -> None:
        """Bytes that are no record, or only a part of one, stand right before a record."""
        self._append(run_id_of(0), value or self.log[-1].value[:-1], Rubbish())
        self._talk(turns)

    @precondition(lambda self: len(self.log) > 12)
    @rule(writer=st.integers(0, WRITERS - 1), turns=_TURNS)
    def quarantine(self, writer: int, turns: list[Turn]) -> None:
        """A run logs what no rule refuses, but Postgres does: it is set aside from there on."""
        last = RUNS - 1
        self._log(last, writer, [Parameters(((UNSTORABLE, 1),))], 0)
        self._send(last, writer, self.heard[last, writer], len(self.logged[last, writer]))
        self._talk(turns)

    @rule(turns=_TURNS, records=_BATCH, back=st.integers(0, 3), is_new=st.booleans())
    def apply(self, turns: list[Turn], records: int, back: int, is_new: bool) -> None:
        """A worker, perhaps one that just started, applies a batch and merges small chunks.

        Its reader may begin before the position.
        """
        self._talk(turns)
        if is_new:
            self._do(self.hand.leases.leave())
            self.hand = self._do(self.bench.claim(self.parts))
        target = min(self.applied + records, len(self.log))
        try:
            self._do(self.hand.projection.apply(self.log[self._before(back) : target], 1))
        except FencedError as exc:
            raise AssertionError("the only owner was fenced") from exc
        self.applied = target
        self._check()
        while self.hand.projection.has_merges:
            self._do(self.hand.projection.merge_one())
            self._check()

    def _before(self, back: int) -> int:
        return max(self.applied - back, 0)

    @rule(turns=_TURNS, records=_BATCH)
    def crash_before_commit(self, turns: list[Turn], records: int) -> None:
        """All was written, but a transaction breaks when it commits; the worker asks Postgres."""
        self._talk(turns)
        target = min(self.applied + records, len(self.log))

        async def crash() -> None:
            async with self.bench.crashing():
                with suppress(asyncpg.RaiseError):
                    await self.hand.projection.apply(self.log[self.applied : target], 1)
            self.hand.projection.forget()
            assert await self.hand.leases.reread(self.hand.projection.claim)

        self._do(crash())
        # What brought nothing new wrote no rows, and was committed.
        assert self.applied <= self.hand.next_offset <= target
        self.applied = self.hand.next_offset
        self._check()

    @rule(turns=_TURNS, records=_BATCH, hasty=st.integers(1, 2))
    def lose_the_answer(self, turns: list[Turn], records: int, hasty: int) -> None:
        """A commit is not heard of: who writes again without asking is fenced, then it asks."""
        claim, start = self.hand.projection.claim, self.applied
        before = claim.next_offset, claim.chain
        self.apply(turns, records, back=0, is_new=False)
        claim.next_offset, claim.chain = before
        self.hand.projection.forget()
        self._must_be_fenced(self.hand, self.log[start : start + hasty])
        assert self._do(self.hand.leases.reread(claim))
        self._check()

    @rule(turns=_TURNS, records=st.integers(1, 4))
    def swap_workers(self, turns: list[Turn], records: int) -> None:
        """The worker sleeps through its lease and another takes over; then all sleepers wake up.

        They do not know yet, and write and merge: nothing of it may stay.
        """
        self._talk(turns)
        self._do(self.bench.end_lease(self.hand))
        self.zombies = [*self.zombies[-1:], self.hand]
        self.hand = self._do(self.bench.claim(self.parts))
        for zombie in self.zombies:
            batch = self.log[zombie.next_offset : zombie.next_offset + records]
            if batch:
                self._must_be_fenced(zombie, batch)
        self._check()

    def _talk(self, turns: list[Turn]) -> None:
        for run, writer, calls, after_us, events, is_lossy, again in turns:
            if is_lossy:
                self._log(run, writer, [Dreamed()], after_us)
                self.heard[run, writer] = len(self.logged[run, writer])
            self._log(run, writer, calls, after_us)
            self._send(run, writer, self.heard[run, writer], self.heard[run, writer] + events)
            if again:
                start = max(self.heard[run, writer] - again, 0)
                self._send(run, writer, start, self.heard[run, writer] + 1)

    def _log(self, run: int, writer: int, calls: Sequence[Said | Dreamed], after_us: int) -> None:
        logged = self.logged[run, writer]
        for said in calls:
            logged.append(Call(writer, len(logged) + 1, AT_US + after_us, said))
            self.senders[run, writer].log(logged[-1])

    def _send(self, run: int, writer: int, start: int, stop: int) -> None:
        calls = tuple(self.logged[run, writer][start:stop])
        if calls:
            self.heard[run, writer] = start + len(calls)
            value = self.senders[run, writer].record(start, start + len(calls))
            self._append(run_id_of(run), value, Sent(run, calls))

    def _append(self, key: str, value: bytes, told: Record) -> None:
        self.log.append(LogRecord(PLACE, len(self.log), AT_US, key, value))
        self.told.append(told)

    def _must_be_fenced(self, hand: Hand, batch: list[LogRecord]) -> None:
        try:
            self._do(hand.projection.apply(batch, 1))
        except FencedError:
            hand.projection.forget()
        else:
            raise AssertionError("who may not write has written")

    def _check(self) -> None:
        """The tables hold what the model says of the records before the position, and no more."""
        position, chain = self._do(self.bench.position())
        assert position == self.applied == self.hand.next_offset
        assert chain == chain_after(self.log[:position])
        assert self._do(self.bench.tables()) == tables_of(self.told[:position])


_STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=40,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def walk(module_postgres_url: str) -> Iterator[Callable[[Parts], type[Deliveries]]]:
    """What makes the machine around a worker of some parts; all walks share one database."""
    # A quarantine is logged with its trace: expected here, and slow to show.
    with structlog.testing.capture_logs(), asyncio.Runner() as runner:
        opened = open_bench(module_postgres_url)
        bench = runner.run(opened.__aenter__())

        def around(parts: Parts) -> type[Deliveries]:
            return type("Walk", (Deliveries,), {"runner": runner, "bench": bench, "parts": parts})

        yield around
        runner.run(opened.__aexit__(None, None, None))


# K2 K3 K8
@pytest.mark.timeout(240)  # hundreds of steps of several transactions each
def test_tables_equal_the_model_under_every_delivery(
    walk: Callable[[Parts], type[Deliveries]],
) -> None:
    """Re-sends, holes, rubbish, crashes, zombies and quarantines: tables and model are the same."""
    run_state_machine_as_test(walk(Parts()), settings=settings(_STEADY, max_examples=12))


def _accepting_again(state: RunState, event: Event) -> Verdict:
    """Let the last writer of a parameter win."""
    if isinstance(event.body, ParametersLogged):
        legal = {name: value for name, value in event.body.parameters.items() if name}
        return Verdict(ParametersLogged(legal) if legal else None)
    return decide(state, event)


def _with_limit(limit: str, by: int) -> Judge:
    """Judge with one limit off by some."""

    def judge(state: RunState, event: Event) -> Verdict:
        off = replace(state.limits, **{limit: getattr(state.limits, limit) + by})
        return decide(replace(state, limits=off), event)

    return judge


def _judging(judge: Judge) -> Parts:
    """Return a worker with a broken law."""
    fold = staticmethod(partial(fold_run, judge=judge))
    return Parts(projection=type("Broken", (PartitionProjection,), {"fold": fold}))


def _fold_without_writers(
    run: KnownRun, records: Sequence[Decoded], *more: object, **options: object
) -> Folded:
    """Fold as if no event of any writer had been seen before."""
    run.writers.clear()
    return fold_run(run, records, *more, **options)  # type: ignore[arg-type]


def _fold_without_holes(
    run: KnownRun, records: Sequence[Decoded], *more: object, **options: object
) -> Folded:
    """Fold as if whatever is older than a writer's newest event had come."""
    for writer in run.writers.values():
        writer.holes.clear()
    return fold_run(run, records, *more, **options)  # type: ignore[arg-type]


class _DroppingTheLate(PartitionProjection):
    fold = staticmethod(_fold_without_holes)


class _Deduplicating(PartitionProjection):
    fold = staticmethod(_fold_without_writers)


class _ReadingAgain(PartitionProjection):
    """Applies what stands before the position a second time."""

    async def apply(self, records: Sequence[LogRecord], partitions: int) -> None:
        await self._apply_parts(records, partitions)


class _SkippingNeighbours(PartitionProjection):
    """Passes over what follows on rubbish."""

    async def apply(self, records: Sequence[LogRecord], partitions: int) -> None:
        bad = {
            record.offset
            for record in records
            if isinstance(decode_record(record, partitions), Unreadable)
        }
        kept = [one for one in records[:-1] if one.offset - 1 not in bad]
        await super().apply([*kept, *records[-1:]], partitions)


class _Unguarded(Leases):
    """Moves the position whoever asks."""

    compared = "true"

    async def advance(
        self,
        connection: Connection,
        claim: Claim,
        next_offset: int,
        chain: bytes,
        chain_before: bytes,
    ) -> None:
        moved = await connection.fetchval(
            "UPDATE trialog.leases SET next_offset = $1, chain = $2, chain_before = $5"
            f" WHERE {self.compared} AND $3 >= 0 AND $4 >= 0 RETURNING 1",
            next_offset,
            chain,
            claim.epoch,
            claim.next_offset,
            chain_before,
        )
        if moved is None:
            raise FencedError("the position is another")


class _IgnoringPositions(_Unguarded):
    compared = "epoch = $3"


class _IgnoringEpochs(_Unguarded):
    compared = "next_offset = $4"


class _MovingAlone(Leases):
    """Moves the position in a transaction of its own."""

    async def advance(
        self,
        connection: Connection,
        claim: Claim,
        next_offset: int,
        chain: bytes,
        chain_before: bytes,
    ) -> None:
        async with self._pool.acquire() as other:
            await super().advance(other, claim, next_offset, chain, chain_before)


CANARIES: dict[str, Parts] = {
    "last writer wins": _judging(_accepting_again),
    "one parameter more": _judging(_with_limit("parameters_max", 1)),
    "one point less": _judging(_with_limit("points_max", -1)),
    "one artifact more": _judging(_with_limit("artifacts_max", 1)),
    "what comes again counts again": Parts(projection=_Deduplicating),
    "what comes late is lost": Parts(projection=_DroppingTheLate),
    "the reader's offsets are not checked": Parts(projection=_ReadingAgain),
    "the position is not compared": Parts(leases=_IgnoringPositions),
    "nobody is fenced": Parts(leases=_IgnoringEpochs),
    "the position moves without the rows": Parts(leases=_MovingAlone),
    "rubbish takes its neighbour along": Parts(projection=_SkippingNeighbours),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("canary", CANARIES)
def test_broken_projection_is_noticed(
    walk: Callable[[Parts], type[Deliveries]], canary: str
) -> None:
    """Each worker that is broken on purpose makes the model disagree."""
    found = settings(_STEADY, max_examples=100, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(walk(CANARIES[canary]), settings=found)

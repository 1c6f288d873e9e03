"""Each invariant notices a history that breaks it, and is content with one that does not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos import checks
from tests.chaos.checks import Evidence, Finding
from tests.chaos.effects import RunEffects, effects_of, readable
from tests.chaos.ledgers import Call, Ledger, parse_ledger
from tests.chaos.model import model_of, told
from tests.chaos.plain_log import EVENTS, Entry, read_record
from tests.chaos.plain_spool import Hole
from tests.integration.partition_model import Call as Logged
from tests.integration.projection_bench import Sender, run_id_of
from tests.unit.schemas.run_model import Entered, Left, Parameters, Points, Tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.partition_model import RunRows, Tables
    from tests.unit.schemas.run_model import Said

LEDGER = """\
part run-1 -
run 0190abab
call step 0
step 0 0.000010
call tick 0
tick 0 0.000020
call contested 0
refused contested 0
call step 1
step 1 0.000010
call left 0
left 0 0.0
applied
""".splitlines()

STEP, TICK, NEXT = Call("step", 0, ""), Call("tick", 0, ""), Call("step", 1, "")


def evidence(*lines: str, calls: tuple[Call, ...] = (STEP, TICK, NEXT)) -> Evidence:
    """Return a run whose log holds some calls, beside the ledger with some lines more."""
    return Evidence("run-1", [parse_ledger([*LEDGER, *lines])], RunEffects(list(calls), endings=1))


def checks_of(found: list[Finding]) -> set[str]:
    """Return which checks have found something."""
    return {finding.check for finding in found}


def test_ledger_says_what_began_returned_was_refused_and_raised() -> None:
    """A call without its second line has begun and nothing more."""
    ledger = parse_ledger([*LEDGER, "call tick 1", "call tick 2", "raised tick 2 OSError()"])
    assert ledger.begun[-2:] == [Call("tick", 1, ""), Call("tick", 2, "")]
    assert ledger.returned[TICK] == 0.00002
    assert ledger.refused == {Call("contested", 0, "")}
    assert ledger.raised == ["raised tick 2 OSError()"]
    assert (ledger.run_name, ledger.run_id, ledger.is_applied) == ("run-1", "0190abab", True)


def test_run_whose_log_holds_what_its_ledger_says_is_in_order() -> None:
    """Also one more call that began and whose return nobody has noted."""
    assert checks.of_run(evidence()) == []
    begun = Call("tick", 1, "")
    assert checks.of_run(evidence("call tick 1", calls=(STEP, TICK, NEXT, begun))) == []


@pytest.mark.parametrize(
    ("check", "calls"),
    [
        ("found", (STEP, NEXT)),
        ("once", (STEP, TICK, TICK, NEXT)),
        ("called", (STEP, TICK, NEXT, Call("tick", 1, ""))),
        ("called", (STEP, TICK, Call("contested", 0, ""), NEXT)),
        ("in order", (TICK, STEP, NEXT)),
    ],
)
def test_log_that_holds_other_calls_is_noticed(check: str, calls: tuple[Call, ...]) -> None:
    """One lost, one twice, one that nobody made, one that was refused, two swapped."""
    assert checks_of(checks.of_run(evidence(calls=calls))) == {check}


def test_lost_calls_are_fine_only_if_the_run_tells_their_exact_number() -> None:
    """A full disk may cost calls, and the count is part of the promise."""
    lossy = evidence(calls=(STEP,))
    for count, is_fine in ((1, False), (2, True), (3, False)):
        effects = replace(lossy.effects, told={"w": [(count, 1)]}, by_writer={"w": [STEP]})
        assert (not checks.found(lossy._replace(effects=effects))) is is_fine


@pytest.mark.parametrize(
    ("told", "is_fine"),
    [
        ([(1, 1), (2, 3)], True),
        ([(1, 3), (2, 3)], True),
        ([(0, 1), (2, 3)], True),
        ([(2, 1), (2, 3)], False),
        ([(0, 2), (2, 3)], False),
    ],
)
def test_lost_calls_are_told_where_they_were_lost(
    told: list[tuple[int, int]], *, is_fine: bool
) -> None:
    """Of five calls the second and the last are lost, of which the first two numbers tell."""
    calls = [Call("tick", number, "") for number in range(5)]
    lines = [f"{what}tick {call.number} 0.1" for call in calls for what in ("call ", "")]
    there = [calls[0], calls[2], calls[3]]
    effects = RunEffects(there, told={"w": told}, by_writer={"w": there})
    lossy = Evidence("run-1", [parse_ledger(["part run-1 -", *lines])], effects)
    assert (not checks.told_in_place(lossy)) is is_fine


def test_damaged_spool_lacks_exactly_what_the_damage_costs() -> None:
    """What was hit is not in the log, what was not is."""
    assert checks.of_run(evidence("lacks tick 0", calls=(STEP, NEXT))) == []
    assert checks_of(checks.of_run(evidence("lacks tick 0"))) == {"called"}
    assert checks_of(checks.of_run(evidence("lacks tick 0", calls=(NEXT,)))) == {"found"}


def test_lost_machine_costs_its_last_calls_and_none_that_were_promised() -> None:
    """The log has the first ones, without a hole."""
    assert checks.of_run(evidence("lost", calls=(STEP,))) == []
    assert checks_of(checks.of_run(evidence("lost", calls=(STEP, NEXT)))) == {"found"}
    for stage in ("accepted", "applied 9"):
        name, *rest = stage.split(" ")
        line = " ".join(["promised", name, "2", *rest])
        assert checks.of_run(evidence("lost", line, calls=(STEP, TICK))) == []
        assert checks_of(checks.of_run(evidence("lost", line, calls=(STEP,)))) == {"promised"}


def test_tables_that_lack_what_was_promised_to_be_in_them_are_noticed() -> None:
    """More is fine."""
    key = ("0190abab", "")
    assert checks.applied_early({key: 3}, {key: 3}) == checks.applied_early({}, {key: 1}) == []
    assert checks_of(checks.applied_early({key: 3}, {key: 2})) == {"applied early"}
    assert checks_of(checks.applied_early({key: 3}, {})) == {"applied early"}


def test_event_that_no_checkpoint_covers_is_not_sealed() -> None:
    """Two events in the records 4 and 6 of a partition."""
    ledgers = [parse_ledger([*LEDGER, "promised sealed 2 w"])]
    places = {"w": {1: (3, 4), 2: (3, 6)}}
    assert checks.sealed(ledgers, places, {3: 7}) == []
    for sizes in ({3: 6}, {2: 9}, {}):
        assert checks_of(checks.sealed(ledgers, places, sizes)) == {"sealed"}
    assert checks_of(checks.sealed(ledgers, {}, {3: 7})) == {"sealed"}


@pytest.mark.parametrize(
    ("told", "is_fine"),
    [
        ([(1, Hole(40, 80))], True),
        ([(1, Hole(40, 64))], True),
        ([], False),
        ([(2, Hole(40, 80))], False),
        ([(1, Hole(48, 80))], False),
        ([(1, Hole(40, 88))], False),
        ([(1, Hole(40, 80)), (1, Hole(96, 104))], False),
    ],
)
def test_damage_is_told_byte_by_byte(told: list[tuple[int, Hole]], *, is_fine: bool) -> None:
    """Its end may lack zeros; nothing else."""
    assert (not checks.reported("run-1", [(1, Hole(40, 80))], told)) is is_fine


def test_run_that_was_left_is_ended_once() -> None:
    """Not never and not twice; one whose program was killed may be either, but not twice."""
    left = evidence()
    killed = left._replace(ledgers=[parse_ledger(LEDGER[:-3])])
    for endings, is_fine, is_fine_killed in ((0, False, True), (1, True, True), (2, False, False)):
        effects = replace(left.effects, endings=endings)
        assert (not checks.ended(left._replace(effects=effects))) is is_fine
        assert (not checks.ended(killed._replace(effects=effects))) is is_fine_killed


@pytest.mark.parametrize(
    "line", ["raised tick 1 OSError()", "tick 1 2.5", f"memory {checks.MEMORY_BYTES_MAX + 1}"]
)
def test_disturbed_training_is_noticed(line: str) -> None:
    """An exception, a slow call, a program that grows."""
    assert checks.undisturbed([parse_ledger(LEDGER)]) == []
    assert checks_of(checks.undisturbed([parse_ledger([*LEDGER, line])])) == {"undisturbed"}


def test_complaints_in_the_words_of_a_program_are_noticed() -> None:
    """Of futures, callbacks and tasks; what trialog says and a trace of the program are its own."""
    said = "the log cannot be reached\nTraceback (most recent call last):\nKeyboardInterrupt\n"
    assert checks.quiet({"run-1": said}) == []
    complaint = "Future exception was never retrieved\nfuture: <Future>\n"
    found = checks.quiet({"run-1": said, "run-2": said + complaint})
    assert found == [Finding("quiet", "run-2", "Future exception was never retrieved")]


def test_partition_that_is_not_applied_to_its_end_is_noticed() -> None:
    """Behind or beyond; one that has no records needs no position."""
    assert checks.applied({"events:0": 3}, {"events:0": 3}) == []
    assert checks.applied({}, {}) == []
    for position in ({}, {"events:0": 2}, {"events:0": 4}):
        assert checks_of(checks.applied(position, {"events:0": 3})) == {"applied"}


def history() -> Sender:
    """Return a run as its writer's bytes: everything that the programs log."""
    sender = Sender(7, 1)
    row = (("loss", 0, 1000.0), ("accuracy", 0, 0.0), ("odd", 0, math.nan))
    said: tuple[Said, ...] = (
        Entered("started"),
        Points(((True, row), (False, (("tick", -1, 0.0),)))),
        Parameters((("p0", 0.0),)),
        Parameters((("contested", "by .j2"),)),
        Tags((("t0.j2", "0"),), ()),
        Left("Completed", None, is_owner=True),
    )
    for seq, one in enumerate(said, 1):
        sender.log(Logged(0, seq, 1_000 + seq, one))
    return sender


def entries(*values: bytes) -> list[Entry]:
    """Return values as the log has them."""
    return [Entry(EVENTS, 0, offset, "k", value) for offset, value in enumerate(values)]


def test_log_is_read_to_calls_and_duplicates_have_no_effect() -> None:
    """The bytes of the real writer, sent again in another cut, between rubbish."""
    sender = history()
    log = entries(sender.record(0, 3), b"", b"rubbish", sender.record(1, 6), sender.record(0, 6))
    read = [record for _, record in readable(log) if record is not None]
    effects = effects_of(read)[run_id_of(7)]
    assert effects.calls == [
        Call("step", 0, ""),
        Call("tick", 0, ""),
        Call("parameter", 0, ""),
        Call("contested", 0, ".j2"),
        Call("tag", 0, ".j2"),
    ]
    assert (effects.wrong, effects.endings) == ([], 1)


@pytest.mark.parametrize("odd", [0.0, -math.nan, math.inf])
def test_value_that_is_not_the_programs_bit_for_bit_is_noticed(odd: float) -> None:
    """Not even another NaN."""
    sender = Sender(7, 1)
    row = (("loss", 0, 1000.0), ("accuracy", 0, 0.0), ("odd", 0, odd))
    sender.log(Logged(0, 1, 1_000, Points(((True, row),))))
    record = read_record(sender.record(0, 1))
    assert record is not None
    effects = effects_of([record])[run_id_of(7)]
    assert checks_of(checks.right(Evidence("run-1", [], effects))) == {"right"}


@pytest.mark.parametrize(
    ("thing", "change"),
    [
        ("model run", lambda tables, _: tables.runs.clear()),
        ("model parameter", lambda _, run: run.outcome.parameters.clear()),
        ("model series", lambda _, run: run.series["odd"].append((1, math.nan))),
        ("model summary", lambda _, run: run.summaries.popitem()),
        ("model refusals", lambda _, run: run.outcome.refusals.append((1, 1, "x"))),
        ("model writer", lambda tables, _: tables.writers.popitem()),
        ("model gaps", lambda tables, _: tables.gaps.clear()),
        ("model index", lambda tables, _: tables.index.pop()),
        ("model dead", lambda tables, _: tables.dead.add(9)),
        ("model parked", lambda tables, _: tables.parked.add(9)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_that_differ_from_the_model_are_noticed(
    thing: str, change: Callable[[Tables, RunRows], object]
) -> None:
    """One thing more or less, of each kind of thing."""
    sender = history()
    read = list(readable(entries(sender.record(0, 2), sender.record(3, 6), b"rubbish")))
    model, tables = told(model_of(read)), model_of(read)
    assert checks.like_the_model(model, told(tables)) == []
    (run,) = tables.runs.values()
    change(tables, run)
    assert thing in checks_of(checks.like_the_model(model, told(tables)))


def test_evidence_without_a_ledger_of_the_owner_is_no_evidence() -> None:
    """A defect of the harness must not look like a run that is in order."""
    with pytest.raises(ValueError, match="not enough values"):
        checks.ended(Evidence("run-1", [Ledger(mark=".j2")], RunEffects()))

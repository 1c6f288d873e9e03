"""A proof of one run: it holds by itself, and whatever is changed in it is found and named."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.consumer.project_writers import AT_US, RUN, Writer, metrics
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError
from trialog_schemas.events import ParametersLogged, RunEnded, RunStarted
from trialog_schemas.wire import EVENTS_TOPIC, partition_of
from trialog_server.log.base import Partition, topic_partitions
from trialog_server.log.memory import MemoryLog
from trialog_server.project.checkpoint import read_trees, sign
from trialog_server.project.decode import extend_chain
from trialog_server.project.proof import NotProvenError, check_proof, make_proof

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
HOME = Partition(EVENTS_TOPIC, partition_of(RUN, 2))


def unheard(_done: int, _total: int) -> None:
    """Listen to no progress."""


async def filled() -> MemoryLog:
    """Return a log of two partitions: the run's two writers between the records of other runs."""
    log, owner, joined = MemoryLog(2), Writer(), Writer(writer_id="0190" + "dd" * 14)
    joined.user = "bob@lab"
    others = [Writer(f"{number:032x}", f"0192{number:028x}") for number in range(1, 9)]
    await log.append([owner.record(RunStarted("digits", "first"), at_us=AT_US)])
    for turn in range(3):
        await log.append([other.record(metrics([[float(turn)]])) for other in others])
        await log.append([owner.record(metrics([[1.0], [2.0]], step=2 * turn))])
        await log.append([joined.record(ParametersLogged({f"p{turn}": turn}))])
    await log.append([owner.record(RunEnded("Completed"), at_us=AT_US + 5)])
    return log


async def signed_of(log: MemoryLog) -> bytes:
    """Return a checkpoint of all that is in a log."""
    chains = {
        one: (len(log.stored(one)), extend_chain(b"", log.stored(one)).hex())
        for one in topic_partitions(log)
    }
    return sign(chains, await read_trees(log, chains, unheard), KEY)


@pytest.fixture
async def log() -> MemoryLog:
    """A log with the run in it."""
    return await filled()


@pytest.fixture
async def proof(log: MemoryLog) -> dict[str, Any]:
    """A proof of the run as JSON; what came after the checkpoint is in the log as well."""
    signed = await signed_of(log)
    await log.append([Writer(writer_id="0190" + "ee" * 14).record(metrics([[9.0]]))])
    stored: dict[str, Any] = orjson.loads(await make_proof(log, RUN, signed, unheard))
    return stored


async def test_proof_shows_what_the_run_logged_before_the_checkpoint(
    proof: dict[str, Any],
) -> None:
    """Records, writers, events and points, without the log."""
    proven = check_proof(orjson.dumps(proof), PUBLIC)
    assert (proven.run_id, proven.partition, proven.records) == (RUN, HOME, 8)
    assert proven.name == ("digits", "first")
    assert proven.users == {"ada@forge", "bob@lab"}
    assert proven.events == {
        "run_started": 1, "metrics_logged": 3, "parameters_logged": 3, "run_ended": 1,
    }  # fmt: skip
    assert proven.points == 6
    assert (proven.first_at_us, proven.last_at_us) == (AT_US, AT_US + 5)


async def test_proof_grows_with_the_run_and_hardly_with_the_others(log: MemoryLog) -> None:
    """Of a neighbour that doubles the number of runs it has one hash more, and no bytes."""
    before = len(await make_proof(log, RUN, await signed_of(log), unheard))
    for number in range(100, 200):
        other = Writer(f"{number:032x}", f"0193{number:028x}")
        await log.append([other.record(ParametersLogged({"text": "x" * 200}))])
    after = len(await make_proof(log, RUN, await signed_of(log), unheard))
    assert after - before < 6 * 70


def edited(at: int, change: Callable[[bytes], bytes]) -> Callable[[dict[str, Any]], None]:
    """Return what changes the bytes of a record."""

    def edit(proof: dict[str, Any]) -> None:
        record = proof["records"][at]
        value = change(base64.b64decode(record["value"]))
        record["value"] = base64.b64encode(value).decode()

    return edit


def flipped(value: bytes) -> bytes:
    """Return the bytes with a bit of the last one flipped: in a value, or in the JSON's end."""
    return value[:-1] + bytes([value[-1] ^ 1])


def swapped(proof: dict[str, Any]) -> None:
    """Let two records change places, with their offsets in order."""
    first, second = proof["records"][3:5]
    first["value"], second["value"] = second["value"], first["value"]


def added(proof: dict[str, Any]) -> None:
    """Add a record of a new writer between two offsets of the run."""
    record = Writer(writer_id="0190" + "ff" * 14).record(metrics([[7.0]]))
    value = base64.b64encode(record.value).decode()
    proof["records"].insert(1, {"offset": 1, "value": value})


def of_another_run(proof: dict[str, Any]) -> None:
    """Put a record of another run in."""
    record = Writer("ab" * 16).record(metrics([[7.0]]))
    proof["records"][2]["value"] = base64.b64encode(record.value).decode()


def renamed(proof: dict[str, Any]) -> None:
    """Say that it is the proof of another run, without records."""
    proof.update(run_id="ab" * 16, records=[])


def under_another_key(proof: dict[str, Any]) -> None:
    """Sign the same statement with a key of one's own."""
    other = Ed25519PrivateKey.generate()
    statement = orjson.dumps(proof["checkpoint"]["statement"], option=orjson.OPT_SORT_KEYS)
    proof["checkpoint"].update(
        public_key=other.public_key().public_bytes_raw().hex(),
        signature=base64.b64encode(other.sign(statement)).decode(),
    )


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a byte of a record": (edited(1, flipped), r"at offset \d+ does not follow|cannot be read"),
    "a byte of the last record": (edited(7, flipped), "cannot be read|a writer's last record"),
    "a record that is no record": (edited(1, lambda _: b"x"), r"at offset \d+ is of run None"),
    "a payload that is cut": (edited(1, lambda value: value[:-1]), "cannot be read"),
    "two records swapped": (swapped, "records have other offsets"),
    "order of offsets": (lambda one: one["records"].reverse(), "stands behind that at"),
    "another offset": (lambda one: one["records"][0].update(offset=1), "a writer's last record"),
    "an offset beyond": (lambda one: one["records"][-1].update(offset=99), "came after the"),
    "a record dropped": (lambda one: one["records"].pop(3), "events 2 to 2 of writer|are missing"),
    "the first dropped": (lambda one: one["records"].pop(0), "events 1 to 1 of writer"),
    "the last dropped": (lambda one: one["records"].pop(), "are not those that were signed"),
    "all dropped": (lambda one: one["records"].clear(), "the 0 records of run"),
    "a record added": (added, "are not those that were signed"),
    "another run's record": (of_another_run, f"is of run {'ab' * 16}, not of {RUN}"),
    "another run": (renamed, "are not those that were signed"),
    "another place": (lambda one: one.update(place=0), "are not those that were signed"),
    "a hash dropped": (lambda one: one["path"].pop(), "are not those that were signed"),
    "a hash of another length": (lambda one: one["path"].append("ab"), "no whole proof"),
    "a key of one's own": (under_another_key, "it is signed by key"),
    "a statement": (
        lambda one: one["checkpoint"]["statement"].update(made_at="2001-01-01T00:00:00+00:00"),
        "does not carry the signature",
    ),
    "no checkpoint": (lambda one: one.pop("checkpoint"), "no whole proof"),
    "a version": (lambda one: one.update(version=2), "no whole proof of version 1"),
    "an id that is none": (lambda one: one.update(run_id="AB" * 16), "no whole proof"),
    "an offset that is none": (lambda one: one["records"][0].update(offset=-1), "no whole proof"),
    "a record that is no text": (lambda one: one["records"][0].update(value=7), "no whole proof"),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_whatever_is_changed_in_a_proof_is_found_and_named(
    proof: dict[str, Any], edit: str
) -> None:
    """The first thing that is wrong is said, and where it can be told, which record it is."""
    change, says = EDITS[edit]
    change(proof)
    with pytest.raises(NotProvenError, match=says):
        check_proof(orjson.dumps(proof), PUBLIC)


async def test_proof_that_is_cut_or_no_proof_is_refused(proof: dict[str, Any]) -> None:
    """Wherever a file ends before its end, it is no whole proof."""
    whole = orjson.dumps(proof)
    cut = [whole[:end] for end in range(0, len(whole), 211)]
    for content in (*cut, b"[]", b"{}", b"7", b"\xff"):
        with pytest.raises(NotProvenError, match="no whole proof of version 1"):
            check_proof(content, PUBLIC)


async def test_proof_of_a_log_that_is_not_the_signed_one_is_not_made(log: MemoryLog) -> None:
    """An edit of any run in the partition is noticed; the file would prove nothing."""
    signed = await signed_of(log)
    stored = log.stored(HOME)
    at = next(at for at, one in enumerate(stored) if one.key != RUN)
    stored[at] = stored[at]._replace(value=flipped(stored[at].value))
    with pytest.raises(UnavailableError, match="are not those that were signed"):
        await make_proof(log, RUN, signed, unheard)


async def test_run_or_checkpoint_without_a_proof_says_why(log: MemoryLog) -> None:
    """A run that logged nothing until then, and a checkpoint from before there were trees."""
    with pytest.raises(ResourceNotFoundError, match="covers no record of a run"):
        await make_proof(log, "ab" * 16, await signed_of(log), unheard)
    with pytest.raises(ResourceNotFoundError, match="covers no record of a run"):
        await make_proof(log, RUN, await signed_of(MemoryLog(2)), unheard)
    with pytest.raises(ValidationError, match="make a new one with `trialog checkpoint`"):
        await make_proof(log, RUN, sign({HOME: (0, "")}, {}, KEY), unheard)


async def test_checkpoint_of_a_log_that_is_not_the_applied_one_is_not_made(log: MemoryLog) -> None:
    """Chains that the tables have and the log does not give are not signed."""
    chains = {HOME: (len(log.stored(HOME)), "ab" * 32)}
    with pytest.raises(UnavailableError, match="nothing is signed, `trialog verify` says more"):
        await read_trees(log, chains, unheard)

"""A checkpoint is what was signed, or it is refused; the chains of a log agree with it, or not."""

from __future__ import annotations

import base64
import stat
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.unit.consumer.project_writers import Writer, metrics
from trialog_schemas.errors import ValidationError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition, topic_partitions
from trialog_server.log.memory import MemoryLog
from trialog_server.project.checkpoint import (
    broken_partitions,
    make_key,
    read_checkpoint,
    read_private_key,
    read_public_key,
    sign,
)
from trialog_server.project.decode import extend_chain
from trialog_server.project.run_tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHAINS = {
    Partition(EVENTS_TOPIC, 0): (12, "ab" * 32),
    Partition(EVENTS_TOPIC, 1): (0, ""),
}

TREES = {Partition(EVENTS_TOPIC, 0): Tree(3, "cd" * 32), Partition(EVENTS_TOPIC, 1): Tree(0, "")}

OF_VERSION_1 = (
    b'{"statement":{"made_at":"2026-11-26T08:00:00+00:00","partitions":[{"chain":"%b","partition":0'
    b',"records":12,"topic":"trialog.events.v1"}],"version":1},"public_key":"%b","signature":"%b"}'
)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key's file, with the public one beside it."""
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def signed(tmp_path: Path, key: Path) -> Path:
    """A checkpoint's file."""
    path = tmp_path / "checkpoint.json"
    path.write_bytes(sign(CHAINS, TREES, read_private_key(key)))
    return path


def test_checkpoint_comes_back_with_the_key_that_signed_it(signed: Path, key: Path) -> None:
    """Positions and chains are those that were signed; the public key says by whom."""
    found = read_checkpoint(signed)
    assert (found.checkpoint.chains, found.checkpoint.trees) == (CHAINS, TREES)
    assert found.public_key == read_public_key(key.with_name("key.pem.pub"))


def test_key_is_readable_for_its_user_alone_and_never_replaced(key: Path) -> None:
    """A key that has signed would be lost with its file."""
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    public = key.with_name("key.pem.pub").read_bytes()
    with pytest.raises(FileExistsError):
        make_key(key)
    key.unlink()  # kept elsewhere, say
    with pytest.raises(FileExistsError, match=r"key\.pem\.pub"):
        make_key(key)
    assert not key.exists()
    assert key.with_name("key.pem.pub").read_bytes() == public


CHANGES: dict[str, Callable[[dict[str, object]], object]] = {
    "records": lambda one: one["statement"]["partitions"][0].update(records=11),  # type: ignore[index]
    "chain": lambda one: one["statement"]["partitions"][0].update(chain="ac" * 32),  # type: ignore[index]
    "partition": lambda one: one["statement"]["partitions"].pop(),  # type: ignore[index]
    "time": lambda one: one["statement"].update(made_at="2001-01-01T00:00:00+00:00"),  # type: ignore[attr-defined]
    "key": lambda one: one.update(public_key="00" * 32),
    "signature": lambda one: one.update(signature="AAAA" * 21 + "AA=="),
    "version": lambda one: one["statement"].update(version=1),  # type: ignore[attr-defined]
    "later version": lambda one: one["statement"].update(version=3),  # type: ignore[attr-defined]
    "root": lambda one: one["statement"]["partitions"][0].update(root="ce" * 32),  # type: ignore[index]
    "runs": lambda one: one["statement"]["partitions"][0].update(runs=2),  # type: ignore[index]
    "no runs": lambda one: one["statement"]["partitions"][0].update(runs=0),  # type: ignore[index]
    "no root": lambda one: one["statement"]["partitions"][0].pop("root"),  # type: ignore[index]
    "missing": lambda one: one.pop("signature"),
    "no text": lambda one: one.update(signature=7),
    "negative": lambda one: one["statement"]["partitions"][0].update(records=-1),  # type: ignore[index]
    "short chain": lambda one: one["statement"]["partitions"][0].update(chain="ab"),  # type: ignore[index]
}


@pytest.mark.parametrize("change", CHANGES)
def test_checkpoint_that_was_changed_is_refused(signed: Path, change: str) -> None:
    """Whatever is changed in the file, it is no checkpoint of that key any more."""
    stored = orjson.loads(signed.read_bytes())
    CHANGES[change](stored)
    signed.write_bytes(orjson.dumps(stored))
    with pytest.raises(ValidationError, match="checkpoint"):
        read_checkpoint(signed)


def test_checkpoint_of_version_1_is_still_good(tmp_path: Path, key: Path) -> None:
    """It signed chains alone: whoever keeps one can hold the log against it."""
    private = read_private_key(key)
    unsigned = OF_VERSION_1 % (
        b"ab" * 32,
        private.public_key().public_bytes_raw().hex().encode(),
        b"",
    )
    statement = unsigned[len(b'{"statement":') : unsigned.index(b',"public_key"')]
    path = tmp_path / "old.json"
    signature = base64.b64encode(private.sign(statement))
    path.write_bytes(unsigned.removesuffix(b'""}') + b'"' + signature + b'"}')
    found = read_checkpoint(path).checkpoint
    assert found.chains == {Partition(EVENTS_TOPIC, 0): (12, "ab" * 32)}
    assert (found.version, found.trees) == (1, {})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"statement": null}'])
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is said which file, and what to give."""
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(ValidationError, match="give a file that `trialog checkpoint` wrote"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is said what to make one with."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    for read in (read_private_key, read_public_key):
        with pytest.raises(ValidationError, match="--new-key"):
            read(path)


async def test_log_that_was_changed_breaks_the_partition_of_the_change(
    tmp_path: Path, key: Path
) -> None:
    """Records that come later break nothing; an edited or missing earlier one does."""
    log, writer = MemoryLog(), Writer()
    await log.append([writer.record(metrics([[float(turn)]])) for turn in range(5)])
    chains = {
        one: (len(log.stored(one)), extend_chain(b"", log.stored(one)).hex())
        for one in topic_partitions(log)
    }
    path = tmp_path / "checkpoint.json"
    path.write_bytes(sign(chains, {}, read_private_key(key)))
    checkpoint = read_checkpoint(path).checkpoint
    await log.append([writer.record(metrics([[5.0]]))])
    told: list[tuple[int, int]] = []
    assert await broken_partitions(log, checkpoint, lambda *now: told.append(now)) == []
    assert told[-1] == (5, 5)

    partition = next(one for one in topic_partitions(log) if log.stored(one))
    stored = log.stored(partition)
    whole = stored[2]
    stored[2] = whole._replace(value=whole.value + b"x")
    assert await broken_partitions(log, checkpoint, lambda *_: None) == [partition]
    stored[2] = whole
    assert await broken_partitions(log, checkpoint, lambda *_: None) == []
    del stored[4:]
    assert await broken_partitions(log, checkpoint, lambda *_: None) == [partition]

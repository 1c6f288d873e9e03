"""Checkpoints: how far the log was and what its chains were, signed, to be kept elsewhere.

A chain value covers every record before it. Whoever edits the log, the tables and the chains in the
database alike still cannot make a chain come to a value that was signed before and lies in another
place. Signing proves who made a checkpoint (Ed25519, RFC 8032); it proves nothing about the time.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_schemas.wire import EVENTS_TOPIC, HASH_BYTES
from trialog_server.disk import expect_new, write_new
from trialog_server.log.base import Partition, topic_partitions
from trialog_server.project.decode import extend_chain
from trialog_server.project.log_until import LogUntil
from trialog_server.project.run_tree import RunChain, Tree, add_records, tree_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from trialog_server.log.base import Log, LogRecord

VERSION: Final = 2
"""Of version 1 were checkpoints without trees; they are read as well."""

_READ_BYTES = 16 * 1024 * 1024
_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was signed.

    Args:
        made_at: when, by the clock of the machine that signed; nothing is concluded from it.
        chains: of each partition how many records it had, and their chain as hex digits.
        trees: of each partition of events the runs that its records are of.
        version: of the statement.
    """

    made_at: datetime
    chains: Mapping[Partition, tuple[int, str]]
    trees: Mapping[Partition, Tree] = field(default_factory=dict)
    version: int = VERSION

    def statement(self) -> bytes:
        """Return the bytes that are signed: JSON with sorted keys and no spaces."""
        return orjson.dumps(
            {
                "version": self.version,
                "made_at": self.made_at,
                "partitions": [
                    {
                        "topic": one.topic,
                        "partition": one.number,
                        "records": records,
                        "chain": chain,
                        **(asdict(self.trees[one]) if one in self.trees else {}),
                    }
                    for one, (records, chain) in sorted(self.chains.items())
                ],
            },
            option=orjson.OPT_SORT_KEYS,
        )


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signature was found right, and the public key it is right for (hex)."""

    checkpoint: Checkpoint
    public_key: str


def make_key(path: Path) -> Ed25519PublicKey:
    """Write a new private key that only this user can read, and the public one beside it.

    Raises:
        FileExistsError: one of the files is there; a key that has signed must not be lost, nor the
            one that proves it.
        OSError: it cannot be written.
    """
    public_path = public_half(path)
    expect_new(public_path)  # before the private one, which would have no other half
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(path, pem, 0o600)
    public = key.public_key()
    try:
        write_new(public_path, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except OSError:
        path.unlink()  # it has signed nothing
        raise
    return public


def public_half(path: Path) -> Path:
    """Return where the public half of a new key stands."""
    return path.with_name(f"{path.name}.pub")


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key of a PEM file.

    Raises:
        ValidationError: it holds no Ed25519 private key without a password.
        OSError: it cannot be read.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _no_key(path, "private") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def read_public_key(path: Path) -> str:
    """Return the key of a PEM file as hex digits.

    Raises:
        ValidationError: it holds no Ed25519 public key.
        OSError: it cannot be read.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _no_key(path, "public") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key.public_bytes_raw().hex()


def sign(
    chains: Mapping[Partition, tuple[int, str]],
    trees: Mapping[Partition, Tree],
    key: Ed25519PrivateKey,
) -> bytes:
    """Return the file of a checkpoint made now."""
    statement = Checkpoint(datetime.now(UTC), chains, trees).statement()
    return orjson.dumps(
        {
            "statement": orjson.Fragment(statement),
            "public_key": key.public_key().public_bytes_raw().hex(),
            "signature": base64.b64encode(key.sign(statement)).decode(),
        }
    )


def read_checkpoint(path: Path) -> SignedCheckpoint:
    """Return a checkpoint whose signature is right.

    Raises:
        ValidationError: the file is none, its signature is wrong, or its version is not known.
        OSError: it cannot be read.
    """
    return checkpoint_of(path.read_bytes(), str(path))


def checkpoint_of(content: bytes, name: str) -> SignedCheckpoint:
    """Return the checkpoint of a file's content, if its signature is right; `name` says of which.

    Raises:
        ValidationError: it is none, its signature is wrong, or its version is not known.
    """
    try:
        stored = orjson.loads(content)
        public_key = cast("str", stored["public_key"])
        checkpoint = _checkpoint(stored["statement"])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            base64.b64decode(stored["signature"], validate=True), checkpoint.statement()
        )
    except InvalidSignature as exc:
        raise ValidationError(
            f"checkpoint {name!r} does not carry the signature of its key: it was changed after it "
            "was signed; take an untouched copy",
            field="checkpoint",
            value=name,
        ) from exc
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as exc:
        raise ValidationError(
            f"{name!r} is no checkpoint of version {VERSION} ({type(exc).__name__}: {exc}); "
            "give a file that `trialog checkpoint` wrote",
            field="checkpoint",
            value=name,
            limit=VERSION,
        ) from exc
    return SignedCheckpoint(checkpoint, public_key)


def _checkpoint(statement: dict[str, object]) -> Checkpoint:
    version = statement["version"]
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r}")
    chains: dict[Partition, tuple[int, str]] = {}
    trees: dict[Partition, Tree] = {}
    for one in cast("list[dict[str, object]]", statement["partitions"]):
        topic, number, records, chain = (
            one[name] for name in ("topic", "partition", "records", "chain")
        )
        if type(number) is not int or type(records) is not int or records < 0:
            raise ValueError(f"partition {number!r} with {records!r} records")
        if not isinstance(chain, str) or len(bytes.fromhex(chain)) != HASH_BYTES * bool(records):
            raise ValueError(f"chain {chain!r}")
        partition = Partition(str(topic), number)
        chains[partition] = (records, chain)
        if "root" in one:
            trees[partition] = _tree(one)
    made_at = datetime.fromisoformat(str(statement["made_at"]))
    return Checkpoint(made_at, chains, trees, version)


def _tree(one: Mapping[str, object]) -> Tree:
    runs, root = one["runs"], one["root"]
    if type(runs) is not int or runs < 0:
        raise ValueError(f"partition with {runs!r} runs")
    if not isinstance(root, str) or len(bytes.fromhex(root)) != HASH_BYTES * bool(runs):
        raise ValueError(f"root {root!r}")
    return Tree(runs, root)


async def broken_partitions(
    log: Log, checkpoint: Checkpoint, on_progress: Callable[[int, int], None]
) -> list[Partition]:
    """Return the partitions whose records are not those that a checkpoint was made of.

    Raises:
        UnavailableError: the log does not answer, or a record in between is missing.
    """
    bounds = await log.bounds(topic_partitions(log))
    present = {one: bounds.get(one, (0, 0))[1] for one in checkpoint.chains}
    ends = {
        one: records
        for one, (records, _) in checkpoint.chains.items()
        if 0 < records <= present[one]
    }
    chains = await _chains(log, ends, on_progress)
    return [
        one
        for one, (records, chain) in sorted(checkpoint.chains.items())
        if records and chains.get(one, b"").hex() != chain
    ]


async def read_trees(
    log: Log,
    chains: Mapping[Partition, tuple[int, str]],
    on_progress: Callable[[int, int], None],
) -> dict[Partition, Tree]:
    """Return what a checkpoint signs of the runs of each partition of events.

    Raises:
        UnavailableError: the log does not answer, or is not the one whose chains these are.
    """
    ends = {one: records for one, (records, _) in chains.items() if records}
    for partition, (_, end) in (await log.bounds(topic_partitions(log))).items():
        if end < ends.get(partition, 0):
            raise UnavailableError(
                f"the log ends at {end} in {partition.topic} partition {partition.number}, and "
                f"{ends[partition]} records of it are applied; nothing is signed, `trialog verify` "
                "says more",
                field="log",
                value=end,
                limit=ends[partition],
            )
    runs: dict[Partition, dict[str, RunChain]] = {
        one: {} for one in chains if one.topic == EVENTS_TOPIC
    }
    found = dict.fromkeys(ends, b"")
    async for partition, records in records_until(log, ends, on_progress):
        found[partition] = extend_chain(found[partition], records)
        if partition in runs:
            add_records(runs[partition], records)
    for partition, (count, chain) in chains.items():
        if count and found[partition].hex() != chain:
            raise UnavailableError(
                f"the log does not hold the {count} records that were applied of {partition.topic} "
                f"partition {partition.number}; nothing is signed, `trialog verify` says more",
                field="log",
                value=found[partition].hex(),
                limit=chain,
            )
    return {partition: tree_of(of_partition) for partition, of_partition in runs.items()}


async def _chains(
    log: Log, ends: Mapping[Partition, int], on_progress: Callable[[int, int], None]
) -> dict[Partition, bytes]:
    """Return of each partition the chain over its records before its end."""
    chains = dict.fromkeys(ends, b"")
    async for partition, records in records_until(log, ends, on_progress):
        chains[partition] = extend_chain(chains[partition], records)
    return chains


async def records_until(
    log: Log, ends: Mapping[Partition, int], on_progress: Callable[[int, int], None]
) -> AsyncIterator[tuple[Partition, list[LogRecord]]]:
    """Yield all records of some partitions before their ends, in order of each partition.

    Raises:
        UnavailableError: the log does not answer, or a record in between is missing.
    """
    done, total = 0, sum(ends.values())
    reader = LogUntil(log, ends).reader()
    try:
        reader.assign(dict.fromkeys(ends, 0))
        while done < total:
            found = await reader.fetch(bytes_max=_READ_BYTES, wait_s=_WAIT_S)
            if not found:
                raise UnavailableError(
                    f"the log has not answered for {_WAIT_S:g} s at record {done} of {total}; "
                    "try again"
                )
            for partition, records in found.items():
                yield partition, records
                done += len(records)
            on_progress(done, total)
    finally:
        await reader.close()


def _no_key(path: Path, kind: str) -> ValidationError:
    return ValidationError(
        f"{str(path)!r} holds no Ed25519 {kind} key without a password; "
        "`trialog checkpoint --key KEY --new-key` makes KEY, and KEY.pub for whoever checks",
        field="key",
        value=str(path),
        limit="Ed25519, PEM",
    )

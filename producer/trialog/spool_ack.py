"""The file `ack` of a spool: how far the log has taken it, and from where on it can be sent again.

Each of the two is kept in two slots that are written in turn: a torn write leaves the one before.
Must not know segments or records.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ACK = struct.Struct("<QQQQ32sBiq")
_SLOT_BYTES = 128
_CRC = struct.Struct("<I")

ACK_BYTES = 4 * _SLOT_BYTES
"""Bytes of the whole file, which has them from the start."""


@dataclass(frozen=True, slots=True)
class Ack:
    """How far the log has taken a stream.

    Args:
        segment, offset: where the next stretch begins.
        next_seq: the seq of its first event.
        chain: the writer's chain before it (32 bytes).
        is_catalog_acked: the catalog event is in the log, or there is none.
        partition, log_offset: where the last record went; −1 before the first.
        points: metric points before it, as far as this process has counted; not on the disk.
    """

    segment: int
    offset: int
    next_seq: int
    chain: bytes
    is_catalog_acked: bool = False
    partition: int = -1
    log_offset: int = -1
    points: int = 0

    @property
    def seq(self) -> int:
        """The seq of the newest event before it, 0 before the first."""
        return self.next_seq - 1


class AckFile:
    """The file in a spool's folder; made when it is first written to.

    Args:
        folder: where it is; changed when that gets another name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None
        self._acks = self._starts = 0

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self.folder / "ack"

    def read(self) -> Ack | None:
        """Return how far the stream was taken, or None if nothing ever was."""
        self._acks, ack = self._read_newest(0)
        return ack

    def write(self, ack: Ack) -> None:
        """Note how far the stream is taken."""
        self._acks += 1
        self._write_slot(self._acks % 2, self._acks, ack)

    def read_start(self) -> Ack | None:
        """Return where the oldest segment that is still needed begins, or None.

        Then none was deleted yet, or by a release that noted it nowhere.
        """
        self._starts, start = self._read_newest(2)
        return start

    def write_start(self, start: Ack) -> None:
        """Note where the oldest segment that is still needed begins, before others are deleted."""
        self._starts += 1
        self._write_slot(2 + self._starts % 2, self._starts, start)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read_newest(self, first_slot: int) -> tuple[int, Ack | None]:
        """Return the newer one of two slots, and how often they were written."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return 0, None
        places = (first_slot * _SLOT_BYTES, (first_slot + 1) * _SLOT_BYTES)
        slots = [_read_slot(raw[at : at + _SLOT_BYTES]) for at in places]
        known = [slot for slot in slots if slot is not None]
        return max(known, key=lambda slot: slot[0]) if known else (0, None)

    def _write_slot(self, slot: int, count: int, ack: Ack) -> None:
        if self._file is None:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.path, flags, 0o600)
        body = _ACK.pack(
            count,
            ack.segment,
            ack.offset,
            ack.next_seq,
            ack.chain,
            ack.is_catalog_acked,
            ack.partition,
            ack.log_offset,
        )
        os.lseek(self._file, slot * _SLOT_BYTES, os.SEEK_SET)
        os.write(self._file, _CRC.pack(zlib.crc32(body)) + body)


def _read_slot(slot: bytes) -> tuple[int, Ack] | None:
    if len(slot) < _CRC.size + _ACK.size:
        return None
    body = slot[_CRC.size : _CRC.size + _ACK.size]
    if zlib.crc32(body) != _CRC.unpack_from(slot)[0]:
        return None
    count, segment, offset, next_seq, chain, is_catalog_acked, partition, log_offset = _ACK.unpack(
        body
    )
    ack = Ack(segment, offset, next_seq, chain, bool(is_catalog_acked), partition, log_offset)
    return count, ack

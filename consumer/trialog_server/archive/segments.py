"""Records of one partition to the bytes of a Parquet file and back. Must not do I/O.

Columns: topic, partition, offset, at (the log's time, microseconds, UTC), key, value (the record's
bytes as they are in the log). Any program that reads Parquet reads it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError
from trialog_server.archive.manifest import Segment
from trialog_server.log.base import LogRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_server.log.base import Partition


def need_pyarrow() -> None:
    """Refuse early, where Parquet cannot be read or written.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UnavailableError(
            "an archive is Parquet and needs pyarrow; pip install 'trialog[parquet]'",
            field="archive",
        )


def pack_segment(records: Sequence[LogRecord], chain: bytes) -> tuple[Segment, bytes]:
    """Return what a manifest says of some records, and their file.

    Args:
        records: of one partition, in order, at least one.
        chain: the partition's chain after the last of them.
    """
    content = _pack(records)
    first, last = records[0], records[-1]
    return (
        Segment(
            start=first.offset,
            end=last.offset + 1,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            last_sha256=hashlib.sha256(last.value).hexdigest(),
            chain=chain.hex(),
            first_at_us=first.at_us,
            last_at_us=last.at_us,
        ),
        content,
    )


def _pack(records: Sequence[LogRecord]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  who archives nothing needs no pyarrow
    import pyarrow.parquet as pq  # noqa: PLC0415

    (topic, number), count = records[0].partition, len(records)
    table = pa.table(
        {
            "topic": pa.array([topic] * count, pa.string()),
            "partition": pa.array([number] * count, pa.int32()),
            "offset": pa.array([record.offset for record in records], pa.int64()),
            "at": pa.array([record.at_us for record in records], pa.int64()).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "key": pa.array([record.key for record in records], pa.string()),
            "value": pa.array([record.value for record in records], pa.binary()),
        }
    )
    file = io.BytesIO()
    # The SDK has compressed the values: trying it again would only cost time.
    packed = dict.fromkeys(table.column_names, "zstd") | {"value": "none"}
    pq.write_table(
        table, file, compression=packed, use_dictionary=["topic", "key"], write_statistics=False
    )
    return file.getvalue()


def unpack_segment(content: bytes, partition: Partition) -> list[LogRecord]:
    """Return the records of a file.

    Raises:
        ValueError: it is no segment of this partition.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(io.BytesIO(content))
        topics, numbers, offsets, keys, values = (
            table[name].to_pylist() for name in ("topic", "partition", "offset", "key", "value")
        )
        times = table["at"].cast(pa.int64()).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as exc:
        raise ValueError(f"no Parquet file of records ({type(exc).__name__}: {exc})") from exc
    if set(zip(topics, numbers, strict=True)) != {tuple(partition)}:
        raise ValueError("records of another partition")
    return [
        LogRecord(partition, *columns) for columns in zip(offsets, times, keys, values, strict=True)
    ]

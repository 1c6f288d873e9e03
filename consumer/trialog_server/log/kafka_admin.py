"""What an administrator does for the log on Kafka: topics are made or found. Appends nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import OffsetOutOfRangeError, TopicAlreadyExistsError, for_code

from trialog.transports.kafka_client import start_client, stop_client
from trialog.transports.kafka_producer import KAFKA_AWAY, RECORD_OVERHEAD_BYTES
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trialog_server.log.kafka import KafkaSettings

_TOPIC_CONFIGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES),
    "compression.type": "producer",
}
_BROKER_DEFAULT = -1


@contextlib.asynccontextmanager
async def administrating(
    settings: KafkaSettings, *, answers: int
) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give an administrator's connection for as long as so many answers may take."""
    async with away(settings), asyncio.timeout(answers * settings.answer_timeout_s):
        admin = AIOKafkaAdminClient(
            bootstrap_servers=settings.bootstrap,
            client_id=settings.client_id,
            request_timeout_ms=round(settings.answer_timeout_s * 1000),
        )
        await start_client(admin.start(), admin.close)
        try:
            yield admin
        finally:
            await stop_client(admin.close())


async def ensure_topics(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, events_partitions: int
) -> dict[str, int]:
    """Create the topics where they are missing; return how many partitions each has."""
    wanted = {CATALOG_TOPIC: 1, EVENTS_TOPIC: events_partitions}
    names = _names(settings)
    answer = await admin.create_topics(
        [
            NewTopic(
                name=names[topic],
                num_partitions=partitions,
                replication_factor=_BROKER_DEFAULT,
                replica_assignments={},  # aiokafka takes the broker's default only beside it
                topic_configs=_TOPIC_CONFIGS,
            )
            for topic, partitions in wanted.items()
        ]
    )
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {name} cannot be created")
    return await _counts(admin, names)


async def find_topics(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> dict[str, int]:
    """Return how many partitions each topic has; make none.

    Raises:
        ResourceNotFoundError: there are none.
    """
    names = _names(settings)
    # All names first: a broker may make a topic because somebody asks for it.
    known = set(await admin.list_topics())
    missing = sorted(set(names.values()) - known)
    if missing:
        raise ResourceNotFoundError(
            f"there are no trialog topics at {settings.bootstrap} ({' and '.join(missing)} missing)"
            "; give the address of the service's Kafka in --kafka or TRIALOG_KAFKA",
            field="kafka",
            value=settings.bootstrap,
        )
    return await _counts(admin, names)


def _names(settings: KafkaSettings) -> dict[str, str]:
    return {topic: settings.topic_prefix + topic for topic in (CATALOG_TOPIC, EVENTS_TOPIC)}


async def _counts(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, int]:
    while True:
        described = await admin.describe_topics(list(names.values()))
        counts = {item["topic"]: len(item["partitions"]) for item in described}
        # A new topic is known to the controller first; a moment later to the broker asked.
        if all(counts.get(name) for name in names.values()):
            return {topic: counts[name] for topic, name in names.items()}
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def away(settings: KafkaSettings) -> AsyncIterator[None]:
    """Turn every error that means "Kafka is away" into `UnavailableError`."""
    try:
        yield
    except OffsetOutOfRangeError:
        raise
    except KAFKA_AWAY as exc:
        reason = f"{type(exc).__name__}: {exc}".rstrip(": ")
        raise UnavailableError(
            f"kafka at {settings.bootstrap} cannot be reached now ({reason}); it is tried again, "
            "nothing is lost",
            field="bootstrap",
            value=settings.bootstrap,
        ) from exc

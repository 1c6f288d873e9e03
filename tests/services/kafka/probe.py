"""Whether a broker serves: asked of it by a real client, not guessed from its output."""

from __future__ import annotations

import socket

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.services.blocking import run_blocking

_CONNECT_TIMEOUT_S = 0.5
_REQUEST_TIMEOUT_MS = 2_000


def is_serving(bootstrap: str) -> bool:
    """Whether the broker answers and every partition of every topic has a leader."""
    host, port = bootstrap.rsplit(":", 1)
    try:
        # The client logs an error for every connection that is refused; ask first.
        with socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S):
            pass
    except OSError:
        return False
    return run_blocking(_has_leaders(bootstrap))


async def _has_leaders(bootstrap: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        topics = await admin.describe_topics()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    partitions = [partition for topic in topics for partition in topic["partitions"]]
    return bool(cluster["brokers"]) and all(p["leader"] >= 0 for p in partitions)

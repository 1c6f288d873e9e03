"""Which way to the log a session takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.transports.http import HttpTransport

if TYPE_CHECKING:
    from trialog.settings import Endpoint
    from trialog.transports.base import Transport

KAFKA_GIVE_UP_S = 10.0
"""After this long without a broker a send gives up and the sender says so; a broker that starts
again, which takes some seconds, is waited for without a word."""


def new_transport(endpoint: Endpoint) -> Transport:
    """Return the way to the log that the session names."""
    if endpoint.kafka is None:
        return HttpTransport(endpoint)
    # A program that logs by HTTP never needs them, and aiokafka is a fifth of `import trialog`.
    from trialog.transports.kafka import KafkaTransport  # noqa: PLC0415
    from trialog.transports.kafka_producer import ProducerSettings  # noqa: PLC0415
    from trialog.transports.kafka_words import say_once_of_ours  # noqa: PLC0415

    say_once_of_ours()
    return KafkaTransport(endpoint.kafka, ProducerSettings(give_up_s=KAFKA_GIVE_UP_S))

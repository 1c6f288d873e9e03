"""Which way to the log a session takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.transports.http import HttpTransport
from trialog.transports.kafka import KafkaTransport
from trialog.transports.kafka_producer import ProducerSettings
from trialog.transports.kafka_words import say_once_of_ours

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
    say_once_of_ours()
    return KafkaTransport(endpoint.kafka, ProducerSettings(give_up_s=KAFKA_GIVE_UP_S))

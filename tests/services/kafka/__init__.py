"""A real Apache Kafka broker: given by address, in a container, or from Kafka's own jars."""

from tests.services.kafka.broker import KafkaBroker
from tests.services.kafka.choose import BROKER_VARIABLE, Broker, open_broker
from tests.services.kafka.jars import fetch_jars

__all__ = ["BROKER_VARIABLE", "Broker", "KafkaBroker", "fetch_jars", "open_broker"]

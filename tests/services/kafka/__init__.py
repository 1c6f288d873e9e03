"""A real Apache Kafka broker: given by address, in a container, or from Kafka's own jars."""

from tests.services.kafka.broker import KafkaBroker
from tests.services.kafka.choose import BROKER_VARIABLE, Broker, open_broker
from tests.services.kafka.prepare import prepare_kafka

__all__ = ["BROKER_VARIABLE", "Broker", "KafkaBroker", "open_broker", "prepare_kafka"]

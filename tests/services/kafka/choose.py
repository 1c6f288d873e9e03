"""Which broker the tests use: the one given by address, a container's, or one from the jars."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.services.errors import ServiceUnavailableError
from tests.services.kafka.broker import KafkaBroker
from tests.services.kafka.container import is_engine_answering, run_container
from tests.services.kafka.probe import is_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKER_VARIABLE = "TRIALOG_TEST_KAFKA"
"""Names the environment variable that gives the address of a broker to use."""


class Broker(Protocol):
    """A broker to talk to; only a `KafkaBroker` can also be killed."""

    @property
    def bootstrap(self) -> str:
        """The address for clients."""


@dataclass(frozen=True)
class _ServingAt:
    bootstrap: str


@contextmanager
def open_broker() -> Iterator[Broker]:
    """Give a broker that serves, and end it afterwards unless it was given by address.

    Raises:
        ServiceUnavailableError: None of the three ways leads to a broker.
    """
    address = os.environ.get(BROKER_VARIABLE)
    if address:
        yield _given(address)
    elif is_engine_answering():
        with run_container() as bootstrap:
            yield _ServingAt(bootstrap)
    else:
        with KafkaBroker() as broker:
            yield broker


def _given(address: str) -> Broker:
    first = address.partition(",")[0]
    if not is_serving(first):
        raise ServiceUnavailableError(
            f"{BROKER_VARIABLE} is {address!r}, but no broker with a leader for every partition "
            f"answers at {first!r}; start it or unset the variable"
        )
    return _ServingAt(address)

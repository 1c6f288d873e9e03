"""What aiokafka says of trialog's own connections is said once; of others', always."""

from __future__ import annotations

import contextvars
import logging
from typing import TYPE_CHECKING

from trialog.settings import Session
from trialog.transports.choose import new_transport
from trialog.transports.kafka_words import AGAIN_AFTER_S, RepeatedWords, say_once_of_ours

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

AWAY = 'Unable connect to "%s:%s": %s'


def seen(words: RepeatedWords, port: int) -> bool:
    """Tell whether a line of aiokafka's passes the filter."""
    error = logging.LogRecord("aiokafka", logging.ERROR, "", 0, AWAY, ("h", port, "no"), None)
    return bool(words.filter(error))


def test_words_of_our_own_clients_come_once_an_hour_and_of_others_always() -> None:
    """Another text is another trouble; a program's own client is none of ours."""
    now_s = [0.0]
    words = RepeatedWords(lambda: now_s[0])
    theirs = contextvars.Context()
    assert [theirs.run(seen, words, 1) for _ in range(3)] == [True] * 3
    ours = contextvars.Context()
    ours.run(say_once_of_ours)
    assert [ours.run(seen, words, port) for port in (1, 1, 2, 1, 2)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert theirs.run(seen, words, 1)
    now_s[0] = AGAIN_AFTER_S
    assert ours.run(seen, words, 1)


def test_transport_to_brokers_that_are_away_has_aiokafka_say_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its loggers keep their levels and handlers; nothing is configured."""
    caplog.set_level(logging.ERROR, "aiokafka")  # the service's commands make it silent
    before = [logging.getLogger("aiokafka").level, list(logging.getLogger("aiokafka").handlers)]
    endpoint = Session(kafka="brokers.of.this.test:9092", spool_dir=tmp_path).resolve()
    ours = contextvars.Context()
    ours.run(new_transport, endpoint)
    for _ in range(5):
        ours.run(logging.getLogger("aiokafka").error, AWAY, "brokers.of.this.test", 9092, "no")
    assert len(caplog.records) == 1
    logger = logging.getLogger("aiokafka")
    assert [logger.level, list(logger.handlers)] == before

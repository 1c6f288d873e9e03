"""Where the SDK's words to people go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from trialog.notice_logger import notice_logger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def structlog_as_found() -> Iterator[None]:
    """Each test begins with a program that has configured nothing."""
    before, was_configured = structlog.get_config(), structlog.is_configured()
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if was_configured:
        structlog.configure(**before)


def test_words_of_a_program_without_logging_go_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Standard output is the program's result: a pipe behind it gets nothing of ours."""
    notice_logger().warning("the log cannot be reached", address="http://127.0.0.1:1")

    out, err = capsys.readouterr()

    assert out == ""
    assert "the log cannot be reached" in err
    assert "http://127.0.0.1:1" in err


def test_words_go_where_a_program_has_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that uses structlog has them among its own lines, however late it says so."""
    notice_logger()
    with structlog.testing.capture_logs() as logged:
        notice_logger().warning("the log is back", address="there")

    assert logged == [{"event": "the log is back", "address": "there", "log_level": "warning"}]
    assert capsys.readouterr() == ("", "")

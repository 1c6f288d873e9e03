"""What a session becomes when it is used: mistakes are named then, and no secret is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import trialog
from trialog.settings import Endpoint, Session

if TYPE_CHECKING:
    from pathlib import Path


def resolved(tmp_path: Path, **variables: str) -> Endpoint:
    """Resolve a session that has nothing but these variables and a folder."""
    return Session(spool_dir=tmp_path).resolve(variables)


def refused(tmp_path: Path, **variables: str) -> trialog.ValidationError:
    """Return the error that these variables cause."""
    with pytest.raises(trialog.ValidationError) as caught:
        resolved(tmp_path, **variables)
    return caught.value


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:7788", "http://127.0.0.1:7788"),
        ("https://lab.example/trialog/", "https://lab.example/trialog"),
        ("http://[::1]:7788", "http://[::1]:7788"),
        ("HTTP://lab.example", "http://lab.example"),
        ("http://lab.example/@team", "http://lab.example/@team"),
    ],
)
def test_legal_url_is_taken(tmp_path: Path, url: str, taken: str) -> None:
    """The scheme's case means nothing; two spellings of it are one service."""
    assert resolved(tmp_path, TRIALOG_URL=url).url == taken


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "127.0.0.1:7788",
        "http:/x",
        "http://",
        "https:///",
        "http://:7788",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://h x",
        "http://h\n",
        "http://h\x00",
    ],
)
def test_url_that_leads_nowhere_is_refused(tmp_path: Path, url: str) -> None:
    """It is named at once, and not tried again and again by the sender."""
    error = refused(tmp_path, TRIALOG_URL=url)
    assert error.field == "url"
    assert repr(url) in error.message
    assert error.limit is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://u:s3cret@127.0.0.1:1",
        "http://s3cret@127.0.0.1:1",
        "http://u:s3/cret@127.0.0.1:1",
        "ftp://u:s3cret@127.0.0.1:1",
        "u:s3cret@127.0.0.1:1",
        "http://u:s3cret@127.0.0.1:99999",
    ],
)
def test_password_in_a_url_is_refused_and_never_shown(tmp_path: Path, url: str) -> None:
    """Neither messages nor the spool's facts on the disk repeat what stands before the host."""
    error = refused(tmp_path, TRIALOG_URL=url)
    assert error.field == "url"
    assert "127.0.0.1" in error.message
    assert "s3" not in f"{error.message} {error.value}"


@pytest.mark.parametrize(
    "brokers", ["127.0.0.1:99999", "garbage", ",", "h:0", ":9092", "h:9092,", "h:" + "9" * 5000]
)
def test_wrong_brokers_are_refused(tmp_path: Path, brokers: str) -> None:
    """The rule is the service's, and a long value is cut in the message."""
    error = refused(tmp_path, TRIALOG_KAFKA=brokers)
    assert (error.field, error.limit) == ("kafka", "HOST:PORT[,…]")
    assert len(error.message) < 200


def test_right_brokers_are_taken_as_they_are(tmp_path: Path) -> None:
    """Several are joined by commas; an empty variable names none."""
    assert resolved(tmp_path, TRIALOG_KAFKA="h:9092, [::1]:9093").kafka == "h:9092, [::1]:9093"
    assert resolved(tmp_path, TRIALOG_KAFKA="").kafka is None


@pytest.mark.parametrize(
    ("ending", "named"),
    [("\n", "a line break"), ("\r\n", "a line break"), ("\x00", "U+0000"), ("€", "U+20AC")],
)
def test_key_that_no_header_carries_is_refused_and_never_shown(
    tmp_path: Path, ending: str, named: str
) -> None:
    """The message says what is wrong and where, not the key; nor does the cause show it."""
    error = refused(tmp_path, TRIALOG_API_KEY=f"s3cret{ending}")
    assert error.field == "api_key"
    assert f"{named} as character 7 of" in error.message
    assert "s3cret" not in f"{error.message} {error.value}"
    assert (error.__cause__, error.__context__) == (None, None)


def test_key_of_latin_1_is_taken(tmp_path: Path) -> None:
    """Every character that a header may hold is legal, a blank within too."""
    assert resolved(tmp_path, TRIALOG_API_KEY="s3 crét~").api_key == "s3 crét~"


def test_home_folder_that_nobody_knows_names_the_remedy() -> None:
    """A mistyped `~user` is the caller's mistake, said before a run begins."""
    with pytest.raises(trialog.ValidationError, match="set TRIALOG_SPOOL_DIR") as caught:
        Session(spool_dir="~no-such-user/spool").resolve({})
    assert caught.value.field == "spool_dir"
    assert "'~no-such-user/spool'" in caught.value.message


_NOBODY = """
import os, platformdirs, trialog
os.setuid(54321)
try:
    trialog.Session().resolve()
except trialog.ValidationError as error:
    print(error.field, error.message)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_user_without_a_home_folder_is_told_the_remedy() -> None:
    """A container's user may have neither HOME nor a name: the default folder is nowhere then."""
    unset = {"HOME", "XDG_STATE_HOME", "TRIALOG_SPOOL_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    printed = subprocess.check_output([sys.executable, "-c", _NOBODY], env=environment, text=True)
    assert printed.startswith("spool_dir the default folder of spools is in a home folder")
    assert "set TRIALOG_SPOOL_DIR" in printed

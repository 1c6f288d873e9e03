"""Bad input through the SDK's variables: the variable is named, before a run is anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import trialog
from trialog.settings import Session
from trialog_schemas.errors import WrongTypeError

if TYPE_CHECKING:
    from pathlib import Path

GARBAGE = {
    "TRIALOG_URL": [
        " ", "garbage", "ftp://h", "http://", "http://h:0", "http://h:99999", "http://h:x",
        "http://u:s3cret@h", "http://h\n", "http://h h", "/tmp", "~", "http://h\ud800",
    ],
    "TRIALOG_KAFKA": [" ", "h", "h:0", "h:99999", "h:x", ":1", "h:1;i:2", "h:1,", "h:1\0"],
    "TRIALOG_API_KEY": [
        "s3cret\n", "s3cret\r\nX: y", " s3cret", "s3cret ", "s3cret\0", "s3cret\u20ac",
    ],
    "TRIALOG_SPOOL_DIR": [" ", "\n", "a\0b", "\ud800", "~nobody-at-all/spool"],
}  # fmt: skip


# B1
@pytest.mark.parametrize("variable", GARBAGE)
def test_variable_that_cannot_be_is_named(variable: str) -> None:
    """The sentence begins with the variable; a password or a key is never in it."""
    for value in GARBAGE[variable]:
        with pytest.raises(trialog.ValidationError) as caught:
            Session().resolve({variable: value})
        assert caught.value.message.startswith(f"{variable}: "), value
        assert str(caught.value) == caught.value.message
        assert caught.value.field == variable.removeprefix("TRIALOG_").lower()
        assert caught.value.limit
        assert "s3cret" not in f"{caught.value} {caught.value.value}"
        assert len(str(caught.value)) < 400


def test_empty_variable_says_nothing() -> None:
    """As if it were not set; what is given in its place is told without its name."""
    nothing = dict.fromkeys(GARBAGE, "")
    assert Session().resolve(nothing) == Session().resolve({})
    with pytest.raises(trialog.ValidationError, match=r"^url 'ftp://h' does not begin"):
        Session(url="ftp://h").resolve({"TRIALOG_URL": "http://h"})


def test_folder_of_spools_is_what_a_shell_would_make_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home folder, also where no shell has seen it; a relative one is below here."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("~/spool", "spool", "./spool"):
        assert Session().resolve({"TRIALOG_SPOOL_DIR": given}).spool_dir == tmp_path / "spool"


@pytest.mark.parametrize("field", ["url", "kafka", "api_key", "spool_dir"])
def test_setting_of_another_type_is_refused_unseen_where_it_is_a_secret(field: str) -> None:
    """Numbers, lists and what only claims to be a text."""
    for value in (7, 0, True, ["s3cret"], {"s3cret": 1}, object()):
        with pytest.raises(WrongTypeError) as caught:
            Session(**{field: value}).resolve({})  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.limit) == (field, "text")
        assert isinstance(caught.value, TypeError)
        if field == "api_key":
            assert "s3cret" not in f"{caught.value} {caught.value.value}"


# B8
def test_names_of_a_job_that_cannot_be_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both variables are checked like the names they stand for, before anybody is asked."""
    session = Session(url="http://127.0.0.1:9", spool_dir=tmp_path)
    for bad in ("a b", "x" * 121, "../x", "l\u043ess", "a\n"):
        for variable, other in (
            ("TRIALOG_EXPERIMENT", "TRIALOG_RUN"),
            ("TRIALOG_RUN", "TRIALOG_EXPERIMENT"),
        ):
            monkeypatch.setenv(variable, bad)
            monkeypatch.setenv(other, "good")
            with pytest.raises(trialog.ValidationError, match=f"^{variable}: "):
                trialog.load_run(session=session)


def test_folder_of_spools_that_cannot_be_is_said_at_entering(tmp_path: Path) -> None:
    """A file in its place: nothing is created, and the sentence names the folder."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        session = Session(url="http://127.0.0.1:9", spool_dir=folder)
        with pytest.raises(trialog.TrialogError, match="file"), trialog.Run("e", "r", session):
            pytest.fail("the run has no place for its spool")

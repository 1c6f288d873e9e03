"""Where a program logs to and as whom; the one place of the SDK that reads the environment."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trialog.addresses import check_api_key, check_kafka, check_url, setting_text
from trialog_schemas.callers_code import kind_name
from trialog_schemas.errors import ValidationError, WrongTypeError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Taken = TypeVar("Taken")

DEFAULT_URL = "http://127.0.0.1:7788"
"""Where `trialog up` serves when nobody tells it otherwise."""

ACCOUNT = "default"
"""The account of a service without accounts; keys with rights will bring others."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A session with everything resolved: no None stands for the environment any more.

    Args:
        url: address of the service, without a slash at its end.
        kafka: bootstrap servers when events go to Kafka directly; None sends them to the service.
        api_key: what the service wants to see, if it wants anything.
        spool_dir: folder of the spools.
        account: whose data is written.
        user: who acts, `user@host`.
    """

    url: str
    kafka: str | None
    api_key: str | None = field(repr=False)
    spool_dir: Path
    account: str
    user: str

    @property
    def log_address(self) -> str:
        """The address events are sent to, for messages."""
        return f"kafka {self.kafka}" if self.kafka else self.url

    @property
    def host(self) -> str:
        """The name of this machine."""
        return self.user.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Session:
    """Where and as whom a program logs; cheap, frozen, may be shared and pickled.

    A field that is None takes the environment when the session is first used: `TRIALOG_URL`,
    `TRIALOG_KAFKA`, `TRIALOG_API_KEY`, `TRIALOG_SPOOL_DIR`, and then the default.

    Args:
        url: address of the service, for example `http://127.0.0.1:7788`.
        kafka: bootstrap servers; with them events go to Kafka directly.
        api_key: the key of a service that asks for one.
        spool_dir: folder for what is not yet with the service; the default is the user's state
            folder of this system.
    """

    url: str | None = None
    kafka: str | None = None
    api_key: str | None = field(default=None, repr=False)
    spool_dir: str | Path | None = None

    def resolve(self, environment: Mapping[str, str] | None = None) -> Endpoint:
        """Return the session with the environment's values in place of None.

        Args:
            environment: the variables; None takes those of the process.

        Raises:
            ValidationError: an address, a key or a folder that nobody can use.
        """
        known = os.environ if environment is None else environment
        return Endpoint(
            url=_chosen("url", self.url, ("TRIALOG_URL", known), check_url) or DEFAULT_URL,
            kafka=_chosen("kafka", self.kafka, ("TRIALOG_KAFKA", known), check_kafka),
            api_key=_chosen("api_key", self.api_key, ("TRIALOG_API_KEY", known), check_api_key),
            spool_dir=_chosen("spool_dir", self.spool_dir, ("TRIALOG_SPOOL_DIR", known), _spool_dir)
            or _spool_dir(None),
            account=ACCOUNT,
            user=f"{_user_name()}@{socket.gethostname()}",
        )


def _chosen(
    field: str,
    given: object,
    otherwise: tuple[str, Mapping[str, str]],
    check: Callable[[str], Taken],
) -> Taken | None:
    """Return what is given, else what a variable says; an empty text says nothing."""
    text = "" if given is None else setting_text(field, given)
    if text:
        return check(text)
    variable, environment = otherwise
    said = environment.get(variable)
    with named_variable(variable):
        return check(said) if said else None


@contextlib.contextmanager
def named_variable(variable: str) -> Iterator[None]:
    """Have a refusal say which variable of the environment it comes from."""
    try:
        yield
    except ValidationError as exc:
        # The same error: another one would carry this one, which may have seen a key.
        exc.message = f"{variable}: {exc.message}"
        exc.args = (exc.message,)
        raise


def job_run_names(environment: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Return experiment and run that `TRIALOG_EXPERIMENT` and `TRIALOG_RUN` name for this job."""
    known = os.environ if environment is None else environment
    return known.get("TRIALOG_EXPERIMENT") or None, known.get("TRIALOG_RUN") or None


def session_of(session: Session | None, sagemaker_session: Session | None = None) -> Session:
    """Return the session to use; `sagemaker_session` is the name that ported snippets give it.

    Raises:
        WrongTypeError: it is no Session.
        TypeError: both names are given.
    """
    if session is not None and sagemaker_session is not None:
        raise TypeError("session and its alias sagemaker_session are both given; give one")
    chosen = session if session is not None else sagemaker_session
    if chosen is None:
        return Session()
    if not issubclass(type(chosen), Session):
        raise WrongTypeError(
            f"session is {shown(chosen)} of type {kind_name(chosen)}; give a trialog.Session",
            field="session",
            value=chosen,
            limit="a trialog.Session",
        )
    return chosen


def _spool_dir(given: str | None) -> Path:
    if given is not None and (not given.strip() or "\0" in given or not _is_encodable(given)):
        raise ValidationError(
            f"spool_dir {shown(given)} is blank, or has a NUL or a lone surrogate, which no folder "
            "can have; give a folder that can be written",
            field="spool_dir",
            value=given,
            limit="the path of a folder",
        )
    try:
        path = Path(given) if given else _default_spool_dir()
        return path.expanduser().absolute()
    except RuntimeError as exc:  # no HOME, and a user whom this system does not know
        named = "the default folder of spools" if given is None else f"spool_dir {shown(given)}"
        raise ValidationError(
            f"{named} is in a home folder that nobody knows; set TRIALOG_SPOOL_DIR to a folder "
            "that can be written",
            field="spool_dir",
            value=given,
            limit="a known folder",
        ) from exc


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _default_spool_dir() -> Path:
    import platformdirs  # noqa: PLC0415  only a session without a folder needs it

    return platformdirs.user_state_path("trialog") / "spool"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"

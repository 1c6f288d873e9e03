"""Where a program logs to and as whom; the one place of the SDK that reads the environment."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trialog.addresses import check_api_key, check_kafka, check_url
from trialog_schemas.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        kafka = self.kafka or known.get("TRIALOG_KAFKA")
        api_key = self.api_key or known.get("TRIALOG_API_KEY")
        return Endpoint(
            url=check_url(self.url or known.get("TRIALOG_URL") or DEFAULT_URL),
            kafka=check_kafka(kafka) if kafka else None,
            api_key=check_api_key(api_key) if api_key else None,
            spool_dir=_spool_dir(self.spool_dir or known.get("TRIALOG_SPOOL_DIR")),
            account=ACCOUNT,
            user=f"{_user_name()}@{socket.gethostname()}",
        )


def job_run_names(environment: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Return experiment and run that `TRIALOG_EXPERIMENT` and `TRIALOG_RUN` name for this job."""
    known = os.environ if environment is None else environment
    return known.get("TRIALOG_EXPERIMENT") or None, known.get("TRIALOG_RUN") or None


def session_of(session: Session | None, sagemaker_session: Session | None = None) -> Session:
    """Return the session to use; `sagemaker_session` is the name that ported snippets give it.

    Raises:
        TypeError: it is no Session, or both names are given.
    """
    if session is not None and sagemaker_session is not None:
        raise TypeError("session and its alias sagemaker_session are both given; give one")
    chosen = session if session is not None else sagemaker_session
    if chosen is None:
        return Session()
    if not isinstance(chosen, Session):
        raise TypeError(f"session is a {type(chosen).__name__}; give a trialog.Session")
    return chosen


def _spool_dir(given: str | Path | None) -> Path:
    try:
        path = Path(given) if given else _default_spool_dir()
        return path.expanduser().absolute()
    except RuntimeError as exc:  # no HOME, and a user whom this system does not know
        named = "the default folder of spools" if given is None else f"spool_dir {str(given)!r}"
        raise ValidationError(
            f"{named} is in a home folder that nobody knows; set TRIALOG_SPOOL_DIR to a folder "
            "that can be written",
            field="spool_dir",
            value=given,
            limit="a known folder",
        ) from exc


def _default_spool_dir() -> Path:
    import platformdirs  # noqa: PLC0415  only a session without a folder needs it

    return platformdirs.user_state_path("trialog") / "spool"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"

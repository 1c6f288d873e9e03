"""The settings of the service, checked against each other when built; reads no environment.

`commands.py` builds them once from flags and environment; everything below gets them passed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from unicodedata import category
from urllib.parse import parse_qs, urlsplit

import platformdirs

from trialog.addresses import check_api_key, check_kafka, is_port
from trialog_schemas.errors import ValidationError, did_you_mean, shown
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_server.log.base import LAPTOP_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

VALUE_CHARS_POLICY_MAX = 65_536
"""The largest `parameter_value_chars_max` of a policy: a value of control characters, which JSON
writes with six bytes each, then still fits a record of the log beside others."""

_DIGITS_MAX = 19
"""Digits of the largest number that a limit can be."""

_SHELL_CHARACTERS = '"$`'
"""What a shell reads even between quotation marks, between which `pg_ctl` puts a path."""

DEFAULT_PORT = 7788
"""Where the SDK looks for a service when nobody tells it otherwise."""


STALE_AFTER_S = 3600.0
"""How long a run in progress may be silent before it is shown as stale; why: README.md."""

STALE_AFTER_S_MAX = 3e9
"""95 years: as good as never, and dates reach back that far."""


def default_data_dir() -> Path:
    """Return the folder of the embedded service: the user's data folder of this system.

    Raises:
        ValidationError: nobody knows where that is.
    """
    try:
        return Path(platformdirs.user_data_path("trialog"))
    except RuntimeError as exc:  # a container's user may have no home
        raise ValidationError(
            "the default data folder is in a home folder that nobody knows; give a folder with "
            "--data-dir or TRIALOG_DATA_DIR",
            field="data_dir",
            limit="a known folder",
        ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one process of the service is told.

    Args:
        data_dir: folder of the embedded Postgres and log and of the artifacts.
        host: address to bind; another than this machine's own needs an `api_key`.
        port: port to bind; None takes 7788, or a free one where that is taken.
        kafka: bootstrap servers `HOST:PORT[,…]`; None takes the embedded log.
        postgres: address `postgresql://…`; None starts the embedded Postgres.
        artifacts: address of the artifact store (`file:`, `s3:`, …); None takes the data folder.
        archive: where the beginning of the log is kept (a folder, `s3:`, …); None is nowhere.
        api_key: what clients must present; None lets everybody on this machine in.
        events_partitions: partitions of the events topic, used when it is created.
        limits: the policy that new runs get; others keep theirs.
        stale_after_s: silence in seconds after which a run in progress is shown as stale.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int | None = None
    kafka: str | None = None
    postgres: str | None = None
    artifacts: str | None = None
    archive: str | None = None
    api_key: str | None = None
    events_partitions: int = LAPTOP_PARTITIONS
    limits: Limits = DEFAULT_LIMITS
    stale_after_s: float = STALE_AFTER_S

    def __post_init__(self) -> None:
        if not _is_loopback(self.host) and not self.api_key:
            raise ValidationError(
                f"host {self.host!r} can be reached from other machines and no API key is set; "
                "set TRIALOG_API_KEY or bind to 127.0.0.1",
                field="host",
                value=self.host,
                limit="an API key",
            )
        if not 0 < self.stale_after_s <= STALE_AFTER_S_MAX:
            raise ValidationError(
                f"stale_after_s is {self.stale_after_s!r}, allowed are numbers above 0 and up to "
                f"{STALE_AFTER_S_MAX:.0f}; give the seconds of silence after which a run in "
                "progress is shown as stale",
                field="stale_after_s",
                value=self.stale_after_s,
                limit=f"above 0, up to {STALE_AFTER_S_MAX:.0f}",
            )
        if self.api_key is not None:
            check_api_key(self.api_key)
        if self.postgres is not None:
            _check_postgres(self.postgres)
        else:
            _check_data_dir(self.data_dir)
        if self.kafka is not None:
            check_kafka(self.kafka)
        if self.archive is not None and not self.archive.strip():
            raise ValidationError(
                f"the archive {self.archive!r} is no address; give a folder, or one like "
                "s3://BUCKET/PREFIX",
                field="archive",
                value=self.archive,
                limit="a folder, s3://…, gs://…, az://…, file:///…",
            )

    @property
    def artifact_bytes_max(self) -> int:
        """Bytes of an artifact that the store takes: also those of runs under the defaults."""
        return max(self.limits.artifact_bytes_max, DEFAULT_LIMITS.artifact_bytes_max)

    @property
    def artifacts_url(self) -> str:
        """The address of the artifact store."""
        return self.artifacts or (self.data_dir.resolve() / "artifacts").as_uri()


def _check_data_dir(folder: Path) -> None:
    """Refuse a path that Postgres' own start, a line of the shell, would not read as it is."""
    path = str(folder.expanduser().resolve())
    odd = [one for one in path if one in _SHELL_CHARACTERS or category(one) in {"Cc", "Cs"}]
    odd += ["two backslashes"] if "\\\\" in path else []
    if odd:
        raise ValidationError(
            f"data folder {path!r} has {odd[0]!r} in its path, with which Postgres cannot "
            "be started with; give another with --data-dir or TRIALOG_DATA_DIR",
            field="data_dir",
            value=path,
            limit="no quotation mark, dollar, backtick or control character",
        )


def parse_limits(texts: Iterable[str]) -> Limits:
    """Return the default policy with some numbers changed, each told as `NAME=NUMBER`.

    Raises:
        ValidationError: a text of another form, no such limit, one told twice, or no legal number.
    """
    known = asdict(DEFAULT_LIMITS)
    told: dict[str, int] = {}
    for text in texts:
        name, equals, number = (part.strip() for part in text.partition("="))
        if not equals:
            raise _no_limit(f"limit {shown(text)} is not of the form NAME=NUMBER", text, known)
        if name not in known:
            raise _no_limit(f"there is no limit {shown(name)}", name, known)
        if name in told:
            raise _no_limit(f"limit {name} is given twice", text, [])
        is_whole = number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX
        # What is no whole number is refused by the policy, with all other illegal numbers.
        told[name] = int(number) if is_whole else cast("int", number)
    policy = Limits(**{**known, **told})
    if policy.parameter_value_chars_max > VALUE_CHARS_POLICY_MAX:
        raise ValidationError(
            f"limit parameter_value_chars_max is {policy.parameter_value_chars_max}, allowed are "
            f"0 to {VALUE_CHARS_POLICY_MAX}, which a record of the log can hold; give less and "
            "log long texts as artifacts",
            field="parameter_value_chars_max",
            value=policy.parameter_value_chars_max,
            limit=f"0..{VALUE_CHARS_POLICY_MAX}",
        )
    return policy


def _no_limit(what: str, value: str, known: Iterable[str]) -> ValidationError:
    names = ", ".join(known)
    hint = did_you_mean(value.partition("=")[0], known)
    remedy = f"; write one of {names} as NAME=NUMBER{hint}" if names else "; give it once"
    return ValidationError(
        f"{what}{remedy}", field="limits", value=value, limit=names or "each name once"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_postgres(address: str) -> None:
    # The address is not repeated: it may hold a password.
    scheme = address.partition(":")[0]
    if scheme not in {"postgresql", "postgres"}:
        raise _bad_postgres(f"begins with {shown(scheme)}", scheme)
    if not address.isprintable() or address != address.strip():
        raise _bad_postgres("has a control character, or a blank at an end", None)
    try:
        parts = urlsplit(address)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = [*map(_port_of, hosts), *parse_qs(parts.query).get("port", [])]
    except ValueError:  # a bracket that is not closed
        ports = ["]"]
    wrong = next((port for port in ports if port and not is_port(port)), None)
    if wrong is not None:
        raise _bad_postgres(f"has the port {shown(wrong)}, which is none of 1 to 65535", wrong)


def _port_of(host: str) -> str:
    """Return what stands behind the colon of HOST:PORT; an address in brackets has others."""
    return host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""


def _bad_postgres(why: str, value: str | None) -> ValidationError:
    return ValidationError(
        f"the address of postgres {why}; give one like postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
        field="postgres",
        value=value,
        limit="postgresql://…",
    )

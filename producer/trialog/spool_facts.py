"""Whose stream a spool is: the facts in its `meta.json`, which somebody may have changed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

import orjson

from trialog.spool_format import FORMAT_VERSION
from trialog_schemas.errors import SpoolError, shown

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class CatalogEvent:
    """What a run entered without an answer still has to tell the catalog; a `run_created`.

    `version` is the body's, for the release that sends it may be a later one.
    """

    at_us: int
    body: str
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolMeta:
    """Whose stream a folder holds; written once, when the folder is made.

    Args:
        writer_id, run_id, account, user: the identity all its events have.
        experiment_name, run_name: for people who list spools.
        url, kafka: where its events belong.
        catalog: the event that creates the run, if nobody was there to take it.
        version: version of the records.
    """

    writer_id: str
    run_id: str
    account: str
    user: str
    experiment_name: str
    run_name: str
    url: str
    kafka: str | None
    catalog: CatalogEvent | None = None
    version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        """Return the form of `meta.json`."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, raw: bytes) -> SpoolMeta:
        """Read `meta.json`.

        Raises:
            SpoolError: it is damaged, or of a version this release cannot read.
        """
        try:
            fields = orjson.loads(raw)
            # Before its fields: a later version may have others.
            version = fields["version"]
            if type(version) is int and not 1 <= version <= FORMAT_VERSION:
                raise SpoolError(
                    f"the spool is of version {version}, known is {FORMAT_VERSION}; "
                    "sync it with the release that wrote it"
                )
            catalog = fields.pop("catalog")
            meta = cls(**fields, catalog=CatalogEvent(**catalog) if catalog else None)
            meta._check_types()
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as exc:
            raise SpoolError(
                f"the spool's meta.json cannot be read ({exc}); it stays for you to look at"
            ) from exc
        return meta

    def _check_types(self) -> None:
        """Raise TypeError for a value that no writer puts down: it would be sent as it is."""
        for name, value in asdict(self).items():
            if name in ("catalog", "version") or (name == "kafka" and value is None):
                continue
            if not isinstance(value, str) or (name in ("account", "user") and not value):
                raise TypeError(f"{name} is {shown(value)} and no text")
        for name, value in (("writer_id", self.writer_id), ("run_id", self.run_id)):
            if not _ID.fullmatch(value):
                raise TypeError(f"{name} is {shown(value)} and not 32 hex digits")
        if type(self.version) is not int:
            raise TypeError(f"version is {shown(self.version)} and no number")
        if self.catalog is not None and not (
            type(self.catalog.at_us) is int
            and type(self.catalog.version) is int
            and isinstance(self.catalog.body, str)
        ):
            raise TypeError(f"catalog is {shown(self.catalog)} and no event")

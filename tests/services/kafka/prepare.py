"""What is done once a machine, so that every broker starts quickly; it takes a while."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.services.kafka.broker import KafkaBroker
from tests.services.kafka.jars import fetch_jars, lock
from tests.services.kafka.quick_start import class_archive, formatted_folder


def prepare_kafka() -> None:
    """Fetch the jars, format a folder and archive the classes, where that was not done yet.

    Raises:
        ServiceUnavailableError: There is no Java or no Maven, Maven cannot resolve the jars, or a
            broker does not start.
    """
    jars = fetch_jars()
    if not _is_prepared(jars):
        with lock(jars / "prepare.lock"):
            if not _is_prepared(jars):
                _prepare(jars)


def _is_prepared(jars: Path) -> bool:
    return class_archive(jars).exists() and formatted_folder(jars).exists()


def _prepare(jars: Path) -> None:
    """Start a broker and end it: its Java writes down which classes it has read."""
    archive, formatted = class_archive(jars), formatted_folder(jars)
    with tempfile.TemporaryDirectory(dir=jars) as scratch:
        classes, data = Path(scratch) / "classes", Path(scratch) / "data"
        broker = KafkaBroker((f"-XX:ArchiveClassesAtExit={classes}",))
        try:
            broker.format()
            shutil.copytree(broker.data_dir, data)
            broker.start()
            broker.stop()
        finally:
            broker.close()
        if not formatted.exists():
            data.rename(formatted)
        if classes.exists():  # a Java that writes none starts as slowly as before
            classes.rename(archive)

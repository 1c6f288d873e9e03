"""Kafka's jars, resolved by Maven once a machine and kept outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import platformdirs

from tests.services.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

POM_PATH = Path(__file__).with_name("pom.xml")

_FETCH_TIMEOUT_S = 900.0
_VERSION_TAG = ".//{http://maven.apache.org/POM/4.0.0}kafka.version"


def kafka_version() -> str:
    """Return the version of Kafka that the pom names."""
    version = ET.parse(POM_PATH).findtext(_VERSION_TAG)
    assert version is not None, f"{POM_PATH} names no kafka.version"
    return version


def fetch_jars(cache_dir: Path | None = None) -> Path:
    """Return the folder of the jars; fetch them first if this machine does not have them yet.

    Sessions that start at the same moment wait for the one that fetches. The folder appears
    whole or not at all, and a changed pom is fetched anew.

    Raises:
        ServiceUnavailableError: There is no Java or no Maven, or Maven cannot resolve the jars.
    """
    if shutil.which("java") is None:
        raise ServiceUnavailableError("no 'java' on the PATH; install a JDK, 17 or newer")
    cache_dir = cache_dir or platformdirs.user_cache_path("trialog-test", appauthor=False)
    digest = hashlib.sha256(POM_PATH.read_bytes()).hexdigest()[:8]
    folder = cache_dir / f"kafka-{kafka_version()}-{digest}"
    if folder.exists():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            _copy_jars(folder)
    return folder


def _copy_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailableError("no 'mvn' on the PATH; install Maven to fetch Kafka's jars")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = Path(scratch) / "jars"
        command = [
            *(maven, "-q", "-B", "-Dstyle.color=never", "-f", str(POM_PATH)),
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        ]
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S
            )
        except subprocess.CalledProcessError as exc:
            said = (exc.stdout + exc.stderr).strip()[-800:]
            raise ServiceUnavailableError(f"Maven cannot resolve Kafka's jars: {said}") from exc
        except subprocess.TimeoutExpired as exc:
            raise ServiceUnavailableError(
                f"Maven has not resolved Kafka's jars within {_FETCH_TIMEOUT_S:.0f} s"
            ) from exc
        target.rename(folder)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock among all processes of this machine; wait for whoever has it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

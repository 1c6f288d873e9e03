"""One Kafka broker from the jars: KRaft, one node, loopback, a temporary folder."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.services.errors import ServiceUnavailableError
from tests.services.guard import GuardedProcess, Program
from tests.services.kafka.jars import fetch_jars
from tests.services.kafka.probe import is_serving
from tests.services.kafka.quick_start import class_options, formatted_folder
from tests.services.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

START_TIMEOUT_S = 45.0
"""How long a start may take; 3 s are usual."""

_STOP_TIMEOUT_S = 20.0
_FORMAT_TIMEOUT_S = 30.0
_PROBE_INTERVAL_S = 0.1

# The session timeout is how long the controller waits after a SIGKILL before it believes that the
# broker is new: 3 s to serve again with these two lines, 12 s without them.
_PROPERTIES = r"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},PROXIED://{host}:{proxied_port},\
    CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},PROXIED://{host}:{proxy_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300

log.dirs={data_dir}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
"""


class KafkaBroker:
    """A broker that can be stopped, killed and started again on the same port and data.

    Args:
        java_options: for its Java; none are those that let it start quickly.
    """

    def __init__(self, java_options: Sequence[str] = ()) -> None:
        self._java_options = java_options
        self._folder = Path(tempfile.mkdtemp(prefix="trialog-kafka-"))
        self._port = free_port()
        self._proxied_port = free_port()
        self._proxy_port = free_port()
        self._process: GuardedProcess | None = None
        self._jars: Path | None = None

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
    def bootstrap(self) -> str:
        """The address for clients, the same after every start."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def folder(self) -> Path:
        """Where the broker keeps its settings, its data and what it says."""
        return self._folder

    @property
    def data_dir(self) -> Path:
        """Where the broker keeps its data."""
        return self._folder / "data"

    @property
    def proxied_address(self) -> tuple[str, int]:
        """Where a proxy has to forward to, if it listens on `proxy_port`."""
        return LOOPBACK, self._proxied_port

    @property
    def proxy_port(self) -> int:
        """Where a proxy has to listen: the broker tells clients that come through it this port."""
        return self._proxy_port

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        if self._process is None:
            raise RuntimeError("the Kafka broker is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.is_running

    def start(self) -> None:
        """Start the broker, on what it stored before if it ran before; return when it serves.

        Raises:
            ServiceUnavailableError: It cannot be started, with the end of its log.
        """
        if self.is_running:
            return
        if not self.data_dir.exists():
            self.format()
        program = Program(
            command=self._java(self._java_options, "kafka.Kafka", str(self._properties_path)),
            log_path=str(self._folder / "broker.log"),
            folder=str(self._folder),
        )
        self._process = GuardedProcess(program)
        self._wait_serving(program)

    def format(self) -> None:
        """Make the folder of a broker that has not run yet.

        Raises:
            ServiceUnavailableError: Kafka cannot do it, with what it says.
        """
        self._jars = fetch_jars()
        text = _PROPERTIES.format(
            host=LOOPBACK,
            port=self._port,
            proxied_port=self._proxied_port,
            proxy_port=self._proxy_port,
            controller_port=free_port(),
            data_dir=self.data_dir,
        )
        self._properties_path.write_text(text, encoding="utf-8")
        formatted = formatted_folder(self._jars)
        if formatted.exists():
            # All these brokers have one cluster's id; nobody meets two of them.
            shutil.copytree(formatted, self.data_dir)
            return
        # The first bit is 0, so that the text never begins with "-" and is not taken for an option.
        identity = uuid.UUID(int=uuid.uuid4().int & (2**127 - 1)).bytes
        cluster_id = base64.urlsafe_b64encode(identity).decode().rstrip("=")
        arguments = ("format", "-t", cluster_id, "-c", str(self._properties_path))
        try:
            subprocess.run(
                self._java((), "kafka.tools.StorageTool", *arguments),
                check=True,
                capture_output=True,
                text=True,
                timeout=_FORMAT_TIMEOUT_S,
            )
        except subprocess.CalledProcessError as exc:
            said = (exc.stdout + exc.stderr).strip()
            raise ServiceUnavailableError(f"Kafka cannot format its folder: {said}") from exc

    def stop(self) -> None:
        """End the broker as its operator would; what it stored stays."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM, _STOP_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """End the broker by SIGKILL; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def close(self) -> None:
        """End the broker and remove what it stored."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _properties_path(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, options: Sequence[str], main_class: str, *arguments: str) -> list[str]:
        # Only the first compiler: it serves 2 s earlier (7 -> 5 s on two busy cores), and no test
        # runs for so long that the second one would pay.
        assert self._jars is not None
        return [
            *("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *(options or class_options(self._jars)),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            # In one order: the archive of classes is for this path and no other.
            *("-cp", os.pathsep.join(map(str, sorted(self._jars.glob("*.jar"))))),
            main_class,
            *arguments,
        ]

    def _wait_serving(self, program: Program) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_serving(self.bootstrap):
            if not self.is_running or time.monotonic() > deadline_s:
                self.kill()
                raise ServiceUnavailableError(
                    f"the Kafka broker does not serve; it said last:\n{program.log_tail()}"
                )
            time.sleep(_PROBE_INTERVAL_S)

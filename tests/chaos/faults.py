"""Faults: what each does to a service under load, and what recovers from it.

A fault ends with everything mended that nobody else would mend: what is killed is started again,
where the service does not do that by itself. What a fault leaves open is decided by the scene's
generator, so that a seed tells it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import asyncpg
import psutil

from tests.acceptance.trainer_program import ROW_NAMES
from tests.chaos.stage import PARTITIONS, POINTS_MAX
from tests.integration.partition_model import Call
from tests.integration.projection_bench import Sender, run_id_of
from tests.services.blocking import run_blocking
from tests.services.proxy import Direction
from tests.services.trialog import is_alive, wait_until
from tests.unit.schemas.run_model import Entered, Parameters
from trialog_schemas.wire import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.scene import Scene
    from tests.unit.schemas.run_model import Said

ROWS_OF_A_FULL_RUN = POINTS_MAX // ROW_NAMES + 3
"""So many rows are three more than the policy's points."""

ROWS_WHILE_AWAY = 10_000
"""Some 2 MB in the spool, and 200,000 points."""

JOINING_MAX = 2
"""Programs that join a run: more would fill it."""

LEASE_S = 3.0
STEP_TIMEOUT_S = 60.0


def kill_trainers(scene: Scene) -> None:
    """SIGKILL a group of training programs; the next ones send what they left."""
    dead = scene.take(scene.rng.randint(1, 2))
    for trainer in dead:
        trainer.kill()
    scene.struck("trainer", dead)
    scene.start(len(dead))


def exit_trainer(scene: Scene) -> None:
    """A training program ends by `os._exit`, without a goodbye."""
    dead = scene.take(1)
    for trainer in dead:
        scene.tell(trainer, "exit")
        trainer.process.wait(STEP_TIMEOUT_S)
    scene.struck("trainer", dead)
    scene.start(1)


def interrupt_trainer(scene: Scene) -> None:
    """Ctrl-C, and once more while the program leaves."""
    dead = scene.take(1)
    for trainer in dead:
        scene.interrupt(trainer)
    scene.struck("trainer", dead)
    scene.start(1)


def fork_trainer(scene: Scene) -> None:
    """A child made by fork joins the run, logs and ends, while its parent goes on."""
    scene.tell(scene.rng.choice(scene.living), "fork")
    scene.struck("trainer")


def join_run(scene: Scene) -> None:
    """Another program joins a run in progress, and contests a parameter."""
    joined = Counter(one.run_name for one in scene.living)
    owners = [
        one
        for one in scene.living
        if not (one.part.mark or one.part.rows) and joined[one.run_name] <= JOINING_MAX
    ]
    if owners:
        scene.start_beside(scene.rng.choice(owners))
    scene.struck("trainer")


def fill_run(scene: Scene) -> None:
    """A program logs more points at once than its run may have."""
    scene.start_filling(ROWS_OF_A_FULL_RUN)
    scene.struck("trainer")


def fill_while_away(scene: Scene) -> None:
    """A program enters its run and logs a lot while nobody can be reached."""
    for proxy in scene.stage.proxies.values():
        proxy.refuse()
    filling = scene.start_filling(ROWS_WHILE_AWAY)
    wait_until(filling.has_filled, "all rows are logged", STEP_TIMEOUT_S)
    for proxy in scene.stage.proxies.values():
        proxy.accept()
    scene.struck("network")


def kill_worker(scene: Scene) -> None:
    """SIGKILL one of the workers."""
    os.kill(scene.rng.choice(scene.stage.worker_pids()), signal.SIGKILL)
    scene.struck("worker")
    scene.stage.restart_second()


def kill_all_workers(scene: Scene) -> None:
    """SIGKILL both workers in one moment."""
    for pid in scene.stage.worker_pids():
        os.kill(pid, signal.SIGKILL)
    scene.struck("worker")
    scene.stage.restart_second()


def kill_worker_in_transaction(scene: Scene) -> None:
    """SIGKILL both workers while a transaction of one waits between position and commit."""
    stage = scene.stage

    async def kill() -> None:
        locker = await asyncpg.connect(stage.service.postgres_url)
        try:
            async with locker.transaction():
                await locker.execute("LOCK TABLE gen_1.metric_chunks IN SHARE ROW EXCLUSIVE MODE")
                wait_until(stage.faulty.has_waiting_worker, "a transaction waits", STEP_TIMEOUT_S)
                for pid in stage.worker_pids():
                    os.kill(pid, signal.SIGKILL)
        finally:
            await locker.close()

    run_blocking(kill())
    scene.struck("worker")
    stage.restart_second()


def stop_worker_beyond_lease(scene: Scene) -> None:
    """SIGSTOP a worker until another has its partitions, then let it go on."""
    pid = scene.rng.choice(scene.stage.worker_pids())
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(LEASE_S + scene.rng.uniform(0.5, 2.0))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    scene.struck("zombie")


def scale_workers(scene: Scene) -> None:
    """Three workers more, then one alone, then two again."""
    stage = scene.stage
    stage.extra_workers = [stage.new_worker() for _ in range(3)]
    for worker in stage.extra_workers:
        worker.launch()
    time.sleep(scene.rng.uniform(2.0, 4.0))
    for worker in (*stage.extra_workers, stage.second):
        worker.stop()
    stage.extra_workers = []
    scene.struck("worker")
    stage.restart_second()


def kill_backend(scene: Scene) -> None:
    """SIGKILL the process of Postgres that serves a worker, or the API; all others end with it."""
    backends: list[int] = []

    def are_there() -> bool:
        rows = scene.stage.faulty.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'trialog-%' ORDER BY pid"
        )
        backends[:] = [row["pid"] for row in rows]
        return bool(backends)

    wait_until(are_there, "somebody is connected", STEP_TIMEOUT_S)
    os.kill(scene.rng.choice(backends), signal.SIGKILL)
    scene.struck("postgres")


def end_sessions(scene: Scene) -> None:
    """Postgres ends the sessions of all workers, as its operator may; it serves on."""
    scene.stage.faulty.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'trialog-worker'"
    )
    scene.struck("postgres")


def kill_postgres(scene: Scene) -> None:
    """SIGKILL the first process of Postgres."""
    server = scene.stage.postgres
    if server is not None:
        server.kill()
        scene.struck("postgres")
        server.start()
        return
    pid = scene.stage.service.postgres_pid
    os.kill(pid, signal.SIGKILL)
    scene.struck("postgres")
    wait_until(lambda: not is_alive(pid), "postgres is gone")


def kill_api(scene: Scene) -> None:
    """SIGKILL the API amid its requests, and start it again."""
    scene.stage.service.kill()
    scene.struck("api")
    scene.stage.heal()


def kill_broker(scene: Scene) -> None:
    """SIGKILL the broker, and start it again."""
    broker = scene.stage.broker
    assert broker is not None
    broker.kill()
    scene.struck("broker")
    broker.start()


def kill_everything(scene: Scene) -> None:
    """SIGKILL the whole service and a training program in one moment: the machine goes down."""
    stage = scene.stage
    dead = scene.take(1)
    for trainer in dead:
        trainer.process.kill()
    if stage.broker is not None:
        stage.broker.kill()
    stage.service.kill_whole()
    stage.second.kill()
    for trainer in dead:
        trainer.kill()
    scene.struck("everything", dead)
    stage.heal()
    scene.start(1)


def hang_log(scene: Scene) -> None:
    """SIGSTOP what takes records, for some seconds: connections stay and nobody answers."""
    with scene.stage.faulty.frozen_log():
        time.sleep(scene.rng.uniform(2.0, 6.0))
    scene.struck("hang")


def hang_postgres(scene: Scene) -> None:
    """SIGSTOP all of Postgres for some seconds."""
    with suspended(scene.stage.service.postgres_pid):
        time.sleep(scene.rng.uniform(2.0, 6.0))
    scene.struck("hang")


@contextlib.contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Stop a process and all below it for the time of the block."""
    first = psutil.Process(pid)
    family = [first, *first.children(recursive=True)]
    try:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def stall_network(scene: Scene) -> None:
    """No byte passes a connection for some seconds, one way or both."""
    proxy = scene.stage.proxies[scene.rng.choice(sorted(scene.stage.proxies))]
    ways = scene.rng.choice([(), (Direction.TO_SERVER,), (Direction.TO_CLIENT,)])
    proxy.stall(*ways)
    time.sleep(scene.rng.uniform(1.0, 5.0))
    proxy.resume()
    scene.struck("network")


def reset_network(scene: Scene) -> None:
    """All connections are cut or reset, again and again, some amid a message."""
    proxy = scene.stage.proxies[scene.rng.choice(sorted(scene.stage.proxies))]
    for _ in range(scene.rng.randint(3, 8)):
        scene.rng.choice([proxy.cut, proxy.reset])()
        proxy.cut_after(scene.rng.randint(1, 60_000), scene.rng.choice(list(Direction)))
        time.sleep(scene.rng.uniform(0.05, 0.5))
    scene.struck("network")


def lose_answers(scene: Scene) -> None:
    """Requests arrive, and their answers never do."""
    for _ in range(scene.rng.randint(2, 4)):
        proxy = scene.stage.proxies[scene.rng.choice(sorted(scene.stage.proxies))]
        proxy.stall(Direction.TO_CLIENT)
        time.sleep(scene.rng.uniform(0.3, 1.0))
        proxy.reset()
        proxy.resume()
        time.sleep(scene.rng.uniform(0.0, 0.5))
    scene.struck("network")


def delay_network(scene: Scene) -> None:
    """Everything takes its time."""
    for proxy in scene.stage.proxies.values():
        proxy.delay(scene.rng.uniform(0.05, 0.3))
    time.sleep(scene.rng.uniform(2.0, 4.0))
    for proxy in scene.stage.proxies.values():
        proxy.delay(0.0)
    scene.struck("network")


def leave_network(scene: Scene) -> None:
    """Everything is away for some seconds; no connection is taken."""
    for proxy in scene.stage.proxies.values():
        proxy.refuse()
    time.sleep(scene.rng.uniform(2.0, 10.0))
    for proxy in scene.stage.proxies.values():
        proxy.accept()
    scene.struck("network")


def poison_some(scene: Scene) -> None:
    """Rubbish stands between the records."""
    for _ in range(scene.rng.randint(3, 6)):
        number = scene.rng.randrange(PARTITIONS)
        scene.stage.append(number, "rubbish", [scene.rng.randbytes(scene.rng.randint(0, 200))])
    scene.struck("poison")


def poison_much(scene: Scene) -> None:
    """A partition is given nothing but rubbish for a while."""
    number = scene.rng.randrange(PARTITIONS)
    start = b"TLOG\x01\x00"
    rubbish = [
        start + scene.rng.randbytes(scene.rng.randint(0, 300))
        for _ in range(scene.rng.randint(60, 120))
    ]
    scene.stage.append(number, "rubbish", rubbish)
    scene.struck("poison")


def leave_holes(scene: Scene) -> None:
    """A writer whose spool was damaged: events are missing, some come twice, in another cut."""
    run = scene.rng.randrange(50_000)
    sender = Sender(run, scene.rng.randrange(1, 2**40))
    said: list[Said] = [Parameters((("a", 1),))] * 10
    for seq, one in enumerate([Entered("started"), *said], 1):
        sender.log(Call(0, seq, time.time_ns() // 1000, one))
    first, last = scene.rng.randint(2, 5), scene.rng.randint(7, 9)  # a hole stays in any case
    values = [sender.record(0, first), sender.record(last, 10), sender.record(last - 1, 11)]
    key = run_id_of(run)
    scene.stage.append(partition_of(key, PARTITIONS), key, [*values, values[0]])
    scene.struck("poison")

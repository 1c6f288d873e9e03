"""The table of faults, what each needs of log and machine, and which can be done here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.chaos import away_faults, disk_faults, faults, loss_faults
from tests.services.disks import can_mount
from tests.services.injection import can_inject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.chaos.scene import Scene


class Need(NamedTuple):
    """What a fault needs of the machine."""

    is_met: Callable[[], bool]
    said: str


MOUNT = Need(can_mount, "a small disk cannot be mounted here, which needs root")
INJECTION = Need(can_inject, "strace is not here or may not attach, so that no call can be failed")

FAULTS: dict[str, Callable[[Scene], None]] = {
    strike.__name__: strike
    for strike in (
        faults.kill_trainers,
        faults.exit_trainer,
        faults.interrupt_trainer,
        faults.fork_trainer,
        faults.join_run,
        faults.fill_run,
        faults.fill_while_away,
        faults.kill_worker,
        faults.kill_all_workers,
        faults.kill_worker_in_transaction,
        faults.stop_worker_beyond_lease,
        faults.scale_workers,
        faults.kill_backend,
        faults.end_sessions,
        faults.kill_postgres,
        faults.kill_api,
        faults.kill_broker,
        faults.kill_everything,
        faults.hang_log,
        faults.hang_postgres,
        faults.stall_network,
        faults.reset_network,
        faults.lose_answers,
        faults.delay_network,
        faults.leave_network,
        faults.poison_some,
        faults.poison_much,
        faults.leave_holes,
        disk_faults.fill_disk,
        disk_faults.fill_database_disk,
        disk_faults.fail_allocations,
        disk_faults.fail_spool_writes,
        disk_faults.fail_database_writes,
        disk_faults.fail_broker_writes,
        away_faults.leave_log_long,
        away_faults.leave_postgres_long,
        loss_faults.lose_machine,
        loss_faults.damage_spool,
        loss_faults.seal_log,
    )
}
"""Every fault by its name."""

ON_KAFKA_ALONE = {"kill_broker", "fail_broker_writes"}

NEEDS = {
    "fill_disk": MOUNT,
    "fill_database_disk": MOUNT,
    "fail_allocations": INJECTION,
    "fail_spool_writes": INJECTION,
    "fail_database_writes": INJECTION,
    "fail_broker_writes": INJECTION,
}


def faults_of(log: str) -> list[str]:
    """Return the names of the faults that can be done on a log, sorted."""
    return sorted(name for name in FAULTS if log == "kafka" or name not in ON_KAFKA_ALONE)


def impossible(names: Iterable[str]) -> dict[str, str]:
    """Return those of some faults that this machine has no means for, and why."""
    needs = {name: NEEDS[name] for name in names if name in NEEDS}
    return {name: need.said for name, need in needs.items() if not need.is_met()}

"""`trialog sync` as a user runs it: what it sends, shows, prints and leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.dead_spools import POINTS, leave_dead_spools
from tests.services.ports import free_port
from trialog.spool_format import POINT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

RUN_TIMEOUT_S = 50.0


def start_sync(session: trialog.Session, *arguments: str) -> subprocess.Popen[str]:
    """Start `trialog sync` with the session in its environment."""
    environment = {**os.environ, "TRIALOG_URL": session.url or ""}
    environment["TRIALOG_SPOOL_DIR"] = str(session.spool_dir)
    if session.kafka is not None:
        environment["TRIALOG_KAFKA"] = session.kafka
    return subprocess.Popen(
        [sys.executable, "-m", "trialog", "sync", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sync(session: trialog.Session, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Run `trialog sync` to its end; return exit status and the lines of both outputs."""
    process = start_sync(session, *arguments)
    out, err = process.communicate(timeout=RUN_TIMEOUT_S)
    return process.returncode, out.splitlines(), err.splitlines()


def counts(session: trialog.Session, experiment_name: str) -> dict[str, int]:
    """Return how many points of `loss` each run has."""
    runs = trialog.Run.list(experiment_name, session=session)
    return {run.run_name: run.metrics["loss"].count for run in runs}


def names(count: int) -> dict[str, str]:
    """Return runs whose last call is `log_metric`."""
    return {f"run-{number}": "log_metric" for number in range(count)}


# D12 K9 L3
def test_two_syncs_at_once_send_every_spool_once_and_show_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each line of progress names a run; together they have sent all, neither anything twice."""
    left = leave_dead_spools(session, experiment_name, names(6))
    syncs = [start_sync(session) for _ in range(2)]
    ended = [process.communicate(timeout=RUN_TIMEOUT_S) for process in syncs]
    assert [process.returncode for process in syncs] == [0, 0]
    shown = [line for _, err in ended for line in err.splitlines()]
    assert sorted(line.partition("sending ")[2] for line in shown) == [
        f"{experiment_name}/run-{number}" for number in range(6)
    ]
    assert all(" of " in line for line in shown)
    sent = [line for out, _ in ended for line in out.splitlines() if ": sent, " in line]
    assert len(sent) == 6
    assert not any(path.exists() for path in left)
    assert counts(session, experiment_name) == {f"run-{number}": POINTS for number in range(6)}
    assert sync(session) == (0, [f"0 spools sent, 0 left in {session.spool_dir}"], [])


# K9 L3
@ON_ONE_LOG
def test_sync_gives_up_what_is_whole_of_a_damaged_spool_and_reports_the_rest(
    session: trialog.Session, experiment_name: str
) -> None:
    """The exit status is 1, the bytes are named, the segment is kept; a second sync has no news."""
    (path,) = leave_dead_spools(session, experiment_name, names(1))
    segment = path / "000001.spool"
    raw = bytearray(segment.read_bytes())
    damaged_at = raw.index((250).to_bytes(8, "little"), 1000)  # the step of a point
    raw[damaged_at] ^= 1
    segment.write_bytes(raw)
    start = damaged_at - 16
    status, out, _ = sync(session)
    name = f"{experiment_name}/run-0"
    assert status == 1
    assert out[0] == (
        f"{name}: segment 1 is damaged: {POINT_BYTES} bytes from {start} on cannot be read; what "
        "is whole was sent"
    )
    assert out[1].startswith(f"{name}: kept, ")
    assert str(path) in out[1]
    assert (path / "refused" / "000001.spool").read_bytes() == bytes(raw)
    (run,) = trialog.Run.list(experiment_name, session=session)
    assert run.metric_series("loss")["step"] == [one for one in range(POINTS) if one != 250]
    status, out, _ = sync(session)
    assert status == 0
    assert "kept, nothing was sent" in out[0]


# L3
@ON_ONE_LOG
def test_sync_prints_json_for_programs(session: trialog.Session, experiment_name: str) -> None:
    """One object with counts and each spool; progress is on the other output."""
    nobody = f"http://127.0.0.1:{free_port()}"
    elsewhere = trialog.Session(url=nobody, spool_dir=session.spool_dir)
    with trialog.Run(experiment_name, "living", session):
        paths = leave_dead_spools(session, experiment_name, names(2))
        status, out, err = sync(elsewhere, "--json")
        assert (status, err) == (0, [])
        told = json.loads("\n".join(out))
        assert (told["sent"], told["elsewhere"], told["alive"]) == (0, 2, 1)
        status, out, err = sync(session, "--json")
    assert status == 0
    told = json.loads("\n".join(out))
    assert (told["sent"], told["left"], told["alive"]) == (2, 0, 1)
    assert told["spool_dir"] == str(session.spool_dir)
    sent = [one for one in told["spools"] if one["outcome"] == "sent"]
    assert [one["path"] for one in sent] == [str(path) for path in paths]
    assert all(one["bytes_sent"] > 0 for one in sent)
    assert {one["address"] for one in sent} == {session.url}
    assert len(err) == 2


# B11 L3
def test_sync_of_a_service_that_moved_needs_to_be_told(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Runs recorded with nobody there are left until `--moved`, which brings them to this log."""
    nobody = f"http://127.0.0.1:{free_port()}"
    offline = trialog.Session(url=nobody, spool_dir=tmp_path / "offline")
    leave_dead_spools(offline, experiment_name, names(2))
    status, out, _ = sync(offline)
    assert status == 1
    assert all(nobody in line for line in out[:2])
    here = trialog.Session(url=session.url, kafka=session.kafka, spool_dir=offline.spool_dir)
    status, out, _ = sync(here)
    assert status == 0
    assert all(f"was recorded for {nobody} and stays" in line for line in out[:2])
    status, out, _ = sync(here, "--moved")
    assert (status, out[-1]) == (0, f"2 spools sent, 0 left in {here.spool_dir}")
    assert counts(session, experiment_name) == {"run-0": POINTS, "run-1": POINTS}


# K9
@ON_ONE_LOG
def test_sync_names_what_is_foreign_in_each_spool_and_sends_all_others(
    session: trialog.Session, experiment_name: str
) -> None:
    """Rubbish, facts of a later release, a pipe and a link stop neither the command nor a run."""
    spools = leave_dead_spools(session, experiment_name, names(6))
    (spools[0] / "meta.json").write_bytes(b"rubbish")
    facts = json.loads((spools[1] / "meta.json").read_bytes())
    (spools[1] / "meta.json").write_text(json.dumps({**facts, "version": 2, "colour": "red"}))
    (spools[2] / "000001.spool").rename(spools[2] / "aside")
    os.mkfifo(spools[2] / "000001.spool")
    (spools[3] / "000001.spool").rename(spools[3] / "aside")
    (spools[3] / "000001.spool").symlink_to(spools[3] / "aside")
    (spools[4] / "strange.spool").write_bytes(b"strange")
    status, out, _ = sync(session, "--json")
    told = {one["path"]: one for one in json.loads("\n".join(out))["spools"]}
    reasons = ("cannot be read", "is of version 2, known is 1", "spool is p", "spool is l")
    for path, reason in zip(spools, reasons, strict=False):
        assert told[str(path)]["outcome"] == "left"
        assert reason in told[str(path)]["reason"]
        assert str(path) in told[str(path)]["reason"]
        assert path.exists()
    assert status == 1
    assert {told[str(path)]["outcome"] for path in spools[4:]} == {"sent"}
    with trialog.Run(experiment_name, "next", session) as run:  # its sender meets them as well
        run.log_metric("loss", 1.0)
    run.wait(30)
    runs = trialog.Run.list(experiment_name, session=session)
    points = {run.run_name: run.metrics["loss"].count for run in runs if "loss" in run.metrics}
    # A killed process may have sent some of its own: what the others have is not told here.
    sent = [told[str(path)]["run"].partition("/")[2] for path in spools[4:]]
    assert [points[name] for name in (*sent, "next")] == [POINTS, POINTS, 1]
    assert all(path.exists() for path in spools[:4])

"""The search of the demo: its choices, its network and what it prints, without a service."""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING, cast

import click
import numpy as np
import pandas as pd
import pytest

from trialog_server import digits_search
from trialog_server.digits_search import (
    CLASSES,
    EPOCHS,
    PLAIN_LINES,
    Choice,
    SearchEndedError,
    choices,
    digits,
    draw_confusion_matrix,
    print_results,
    run_trial,
    train,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trialog

SMALL = Choice(
    layers=(16,), activation="relu", learning_rate=0.01, alpha=0.001, batch_size=64, epochs=2
)


class Logged:
    """Stands for a run: keeps what is logged to it."""

    def __init__(self) -> None:
        self.calls: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep one call."""
        self.calls.append((step, metrics))


@pytest.fixture
def worker() -> Iterator[None]:
    """This process as a worker of a search; its signals are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    digits_search._begin_worker(multiprocessing.get_context("spawn").Event())
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def frame_of(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """A comparison: name, status and accuracy, the best first."""
    return pd.DataFrame(
        {
            "run_name": [row[0] for row in rows],
            "status": [row[1] for row in rows],
            "creation_time": ["now"] * len(rows),
            "validation:accuracy": [row[2] for row in rows],
            "test:accuracy": [row[2] - 0.01 for row in rows],
        }
    )


# G8
def test_choices_of_one_seed_are_the_same() -> None:
    """A search can be made again, and another seed makes another one."""
    assert choices(24, 0) == choices(24, 0)
    assert choices(24, 0) != choices(24, 1)
    assert choices(24, 0)[:5] == choices(5, 0)


def test_choices_lie_in_their_ranges_and_differ() -> None:
    """Each parameter is drawn from what it may be, and nearly all of them are drawn."""
    drawn = choices(200, 7)

    assert {choice.activation for choice in drawn} == {"relu", "tanh"}
    assert {choice.batch_size for choice in drawn} == {32, 64, 128}
    assert {choice.layers for choice in drawn} == {(32,), (64,), (128,), (64, 32)}
    assert all(1e-4 <= choice.learning_rate <= 1e-1 for choice in drawn)
    assert all(1e-5 <= choice.alpha <= 1e-1 for choice in drawn)
    assert {choice.epochs for choice in drawn} == {EPOCHS}
    assert len({choice.learning_rate for choice in drawn}) > 150


def test_digits_are_split_without_overlap() -> None:
    """All 1,797 pictures are used once; every split has every digit in like numbers."""
    data = digits()
    parts = (data.train, data.validation, data.test)

    assert [len(labels) for _, labels in parts] == [1077, 360, 360]
    assert sum(len(pixels) for pixels, _ in parts) == 1797
    for pixels, labels in parts:
        assert pixels.shape[1] == 64
        assert 0.0 <= pixels.min() <= pixels.max() <= 1.0
        assert set(labels) == set(CLASSES)
    assert digits() is data


@pytest.mark.usefixtures("worker")
def test_train_logs_every_epoch_once() -> None:
    """Each epoch is one call with its step, and the network has learned something."""
    run = Logged()
    network = train(cast("trialog.Run", run), SMALL)

    assert [step for step, _ in run.calls] == [0, 1]
    names = {"train:loss", "train:accuracy", "validation:accuracy"}
    assert all(metrics.keys() == names for _, metrics in run.calls)
    assert run.calls[1][1]["train:loss"] < run.calls[0][1]["train:loss"]
    assert network.score(*digits().test) > 0.3


@pytest.mark.usefixtures("worker")
def test_search_that_was_ended_stops_before_its_next_epoch() -> None:
    """A worker looks between epochs; a trial that has not begun makes no run at all."""
    digits_search._Worker.ended.set()
    run = Logged()
    with pytest.raises(SearchEndedError):
        train(cast("trialog.Run", run), SMALL)
    with pytest.raises(SearchEndedError):
        run_trial(cast("trialog.Session", None), "never", SMALL)
    assert run.calls == []


@pytest.mark.usefixtures("worker")
def test_worker_leaves_ctrl_c_to_the_search() -> None:
    """The terminal's Ctrl-C reaches every process; only one of them may answer it."""
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


# G7
def test_confusion_matrix_is_a_picture(tmp_path: Path) -> None:
    """The file is a PNG of some size, also when nothing was right."""
    path = tmp_path / "confusion-matrix.png"
    draw_confusion_matrix(np.zeros((10, 10), int), path)
    content = path.read_bytes()

    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) > 1000


def test_results_name_the_best_completed_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A failed run may have had the best figure: it is not the best run."""
    frame = frame_of(("r-1", "Failed", 0.99), ("r-2", "Completed", 0.97), ("r-3", "Completed", 0.9))
    print_results(frame, {"r-1": "out of memory"})
    lines = capsys.readouterr().out.splitlines()

    assert "creation_time" not in lines[0]
    assert lines[-2] == "run r-1 failed: out of memory"
    assert lines[-1] == (
        "best run r-2 of this search's 3: validation:accuracy 0.9700, test:accuracy 0.9600"
    )


@pytest.mark.parametrize("frame", [frame_of(), frame_of(("r-1", "Failed", 0.9))], ids=len)
def test_results_without_a_completed_run_are_an_error(frame: pd.DataFrame) -> None:
    """Nothing is called the best where nothing came to its end."""
    with pytest.raises(click.ClickException, match="no best run"):
        print_results(frame, {})


@pytest.mark.parametrize("trials", [1, 2, 3, 24])
def test_progress_without_a_terminal_is_a_few_lines(
    trials: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log file gets at most four lines, the last of them at the end."""
    with digits_search._progress(trials) as advance:
        for _ in range(trials):
            advance()
    lines = capsys.readouterr().out.splitlines()

    assert 1 <= len(lines) <= PLAIN_LINES
    assert lines[-1] == f"{trials} of {trials} trials done"

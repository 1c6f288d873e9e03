"""A real hyper-parameter search: small networks that read handwritten digits, in a few processes.

`trialog demo` runs it, and it is an example to read: of trialog it uses nothing but what
`import trialog` gives. Alone it runs on any service, see
`python -m trialog_server.digits_search --help`. It needs `trialog[demo]`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import trialog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event

    import pandas as pd

EXPERIMENT = "digits"
EPOCHS = 15
TRIALS = 24
PROCESSES = 4
CLASSES = np.arange(10)
PLAIN_LINES = 4
"""How often a search without a terminal tells how far it is."""


class SearchEndedError(Exception):
    """Somebody ended the search; the run of a trial that was under way is Failed."""


class _Worker:
    """What a worker process is told when it begins."""

    ended: ClassVar[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The parameters of one trial."""

    layers: tuple[int, ...]
    activation: str
    learning_rate: float
    alpha: float
    batch_size: int
    epochs: int = EPOCHS


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 scanned digits of 8 x 8 pixels, split into training, validation and test."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


def choices(trials: int, seed: int) -> list[Choice]:
    """Draw the parameters of every trial; the same seed draws the same ones."""
    random = np.random.default_rng(seed)
    layers = ((32,), (64,), (128,), (64, 32))
    return [
        Choice(
            layers=layers[random.integers(len(layers))],
            activation=("relu", "tanh")[random.integers(2)],
            learning_rate=float(f"{10 ** random.uniform(-4, -1):.3g}"),
            alpha=float(f"{10 ** random.uniform(-5, -1):.3g}"),
            batch_size=int(2 ** random.integers(5, 8)),
        )
        for _ in range(trials)
    ]


@functools.cache
def digits() -> Digits:
    """Load the data, once in a process."""
    pixels, labels = load_digits(return_X_y=True)
    rest, test, rest_labels, test_labels = train_test_split(
        pixels / 16.0, labels, test_size=0.2, random_state=0, stratify=labels
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=0.25, random_state=0, stratify=rest_labels
    )
    return Digits((train, train_labels), (validation, validation_labels), (test, test_labels))


def run_trial(session: trialog.Session, run_name: str, choice: Choice) -> None:
    """Train one network in a run of its own and wait until everything of it can be read.

    Whatever is raised inside the block makes the run Failed and goes on to the caller.
    """
    check_not_ended()
    with trialog.Run(EXPERIMENT, run_name, session) as run:
        run.log_parameters({**asdict(choice), "layers": list(choice.layers)})
        network = train(run, choice)
        run.log_metric("test:accuracy", network.score(*digits().test))
        log_results(run, network)
    run.wait()


def train(run: trialog.Run, choice: Choice) -> MLPClassifier:
    """Train for the chosen number of epochs and log how each of them went."""
    data = digits()
    network = MLPClassifier(
        choice.layers,
        activation=choice.activation,
        learning_rate_init=choice.learning_rate,
        alpha=choice.alpha,
        batch_size=choice.batch_size,
        random_state=0,
    )
    for epoch in range(choice.epochs):
        check_not_ended()
        network.partial_fit(*data.train, classes=CLASSES)
        run.log_metrics(
            {
                "train:loss": network.loss_,
                "train:accuracy": network.score(*data.train),
                "validation:accuracy": network.score(*data.validation),
            },
            step=epoch,
        )
    return network


def log_results(run: trialog.Run, network: MLPClassifier) -> None:
    """Log the network itself and a picture of what it confuses with what."""
    pixels, labels = digits().test
    counts = confusion_matrix(labels, network.predict(pixels), labels=CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        picture, model = Path(folder, "confusion-matrix.png"), Path(folder, "model.pkl")
        draw_confusion_matrix(counts, picture)
        model.write_bytes(pickle.dumps(network))
        run.log_file(str(picture))
        run.log_file(str(model), media_type="application/octet-stream")


def draw_confusion_matrix(counts: Any, path: Path) -> None:
    """Draw how often each digit was taken for which."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(
        xlabel="taken for", ylabel="digit", xticks=CLASSES, yticks=CLASSES, title="confusion matrix"
    )
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=ink)
    figure.savefig(path, dpi=100)


def check_not_ended() -> None:
    """Raise SearchEndedError in a worker whose search is to end.

    Asked between epochs: a KeyboardInterrupt inside one is caught by scikit-learn.
    """
    if _Worker.ended.is_set():
        raise SearchEndedError("the search was ended before this trial was through")


def search(session: trialog.Session, runs: dict[str, Choice], processes: int) -> dict[str, str]:
    """Try every choice, a few at a time; return why runs failed.

    An interrupt ends the trials that are running as Failed and goes on to the caller.
    """
    # Forking spares each process the second that importing scikit-learn takes.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ended = context.Event()
    with ProcessPoolExecutor(processes, context, _begin_worker, (ended,)) as pool:
        waiting = {
            pool.submit(run_trial, session, name, choice): name for name, choice in runs.items()
        }
        try:
            return _failures(waiting)
        except KeyboardInterrupt:
            ended.set()
            pool.shutdown(cancel_futures=True)
            raise


def _failures(waiting: dict[Future[None], str]) -> dict[str, str]:
    failures = {}
    with _progress(len(waiting)) as advance:
        for trial in as_completed(waiting):
            error = trial.exception()
            if error is not None:
                failures[waiting[trial]] = str(error) or type(error).__name__
            advance()
    return failures


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Give the function to call after each trial: a bar on a terminal, else a few plain lines."""
    console = Console()
    if console.is_terminal:
        columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("searching", total=total)
            yield lambda: bar.advance(task)
        return
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done * PLAIN_LINES // total > (done - 1) * PLAIN_LINES // total:
            click.echo(f"{done} of {total} trials done")

    yield advance


def table(session: trialog.Session, search_name: str) -> pd.DataFrame:
    """Return the runs of this search, the best one first."""
    return trialog.compare(
        EXPERIMENT,
        filter=f"run_name like '{search_name}-%'",
        order_by="metrics.`validation:accuracy` DESC",
        session=session,
    )


def print_results(frame: pd.DataFrame, failures: dict[str, str]) -> None:
    """Print the table of the search, the best run first, and that run on a line of its own.

    Raises:
        click.ClickException: no run was completed.
    """
    click.echo(
        frame.drop(columns=["creation_time", "epochs"], errors="ignore").to_string(
            index=False, float_format="{:.4g}".format
        )
    )
    for name, reason in failures.items():
        click.echo(f"run {name} failed: {reason}")
    completed = frame[frame["status"] == "Completed"]
    if completed.empty:
        raise click.ClickException("no trial was completed, so there is no best run")
    best = completed.iloc[0]
    click.echo(
        f"best run {best['run_name']} of this search's {len(frame)}: "
        f"validation:accuracy {best['validation:accuracy']:.4f}, "
        f"test:accuracy {best['test:accuracy']:.4f}"
    )


def _begin_worker(ended: Event) -> None:
    """Leave Ctrl-C to the process that searches, which sets `ended`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Worker.ended = ended


def _interrupt_once(number: int, frame: object) -> NoReturn:
    """Raise KeyboardInterrupt; what that sets off is left alone."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End this process and all of its session when standard input does: the parent is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


@click.command()
@click.option("--url", help="address of the service  [default: TRIALOG_URL]")
@click.option("--spool-dir", help="folder of the spools  [default: TRIALOG_SPOOL_DIR]")
@click.option("--trials", type=click.IntRange(1, 10_000), default=TRIALS, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=PROCESSES, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--until-parent-ends", is_flag=True, hidden=True)
def main(
    url: str | None,
    spool_dir: str | None,
    trials: int,
    processes: int,
    seed: int,
    *,
    until_parent_ends: bool,
) -> None:
    """Search for a network that reads digits well; compare the runs; name the best one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    if until_parent_ends:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    session = trialog.Session(url=url, spool_dir=spool_dir)
    search_name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    runs = {
        f"{search_name}-{number:02d}": choice
        for number, choice in enumerate(choices(trials, seed), 1)
    }
    try:
        failures = search(session, runs, processes)
        print_results(table(session, search_name), failures)
    except trialog.TrialogError as exc:
        raise click.ClickException(exc.message) from exc
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()

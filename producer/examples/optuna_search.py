"""A search by Optuna, a run a trial: `optuna_search.py [EXPERIMENT [JOURNAL [TRIALS [SEED]]]]`.

Started several times at once with one journal, the processes share one study.
"""

from __future__ import annotations

import sys

import optuna
from optuna.storages.journal import JournalFileBackend

import trialog
from trialog.integrations.optuna import TrialogCallback

STEPS = 12
DIVERGED = 100.0
TOO_HIGH = 10.0


def objective(trial: optuna.Trial) -> float:
    """Walk down a narrow valley; give up where it leads up, or where it takes too long."""
    rate = trial.suggest_float("rate", 0.01, 2.0, log=True)
    momentum = trial.suggest_categorical("momentum", [0.5, 0.9, None])
    held = 0.0 if momentum is None else float(momentum)
    x, y, dx, dy = 5.0, 5.0, 0.0, 0.0
    loss = 0.1 * x * x + y * y
    for step in range(STEPS):
        dx, dy = held * dx - rate * 0.2 * x, held * dy - rate * 2.0 * y
        x, y = x + dx, y + dy
        loss = 0.1 * x * x + y * y
        if loss > DIVERGED:
            raise ValueError(f"diverged at step {step}")
        trial.report(loss, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


def main(
    experiment_name: str = "optuna-search",
    journal: str = "optuna.journal",
    trials: str = "20",
    seed: str = "1",
) -> None:
    """Try settings, and ask the service which was best of all that were tried to the end."""
    study = optuna.create_study(
        study_name=experiment_name,
        storage=optuna.storages.JournalStorage(JournalFileBackend(journal)),
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(int(seed)),
        pruner=optuna.pruners.ThresholdPruner(upper=TOO_HIGH, n_warmup_steps=5),
    )
    callback = TrialogCallback(experiment_name)
    study.optimize(objective, int(trials), catch=(ValueError,), callbacks=[callback])
    df = trialog.compare(experiment_name, order_by="metrics.value ASC", tags=["optuna.state"])
    print(df[["run_name", "tags.optuna.state", "rate", "momentum", "value"]].to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])

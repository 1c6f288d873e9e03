"""Compare runs as a table: one row a run, one column a parameter and a metric's last value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, cast

from trialog.client import Client, number
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from trialog.answers import RunAnswer
    from trialog.settings import Endpoint, Session
    from trialog_schemas.names import ParameterValue

_FIXED_COLUMNS = ("run_name", "creation_time", "status")


def compare(  # noqa: PLR0913  one of them is SageMaker's name for the session
    experiment_name: str,
    filter: str | None = None,  # noqa: A002  the name that users of every tracker know
    order_by: str | None = None,
    max_results: int | None = None,
    session: Session | None = None,
    *,
    tags: Sequence[str] = (),
    sagemaker_session: Session | None = None,
) -> pd.DataFrame:
    """Return the runs of an experiment as a DataFrame, newest first unless ordered otherwise.

    Args:
        experiment_name: an existing experiment.
        filter: for example `params.lr > 0.1 and metrics.loss.min < 0.5 and status = 'Completed'`.
        order_by: for example `metrics.accuracy DESC`; runs without the value come last.
        max_results: rows at most, from 1 on; None gives all.
        session: where and as whom; None takes the environment.
        tags: keys of tags that get a column `tags.KEY` each, for example `optuna.state`.
        sagemaker_session: another name for `session`.

    Returns:
        One row a run with the columns run_name, creation_time (UTC), status, then one for each
        parameter and one for each metric (its last value, NaN where a run lacks it). A name that
        is both gives `params.NAME` and `metrics.NAME`. A tag's column comes before those; it has
        None where a run lacks the tag.

    Raises:
        ValidationError: a filter or order that cannot be read, an illegal number of rows, or a
            key that no tag can have.
        ResourceNotFoundError: no live experiment has this name.
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415  only this function needs it
    except ImportError as exc:
        raise ImportError("trialog.compare gives a DataFrame; install pandas for it") from exc

    check_runs_max(max_results)
    keys = check_tag_keys(tags)
    name = names.check_experiment_name(experiment_name)
    endpoint = session_of(session, sagemaker_session).resolve()
    runs = list(search_runs(endpoint, name, (filter, order_by), max_results))
    columns = _columns(runs, keys)
    return pd.DataFrame([_row(run, columns) for run in runs], columns=list(columns))


def check_runs_max(max_results: object) -> None:
    """Raise ValidationError if a number of runs is neither a whole one from 1 on nor None."""
    if max_results is not None and (type(max_results) is not int or max_results < 1):
        raise ValidationError(
            f"max_results is {shown(max_results)}, allowed are whole numbers from 1 on, or None",
            field="max_results",
            value=max_results,
            limit="1..",
        )


def check_tag_keys(keys: object) -> list[str]:
    """Return the keys of tags that are asked for; raise ValidationError if they are none."""
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise ValidationError(
            f"tags is {shown(keys)}, allowed is a list of keys of tags; give ['optuna.state']",
            field="tags",
            value=keys,
        )
    asked = [{"Key": key, "Value": ""} for key in keys]
    return list(names.check_tags(cast("Sequence[Mapping[str, str]]", asked)))


def search_runs(
    endpoint: Endpoint,
    experiment_name: str,
    question: tuple[str | None, str | None],
    max_results: int | None,
) -> Iterator[RunAnswer]:
    """Yield the runs that a (filter, order) finds, one request a page of at most 100."""
    client, token, left = Client(endpoint), None, max_results
    while left is None or left > 0:
        page = client.search(
            experiment_name,
            {
                "filter": question[0],
                "order_by": question[1],
                "max_results": PAGE_MAX if left is None else min(left, PAGE_MAX),
                "next_token": token,
            },
        )
        yield from page["runs"]
        token = page["next_token"]
        left = None if left is None else left - len(page["runs"])
        if token is None:
            return


def _columns(runs: list[RunAnswer], tags: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Return each column's name with where it comes from, in order of first appearance."""
    parameters = dict.fromkeys(name for run in runs for name in run["parameters"])
    metrics = dict.fromkeys(name for run in runs for name in run["metrics"])
    columns = {name: ("run", name) for name in _FIXED_COLUMNS}
    columns |= {f"tags.{key}": ("tags", key) for key in tags}
    shared = (parameters.keys() & metrics.keys()) | columns.keys()
    for kind, found in (("params", parameters), ("metrics", metrics)):
        for name in found:
            columns[f"{kind}.{name}" if name in shared else name] = (kind, name)
    return columns


def _row(
    run: RunAnswer, columns: dict[str, tuple[str, str]]
) -> list[ParameterValue | datetime | float]:
    fixed: dict[str, ParameterValue | datetime] = {
        "run_name": run["run_name"],
        "creation_time": datetime.fromisoformat(run["creation_time"]),
        "status": run["status"],
    }
    row: list[ParameterValue | datetime | float] = []
    for kind, name in columns.values():
        if kind == "run":
            row.append(fixed[name])
        elif kind == "tags":
            row.append(run["tags"].get(name))
        elif kind == "params":
            row.append(run["parameters"].get(name, float("nan")))
        else:
            summary = run["metrics"].get(name)
            row.append(float("nan") if summary is None else number(summary["last"]))
    return row

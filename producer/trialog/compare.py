"""Compare runs as a table: one row a run, one column a parameter and a metric's last value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import TYPE_CHECKING

from trialog.as_of import as_of_text
from trialog.client import Client, number
from trialog.pages import run_pages
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.arguments import check_question, check_several
from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from trialog.answers import RunAnswer, RunPage
    from trialog.as_of import AsOf
    from trialog.settings import Session
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
    as_of: AsOf | None = None,
    sagemaker_session: Session | None = None,
) -> pd.DataFrame:
    """Return the runs of an experiment as a DataFrame, newest first unless ordered otherwise.

    Args:
        experiment_name: an existing experiment.
        filter: for example `params.lr > 0.1 and metrics.loss.min < 0.5 and status = 'Completed'`;
            also `tags.team = 'red'`, `run_name like 'a%'`, `creation_time >= '2026-03-01'` (UTC),
            `metrics.loss = nan`; `trialog compare --help` has the whole language.
        order_by: for example `metrics.accuracy DESC`; runs without the value come last.
        max_results: rows at most, from 1 on; None gives all.
        session: where and as whom; None takes the environment.
        tags: keys of tags that get a column `tags.KEY` each, for example `optuna.state`.
        as_of: as they were at a time, or at positions; None is the present. See `Run.list`. The
            table's `attrs["as_of"]` names the moment exactly.
        sagemaker_session: another name for `session`.

    Returns:
        One row a run with the columns run_name, creation_time (UTC), status, then one for each
        parameter and one for each metric (its last value, NaN where a run lacks it). A name that
        is both gives `params.NAME` and `metrics.NAME`. A tag's column comes before those; it has
        None where a run lacks the tag. A parameter that only some runs have has pandas' type for
        such a column: whole numbers become floats.

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
    question = (check_question("filter", filter), check_question("order_by", order_by))
    endpoint = session_of(session, sagemaker_session).resolve()
    client = Client(endpoint, as_of=as_of_text(as_of))
    rows = [_Row.of(run) for run in search_runs(client, name, question, max_results)]
    times = pd.Series([row.creation_time for row in rows], dtype="datetime64[us, UTC]")
    table = {
        column: times if key == ("run", "creation_time") else [row.cell(*key) for row in rows]
        for column, key in _columns(rows, keys).items()
    }
    frame = pd.DataFrame(table)
    if client.as_of is not None:
        frame.attrs["as_of"] = client.as_of
    return frame


@dataclass(frozen=True, slots=True)
class _Row:
    """What the table shows of a run: far less than what the service tells of it."""

    run_name: str
    creation_time: datetime
    status: str
    tags: dict[str, str]
    parameters: dict[str, ParameterValue]
    metrics: dict[str, float]

    @classmethod
    def of(cls, run: RunAnswer) -> _Row:
        return cls(
            run["run_name"],
            datetime.fromisoformat(run["creation_time"]),
            run["status"],
            run["tags"],
            run["parameters"],
            # One text for a name of all runs: a run's own copies would be most of the memory.
            {intern(name): number(one["last"]) for name, one in run["metrics"].items()},
        )

    def cell(self, kind: str, name: str) -> ParameterValue | datetime | float:
        """Return the value of a column; where the run has none NaN, for a tag None."""
        if kind == "params":
            return self.parameters.get(name, math.nan)
        if kind == "metrics":
            return self.metrics.get(name, math.nan)
        if kind == "tags":
            return self.tags.get(name)
        return {"run_name": self.run_name, "status": self.status}.get(name, self.creation_time)


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
    several = check_several("tags", keys, "a list of keys, for example ['optuna.state']")
    return list(names.check_tags([{"Key": key, "Value": ""} for key in several]))


def search_runs(
    client: Client,
    experiment_name: str,
    question: tuple[str | None, str | None],
    max_results: int | None,
) -> Iterator[RunAnswer]:
    """Yield the runs that a (filter, order) finds, one request a page of at most 100."""
    for page in search_pages(client, experiment_name, question, max_results):
        yield from page["runs"]


def search_pages(
    client: Client,
    experiment_name: str,
    question: tuple[str | None, str | None],
    max_results: int | None,
) -> Iterator[RunPage]:
    """Yield the pages of the runs that a (filter, order) finds; None as a number is all."""
    asked = {"filter": question[0], "order_by": question[1]}
    return run_pages(lambda page: client.search(experiment_name, {**asked, **page}), max_results)


def _columns(rows: list[_Row], tags: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Return each column's name with where it comes from, in order of first appearance."""
    parameters = dict.fromkeys(name for row in rows for name in row.parameters)
    metrics = dict.fromkeys(name for row in rows for name in row.metrics)
    keys = [("params", name) for name in parameters] + [("metrics", name) for name in metrics]
    columns = {name: ("run", name) for name in _FIXED_COLUMNS}
    columns |= {f"tags.{key}": ("tags", key) for key in tags}
    shared = (parameters.keys() & metrics.keys()) | columns.keys()
    while True:
        named = [(f"{kind}.{name}" if name in shared else name, name) for kind, name in keys]
        plain = {column for column, name in named if column == name}
        # A parameter may be called `params.size` beside one called `size` that needs the prefix.
        taken = plain & {column for column, name in named if column != name}
        if not taken:
            break
        shared |= taken
    return columns | {column: key for (column, _), key in zip(named, keys, strict=True)}

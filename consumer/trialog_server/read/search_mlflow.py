"""Runs and experiments that meet a filter of MLflow's language, in the orders of it, by pages."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

from trialog_schemas.errors import ValidationError
from trialog_server.mlflow_names import DEFAULT_EXPERIMENT, DEFAULT_EXPERIMENT_ID
from trialog_server.read.ask import ask
from trialog_server.read.experiments import experiment_from_row
from trialog_server.read.mlflow_filter import EXPERIMENTS, RUNS, parse_filter, parse_orders
from trialog_server.read.pages import bad_token, decode_token, encode_token, token_id
from trialog_server.read.runs import PAGE_METRICS_MAX, run_from_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_server.postgres.pool import Pool
    from trialog_server.read.experiments import ExperimentView
    from trialog_server.read.mlflow_filter import Asked, Language
    from trialog_server.read.runs import RunView

RESULTS_MAX = 50_000
"""The largest page that may be asked for, as with MLflow's own server."""

PAGE_ROWS_MAX = 1_000
"""Runs or experiments of one page, however many were asked for: the token says how to go on."""

SEARCHED_EXPERIMENTS_MAX = 5_000
"""Experiments that one search of runs may name: as many as an account may have."""

View: TypeAlias = Literal["active", "deleted", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowSearch:
    """What is searched, as an MLflow client says it."""

    filter: str | None = None
    orders: Sequence[str] = ()
    view: View = "active"
    max_results: int = 1_000
    page_token: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_results <= RESULTS_MAX:
            raise ValidationError(
                f"max_results is {self.max_results}, allowed are 1 to {RESULTS_MAX}; the page "
                "token gives what comes after",
                field="max_results",
                value=self.max_results,
                limit=f"1..{RESULTS_MAX}",
            )


@dataclass(frozen=True, slots=True)
class MlflowRunPage:
    """A page of runs, and where the next one begins."""

    runs: tuple[RunView, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class MlflowExperimentPage:
    """A page of experiments, and where the next one begins."""

    experiments: tuple[ExperimentView, ...]
    next_token: str | None


async def search_mlflow_runs(
    pool: Pool, account: str, numbers: Sequence[int], search: MlflowSearch
) -> MlflowRunPage:
    """Return one page of the runs of the experiments that MLflow clients know by these numbers.

    An experiment that does not exist has no runs, as with MLflow's own server.

    Raises:
        ValidationError: filter, order or token cannot be read, or there are too many experiments.
    """
    if len(numbers) > SEARCHED_EXPERIMENTS_MAX:
        raise ValidationError(
            f"{len(numbers)} experiments are too many for one search, allowed are "
            f"{SEARCHED_EXPERIMENTS_MAX}; search in parts",
            field="experiment_ids",
            value=len(numbers),
            limit=SEARCHED_EXPERIMENTS_MAX,
        )
    asked = _asked(RUNS, search)
    kind = _kind(f"mlflow runs {sorted(set(numbers))}", search)
    size = min(search.max_results, PAGE_ROWS_MAX)
    is_default_asked = int(DEFAULT_EXPERIMENT_ID) in numbers
    rows = await ask(
        pool,
        "search_mlflow_runs",
        account,
        list(numbers),
        [DEFAULT_EXPERIMENT] if is_default_asked else [],
        search.view,
        *_columns(asked),
        _shown_last(kind, search.page_token),
        size + 1,
        PAGE_METRICS_MAX,
    )
    found = [row for row in rows if row["run_id"] is not None]
    token = None
    if found and found[0]["found"] > len(found):
        token = encode_token(kind, found[-1]["run_id"].hex)
    return MlflowRunPage(tuple(run_from_row(row) for row in found), token)


async def search_mlflow_experiments(
    pool: Pool, account: str, search: MlflowSearch
) -> MlflowExperimentPage:
    """Return one page of the account's experiments.

    Raises:
        ValidationError: filter, order or token cannot be read.
    """
    asked = _asked(EXPERIMENTS, search)
    kind = _kind("mlflow experiments", search)
    size = min(search.max_results, PAGE_ROWS_MAX)
    rows = await ask(
        pool,
        "search_mlflow_experiments",
        account,
        search.view,
        *_columns(asked),
        _shown_last(kind, search.page_token),
        size + 1,
    )
    found, token = rows[:size], None
    if len(rows) > size:
        token = encode_token(kind, found[-1]["experiment_id"].hex)
    return MlflowExperimentPage(tuple(experiment_from_row(row) for row in found), token)


def _asked(language: Language, search: MlflowSearch) -> tuple[Asked, ...]:
    return (*parse_filter(language, search.filter), *parse_orders(language, search.orders))


def _columns(asked: Sequence[Asked]) -> tuple[list[object], ...]:
    """Return what is asked as the queries take it: one array for each part."""
    return (
        [one.source for one in asked],
        [one.name for one in asked],
        [one.operator for one in asked],
        [one.low for one in asked],
        [one.high for one in asked],
        [one.wanted for one in asked],
    )


def _kind(subject: str, search: MlflowSearch) -> str:
    """Return what a token belongs to: a search with the same words, of any page size."""
    words = repr((subject, search.filter, list(search.orders), search.view))
    # Characters that are no text are refused by the filter's reader; here they must not matter.
    return blake2b(words.encode(errors="replace"), digest_size=12).hexdigest()


def _shown_last(kind: str, token: str | None) -> UUID | None:
    """Return what the page before ended with; None: there was none."""
    if not token:
        return None
    match decode_token(kind, token):
        case [str(shown)]:
            return token_id(shown)
    raise bad_token(token)

"""`list_runs` and its two enums, as programs written for SageMaker call them; only reads."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

from trialog.as_of import as_of_text
from trialog.compare import check_runs_max
from trialog.experiment import check_page
from trialog.run_view import iterate_runs
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from trialog.as_of import AsOf
    from trialog.run_view import RunView
    from trialog.settings import Session


class SortByType(StrEnum):
    """What runs are sorted by; each is the text that every `sort_by` takes."""

    CREATION_TIME = "CreationTime"
    NAME = "Name"


class SortOrderType(StrEnum):
    """In which order; each is the text that every `sort_order` takes."""

    ASCENDING = "Ascending"
    DESCENDING = "Descending"


def list_runs(  # noqa: PLR0913  one of them is SageMaker's name for the session
    experiment_name: str,
    sort_by: SortByType | str = SortByType.CREATION_TIME,
    sort_order: SortOrderType | str = SortOrderType.DESCENDING,
    max_results: int | None = None,
    session: Session | None = None,
    *,
    as_of: AsOf | None = None,
    sagemaker_session: Session | None = None,
) -> list[RunView]:
    """Return the runs of an experiment, all of them unless told otherwise; one request a page.

    `Run.list` gives a page with the total, `Run.iterate` one run after the other.

    Args:
        experiment_name: an existing experiment.
        sort_by: creation time, or name by code point.
        sort_order: descending, or ascending, its exact reverse.
        max_results: runs at most, from 1 on; None gives all.
        session: where and as whom; None takes the environment.
        as_of: as they were at a time, or at positions; None is the present. See `Run.list`.
        sagemaker_session: another name for `session`.

    Raises:
        ResourceNotFoundError: no live experiment has this name.
        ValidationError: a field, order or number that is not legal.
    """
    check_runs_max(max_results)
    size = PAGE_MAX if max_results is None else min(max_results, PAGE_MAX)
    question = check_page(sort_by, sort_order, size)
    name = names.check_experiment_name(experiment_name)
    endpoint = session_of(session, sagemaker_session).resolve()
    return list(islice(iterate_runs(endpoint, name, question, as_of_text(as_of)), max_results))

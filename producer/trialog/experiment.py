"""The handle of an experiment: create, load, list, delete. Asks the service; never the log."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from trialog.as_of import as_of_text
from trialog.client import Client
from trialog.commands import send_command
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.errors import ResourceNotFoundError, ValidationError
from trialog_schemas.events import ExperimentCreated, ExperimentDeleted
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialog.answers import ExperimentAnswer
    from trialog.as_of import AsOf
    from trialog.settings import Endpoint, Session


class Experiment:
    """A named group of runs, as the service knows it; attributes are read-only.

    Attributes hold what the service said when the object was made: load it again to see changes.
    """

    def __init__(
        self, answer: ExperimentAnswer, endpoint: Endpoint, as_of: str | None = None
    ) -> None:
        self._answer = answer
        self._endpoint = endpoint
        self._as_of = as_of

    @classmethod
    def create(
        cls,
        experiment_name: str,
        description: str | None = None,
        tags: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        session: Session | None = None,
        *,
        sagemaker_session: Session | None = None,
    ) -> Experiment:
        """Create an experiment.

        Args:
            experiment_name: 1–120 of `A-Z a-z 0-9 - _`, not used by a live experiment.
            description: at most 3072 characters.
            tags: at most 50, as a dict or as SageMaker's list of `{"Key", "Value"}`.
            session: where and as whom; None takes the environment.
            sagemaker_session: another name for `session`.

        Raises:
            ValidationError: a name, description or tag that is not legal; nothing was sent.
            ResourceInUseError: a live experiment has this name.
            LimitExceededError: the account has as many live experiments as the policy allows,
                5000 unless an operator changed it.
            UnavailableError: the service cannot be reached.
        """
        body = ExperimentCreated(
            experiment_id=uuid.uuid4().hex,
            name=names.check_experiment_name(experiment_name),
            description=names.check_description(description),
            tags=names.check_callers_tags(tags),
        )
        endpoint = session_of(session, sagemaker_session).resolve()
        answer = send_command(endpoint, body)["experiment"]
        if answer is None:  # deleted by somebody between verdict and answer
            raise ResourceNotFoundError(
                f"experiment {experiment_name!r} is gone already, somebody deleted it; create it "
                "again",
                field="experiment_name",
                value=experiment_name,
            )
        return cls(answer, endpoint)

    @classmethod
    def load(
        cls,
        experiment_name: str,
        session: Session | None = None,
        *,
        as_of: AsOf | None = None,
        sagemaker_session: Session | None = None,
    ) -> Experiment:
        """Return an existing experiment, or one as it was at a moment (see `Run.list`).

        Raises:
            ResourceNotFoundError: no live experiment has this name.
            UnavailableError: the service cannot be reached.
        """
        endpoint = session_of(session, sagemaker_session).resolve()
        name = names.check_experiment_name(experiment_name)
        client = Client(endpoint, as_of=as_of_text(as_of))
        return cls(client.experiment(name), endpoint, client.as_of)

    @classmethod
    def list(
        cls,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        max_results: int = PAGE_MAX,
        session: Session | None = None,
        *,
        as_of: AsOf | None = None,
        sagemaker_session: Session | None = None,
    ) -> list[Experiment]:
        """Return the first experiments of the account, newest first unless told otherwise.

        Args:
            sort_by: `CreationTime` or `Name` (by code point).
            sort_order: `Descending` or `Ascending`, its exact reverse.
            max_results: 1–100.
            session: where and as whom; None takes the environment.
            as_of: as they were at a time, or at positions; None is the present. See `Run.list`.
            sagemaker_session: another name for `session`.
        """
        question = check_page(sort_by, sort_order, max_results)
        endpoint = session_of(session, sagemaker_session).resolve()
        client = Client(endpoint, as_of=as_of_text(as_of))
        page = client.experiments(question)
        return [cls(answer, endpoint, client.as_of) for answer in page["experiments"]]

    def delete(self) -> None:
        """Delete the experiment; its events stay in the log.

        Raises:
            ResourceInUseError: it has a run; nothing changed.
            ResourceNotFoundError: it is deleted already.
            ValidationError: this is what it was at a moment of the past.
        """
        if self._as_of is not None:
            raise ValidationError(
                f"experiment {self.experiment_name!r} as of {self._as_of} cannot be deleted: it is "
                "what was; load it without as_of",
                field="as_of",
                value=self._as_of,
                limit="an experiment of the present",
            )
        send_command(self._endpoint, ExperimentDeleted(self._answer["experiment_id"]))

    @property
    def experiment_name(self) -> str:
        """The name; it never changes."""
        return self._answer["experiment_name"]

    @property
    def experiment_arn(self) -> str:
        """The resource name, unique for good."""
        return self._answer["experiment_arn"]

    @property
    def experiment_id(self) -> str:
        """The id: 32 hex digits."""
        return self._answer["experiment_id"]

    @property
    def description(self) -> str | None:
        """The description, or None."""
        return self._answer["description"]

    @property
    def tags(self) -> dict[str, str]:
        """The tags, name to value."""
        return dict(self._answer["tags"])

    @property
    def creation_time(self) -> datetime:
        """When the log took it, UTC."""
        return datetime.fromisoformat(self._answer["creation_time"])

    @property
    def created_by(self) -> dict[str, str]:
        """Who created it: `user` and `host`."""
        return dict(self._answer["created_by"])

    @property
    def last_modified_time(self) -> datetime:
        """When it or its set of runs last changed, UTC."""
        return datetime.fromisoformat(self._answer["last_modified_time"])

    @property
    def last_modified_by(self) -> dict[str, str]:
        """Who changed it last: `user` and `host`."""
        return dict(self._answer["last_modified_by"])

    @property
    def run_count(self) -> int:
        """How many live runs it had when this object was made."""
        return self._answer["run_count"]

    @property
    def as_of(self) -> str | None:
        """The moment that this shows, as it can be asked for again; None is the present."""
        return self._as_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and self._answer == other._answer

    def __hash__(self) -> int:
        return hash(self._answer["experiment_id"])

    def __repr__(self) -> str:
        return f"Experiment({self.experiment_name!r}, runs={self.run_count})"


def check_page(sort_by: object, sort_order: object, max_results: object) -> dict[str, str | int]:
    """Return the question for a page, or raise ValidationError for a field, order or size."""
    return {
        "sort_by": names.check_choice("sort_by", sort_by, names.SORT_FIELDS),
        "sort_order": names.check_choice("sort_order", sort_order, names.SORT_ORDERS),
        "max_results": names.check_page_size(max_results),
    }

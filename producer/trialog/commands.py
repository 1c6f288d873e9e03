"""Commands: events of the catalog whose verdict the caller waits for. Blocks; never logs a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.ids import new_id, now_us
from trialog.policy import POLICY_CHANGED, known_policy, note_policy
from trialog.refusals import refusal_error, rejection_of
from trialog_schemas.errors import ClientError, UnavailableError
from trialog_schemas.events import ExperimentCreated, RunCreated
from trialog_schemas.limits import Limits

if TYPE_CHECKING:
    from trialog.answers import CommandAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.events import CatalogBody

POLICY_ATTEMPTS_MAX = 3
"""Commands sent when the service's policy is another one each time: a restart or two between."""


def send_command(
    endpoint: Endpoint, body: CatalogBody, client: Client | None = None
) -> CommandAnswer:
    """Append an event of the catalog, wait for its verdict and raise what was refused.

    Each command has a writer of its own, so that a process that dies between two of them leaves
    no hole in a sequence.

    Args:
        endpoint: the service, and as whom.
        body: the event; its limit is the policy's.
        client: asks the service; None makes one.
    """
    answer = _command(endpoint, body, client or Client(endpoint))
    note_policy(endpoint.url, Limits.from_json(dict(answer["limits"])))
    if answer["rejections"]:
        raise refusal_error(rejection_of(answer["rejections"][0]))
    return answer


def under_policy(endpoint: Endpoint, body: CatalogBody) -> CatalogBody:
    """Return the body with the limit of the policy that the service told last."""
    if isinstance(body, ExperimentCreated | RunCreated):
        return replace(body, experiments_max=known_policy(endpoint.url).experiments_max)
    return body


def _command(endpoint: Endpoint, body: CatalogBody, client: Client) -> CommandAnswer:
    for _ in range(POLICY_ATTEMPTS_MAX):
        try:
            return client.command(new_id(), now_us(), under_policy(endpoint, body))
        except ClientError as exc:
            if exc.code != POLICY_CHANGED:
                raise
        note_policy(endpoint.url, client.policy())
    raise UnavailableError(
        f"the processes of the service at {endpoint.url} have different policies; start all of "
        "them with the same limits"
    )

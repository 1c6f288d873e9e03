"""An archive in object storage: the real client over HTTP, its conditions and its lost answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.services.object_storage import BUCKET, ObjectStorage
from tests.unit.consumer.archive_cases import (
    all_archived,
    append_events,
    archived,
    filled_log,
)
from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_server.archive.manifest import MANIFEST_NAME
from trialog_server.archive.place import open_place
from trialog_server.log.base import topic_partitions

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = f"s3://{BUCKET}/some/where"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    """An empty bucket, which the environment names."""
    with ObjectStorage() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


async def test_archive_in_a_bucket_holds_what_the_log_holds(storage: ObjectStorage) -> None:
    """Everything is under the prefix; of archivers at once one wins and the others are told."""
    log, place = await filled_log(), open_place(ADDRESS)
    await archived(log, place)
    await append_events(log, 20, "more")
    answers = await asyncio.gather(
        *(archived(log, open_place(ADDRESS), 2 + turn) for turn in range(3)),
        return_exceptions=True,
    )
    lost = [one for one in answers if isinstance(one, BaseException)]
    assert lost
    assert {type(one) for one in lost} == {ResourceInUseError}
    await archived(log, place)
    assert await all_archived(place) == {one: log.stored(one) for one in topic_partitions(log)}
    assert {name.partition("/segments/")[0] for name in storage.objects} == {
        "some/where",
        f"some/where/{MANIFEST_NAME}",
    }
    assert len(await place.sizes("segments/")) == len(storage.objects) - 1
    gone = next(name for name in storage.objects if "/segments/" in name)
    del storage.objects[gone]
    with pytest.raises(UnavailableError, match=f"{gone.removeprefix('some/where/')} is missing"):
        await archived(log, place)


async def test_write_whose_answer_is_lost_is_not_taken_for_somebody_elses(
    storage: ObjectStorage,
) -> None:
    """The client sends it again, and finds that it is there: it was ours."""
    place = open_place(ADDRESS)
    storage.answers_lost = 1
    await place.replace(MANIFEST_NAME, b"first", None)
    seen = await place.read(MANIFEST_NAME)
    storage.answers_lost = 1
    await place.replace(MANIFEST_NAME, b"second", seen)
    assert storage.answers_lost == 0
    assert storage.objects == {f"some/where/{MANIFEST_NAME}": b"second"}
    with pytest.raises(ResourceInUseError):
        await place.replace(MANIFEST_NAME, b"third", seen)

"""Every number of `limits.py` at −1, 0 and +1, against each rule that enforces it.

`UPPER` and `LOWER` name a limit and the functions that take a number of things and tell whether
that many are legal. A limit that is in no table must be in `NOT_A_BOUND`, with the reason.
"""

from __future__ import annotations

import inspect
import random
import string
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.unit.schemas.factories import AT_US, artifact, event, long, wide
from trialog_schemas import arguments, decode, limits, names, wire
from trialog_schemas.catalog_rules import CatalogState, decide_catalog
from trialog_schemas.errors import ValidationError, WireError
from trialog_schemas.events import (
    NIL_ID,
    ArtifactLogged,
    Body,
    ExperimentCreated,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunCreated,
    RunEnded,
    TagsSet,
    UnknownEvent,
)
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.rules import RunState, decide_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog_schemas.names import ParameterValue

Enforcer = tuple[str, "Callable[[int], bool]"]

WIDE = "🙂"
"""One character, four bytes of UTF-8: limits count characters."""

RUN, WRITER, OTHER = "ab" * 16, "cd" * 16, "ef" * 16
URI = "s3://b/"
NOISE = random.Random(5).randbytes(limits.RECORD_BYTES_MAX + 1)


def passes(check: Callable[[object], object], value: object) -> bool:
    """Tell whether a check lets a value pass."""
    try:
        check(value)
    except ValidationError:
        return False
    return True


def is_accepted(body: Body, state: RunState | None = None) -> bool:
    """Tell whether the rules take the whole body."""
    verdict = decide_body(state or RunState(), body)
    return verdict.accepted == body and not verdict.rejections


def is_catalogued(body: ExperimentCreated | RunCreated, live: int = 0) -> bool:
    """Tell whether the catalog's rules take the body."""
    return not decide_catalog(CatalogState(live), event(body)).rejections


def chars(check: Callable[[object], object]) -> Callable[[int], bool]:
    """Return whether a text of so many characters passes; none of them ASCII."""
    return lambda count: passes(check, WIDE * count)


def letters(check: Callable[[object], object]) -> Callable[[int], bool]:
    """Return whether so many ASCII letters pass."""
    return lambda count: passes(check, "x" * count)


def nested(levels: int) -> ParameterValue:
    """Return lists in lists, as many levels of them."""
    value: ParameterValue = 1
    for _ in range(levels):
        value = [value]
    return value


def tags_of(count: int) -> dict[str, str]:
    """Return so many tags."""
    return {f"k{number}": "v" for number in range(count)}


def model(uri: str = URI, fact: str = "") -> ArtifactLogged:
    """Return a model's event."""
    return ArtifactLogged("m", "model", "a/b", uri=uri, model=ModelInfo(fact, fact, fact))


def header(count: int = 1, *, first_seq: int = 1, account: str = "a", user: str = "u") -> bytes:
    """Return a record's prefix and header; what follows is its payload as it is."""
    told = wire.RecordHeader(account, user, RUN, WRITER, first_seq, count, bytes(32))
    return wire.pack_record(told, [])


def record_of(raw_event: bytes, **facts: int | str) -> bytes:
    """Return a record of one event."""
    return header(**facts) + raw_event  # type: ignore[arg-type]  # names of header()


def raw_event(body: bytes = b"{}", *, kind: str = "x", seq: int = 1, at_us: int = AT_US) -> bytes:
    """Return an event's bytes, legal or not."""
    start = f'{{"seq":{seq},"id":"{OTHER}","type":"{kind}","v":1,"at":{at_us},"body":'
    return wire.encode_raw_event(start, body)


def is_read(record: bytes) -> bool:
    """Tell whether bytes are a record at all."""
    try:
        decode.unpack_record(record)
    except WireError:
        return False
    return True


def is_understood(record: bytes) -> bool:
    """Tell whether the first event of a record has a legal shape."""
    first = decode.unpack_record(record)[1][0]
    return not (isinstance(first, UnknownEvent) and first.reason.startswith("invalid_event"))


def is_in_bounds(read: Callable[[], object]) -> bool:
    """Tell whether bytes are at least not too many."""
    try:
        read()
    except WireError as exc:
        return "allowed are" not in exc.reason
    return True


def limits_from_event(points_max: object) -> Limits:
    """Return the policy that an event carries."""
    return Limits.from_json({"points_max": points_max})


def _packed(record_bytes: int) -> bytes:
    told = wire.RecordHeader("a", "u", RUN, WRITER, 1, 1, bytes(32))
    return wire.pack_record(told, [NOISE[: record_bytes - len(header())]])


def _unpacked(record_bytes: int) -> bool:
    return is_in_bounds(lambda: decode.unpack_record((header() + NOISE)[:record_bytes]))


def _inflated(payload_bytes: int) -> bool:
    packed = zstandard.ZstdCompressor().compress(bytes(payload_bytes))
    record = bytearray(header() + packed)
    record[len(wire.MAGIC) + 1] = wire.CODEC_ZSTD
    return is_in_bounds(lambda: decode.unpack_record(bytes(record)))


def _parameters_body(levels: int) -> bytes:
    return b'{"parameters":{"a":%b1%b}}' % (b"[" * (levels - 2), b"]" * (levels - 2))


UPPER: dict[str, tuple[Enforcer, ...]] = {
    "NAME_CHARS_MAX": (
        ("experiment", letters(names.check_experiment_name)),
        ("run", letters(names.check_run_name)),
        ("catalog", lambda n: is_catalogued(ExperimentCreated(OTHER, "x" * n))),
        ("catalog's run", lambda n: is_catalogued(RunCreated(RUN, "e", "x" * n, OTHER))),
        ("catalog's home", lambda n: is_catalogued(RunCreated(RUN, "x" * n, "r", OTHER))),
    ),
    "DESCRIPTION_CHARS_MAX": (
        ("call", chars(names.check_description)),
        ("catalog", lambda n: is_catalogued(ExperimentCreated(OTHER, "e", WIDE * n))),
    ),
    "FILTER_CHARS_MAX": (("call", chars(lambda text: arguments.check_question("filter", text))),),
    "TAGS_MAX": (
        ("call", lambda n: passes(names.check_tags, tags_of(n))),
        ("rules", lambda n: is_accepted(TagsSet(tags_of(n)))),
        (
            "one by one",
            lambda n: is_accepted(TagsSet({"new": ""}), RunState(tags={**tags_of(n - 1)})),
        ),
        ("catalog", lambda n: is_catalogued(ExperimentCreated(OTHER, "e", None, tags_of(n)))),
        (
            "catalog's run",
            lambda n: is_catalogued(RunCreated(RUN, "e", "r", OTHER, tags=tags_of(n))),
        ),
    ),
    "TAG_KEY_CHARS_MAX": (
        ("call", lambda n: passes(names.check_tags, {WIDE * n: ""})),
        ("rules", lambda n: is_accepted(TagsSet({WIDE * n: ""}))),
    ),
    "TAG_VALUE_CHARS_MAX": (
        ("call", lambda n: passes(names.check_tags, {"k": WIDE * n})),
        ("rules", lambda n: is_accepted(TagsSet({"k": WIDE * n}))),
    ),
    "PARAMETER_NAME_CHARS_MAX": (
        ("call", letters(names.check_parameter_name)),
        ("rules", lambda n: is_accepted(ParametersLogged({"x" * n: 1}))),
    ),
    "PARAMETER_DEPTH_MAX": (
        (
            "call",
            lambda n: passes(lambda value: names.check_parameter_value("p", value), nested(n)),
        ),
        ("rules", lambda n: is_accepted(ParametersLogged({"p": nested(n)}))),
    ),
    "PARAMETER_INTEGER_MAX": (
        ("call", lambda n: passes(lambda value: names.check_parameter_value("p", value), n)),
        ("rules", lambda n: is_accepted(ParametersLogged({"p": n}))),
    ),
    "METRIC_NAME_CHARS_MAX": (
        ("call", chars(names.check_metric_name)),
        ("rules", lambda n: is_accepted(MetricsLogged((wide(1, (WIDE * n,)),)))),
    ),
    "ARTIFACT_NAME_CHARS_MAX": (
        ("call", chars(names.check_artifact_name)),
        ("rules", lambda n: is_accepted(artifact(WIDE * n))),
    ),
    "MEDIA_TYPE_CHARS_MAX": (
        ("call", lambda n: passes(names.check_media_type, "a/" + "b" * (n - 2))),
        (
            "rules",
            lambda n: is_accepted(
                ArtifactLogged("a", "file", "a/" + "b" * (n - 2), sha256="a" * 64, size=1)
            ),
        ),
    ),
    "MODEL_URI_CHARS_MAX": (
        ("call", lambda n: passes(names.check_model_uri, URI + WIDE * (n - len(URI)))),
        ("rules", lambda n: is_accepted(model(URI + WIDE * (n - len(URI))))),
    ),
    "MODEL_FACT_CHARS_MAX": (
        ("call", chars(lambda value: names.check_model_fact("framework", value))),
        ("rules", lambda n: is_accepted(model(fact=WIDE * n))),
    ),
    "STEP_MAX": (("call", lambda n: passes(names.check_step, n)),),
    "TIME_US_MAX": (
        ("rules", lambda n: is_accepted(MetricsLogged((long(2, at_us=n),)))),
        ("wire", lambda n: is_read(record_of(raw_event(at_us=n)))),
    ),
    "PAGE_MAX": (("call", lambda n: passes(names.check_page_size, n)),),
    "RECORD_BYTES_MAX": (
        ("writer", lambda n: is_in_bounds(lambda: _packed(n))),
        ("reader", _unpacked),
    ),
    "PAYLOAD_BYTES_MAX": (("reader", _inflated),),
    "SEQ_MAX": (
        ("wire", lambda n: is_read(record_of(raw_event(seq=n), first_seq=n))),
        ("policy", lambda n: passes(lambda value: Limits(points_max=value), n)),  # type: ignore[arg-type]
    ),
    "ACCOUNT_CHARS_MAX": (("wire", lambda n: is_read(record_of(raw_event(), account="a" * n))),),
    "USER_CHARS_MAX": (("wire", lambda n: is_read(record_of(raw_event(), user="u" * n))),),
    "EVENT_TYPE_CHARS_MAX": (("wire", lambda n: is_read(record_of(raw_event(kind="k" * n)))),),
    "BODY_DEPTH_MAX": (
        (
            "wire",
            lambda n: is_understood(
                record_of(raw_event(_parameters_body(n), kind="parameters_logged"))
            ),
        ),
    ),
}

POLICY: dict[str, tuple[Enforcer, ...]] = {
    "experiments_max": (
        ("experiment", lambda n: is_catalogued(ExperimentCreated(OTHER, "e"), live=n - 1)),
        ("run's experiment", lambda n: is_catalogued(RunCreated(RUN, "e", "r", OTHER), live=n - 1)),
    ),
    "parameters_max": (
        ("at once", lambda n: is_accepted(ParametersLogged({f"p{at}": at for at in range(n)}))),
        (
            "one by one",
            lambda n: is_accepted(
                ParametersLogged({"new": 1}),
                RunState(parameters={f"p{at}": at for at in range(n - 1)}),
            ),
        ),
    ),
    "parameter_value_chars_max": (
        ("call", chars(lambda value: names.check_parameter_value("p", value))),
        ("rules", lambda n: is_accepted(ParametersLogged({"p": WIDE * n}))),
        ("as JSON", lambda n: is_accepted(ParametersLogged({"p": [WIDE * (n - 4)]}))),
        ("a key", lambda n: is_accepted(ParametersLogged({"p": {WIDE * (n - 6): 1}}))),
    ),
    "points_max": (
        ("at once", lambda n: is_accepted(MetricsLogged((long(n),)))),
        ("one by one", lambda n: is_accepted(MetricsLogged((long(1),)), RunState(points=n - 1))),
        (
            "over blocks",
            lambda n: is_accepted(MetricsLogged((wide(2), long(3))), RunState(points=n - 5)),
        ),
    ),
    "artifacts_max": (
        (
            "one by one",
            lambda n: is_accepted(
                artifact("new"),
                RunState(artifacts={f"a{at}": None for at in range(n - 1)}),  # type: ignore[misc]
            ),
        ),
    ),
    "artifact_bytes_max": (("rules", lambda n: is_accepted(artifact("a", size=n))),),
}

LOWER: dict[str, tuple[int, tuple[Enforcer, ...]]] = {
    "characters of an experiment's name": (1, (("call", letters(names.check_experiment_name)),)),
    "characters of a run's name": (1, (("call", letters(names.check_run_name)),)),
    "characters of a tag's key": (
        1,
        (("call", lambda n: passes(names.check_tags, {"k" * n: ""})),),
    ),
    "characters of a parameter's name": (1, (("call", letters(names.check_parameter_name)),)),
    "characters of a metric's name": (1, (("call", letters(names.check_metric_name)),)),
    "characters of an artifact's name": (1, (("call", letters(names.check_artifact_name)),)),
    "a step": (
        0,
        (
            ("call", lambda n: passes(names.check_step, n)),
            # The wire has −1 for a point without a step.
            ("rules", lambda n: is_accepted(MetricsLogged((wide(1, step=n - 1),)))),
        ),
    ),
    "a page": (1, (("call", lambda n: passes(names.check_page_size, n)),)),
    "bytes of an artifact": (0, (("rules", lambda n: is_accepted(artifact("a", size=n))),)),
    "a limit of the policy": (
        0,
        (("policy", lambda n: passes(lambda value: Limits(points_max=value), n)),),  # type: ignore[arg-type]
    ),
    "PARAMETER_INTEGER_MIN": (
        limits.PARAMETER_INTEGER_MIN,
        (
            ("call", lambda n: passes(lambda value: names.check_parameter_value("p", value), n)),
            ("rules", lambda n: is_accepted(ParametersLogged({"p": n}))),
        ),
    ),
    "TIME_US_MIN": (
        limits.TIME_US_MIN,
        (
            ("rules", lambda n: is_accepted(MetricsLogged((long(2, at_us=n),)))),
            ("wire", lambda n: is_read(record_of(raw_event(at_us=n)))),
        ),
    ),
}

NOT_A_BOUND = {
    "FAILURE_MESSAGE_CHARS_MAX": "longer ones are cut, see below",
    "PAYLOAD_BYTES_TARGET": "what a sender aims at; nothing is refused by it",
    "REQUEST_BYTES_MAX": "of HTTP; the gateway's tests have it",
    "EVENTS_PARTITIONS": "how many are made, not how many may be",
}

_UPPER_CASES = [
    pytest.param(getattr(limits, name), tells, id=f"{name}-{who}")
    for name, enforcers in UPPER.items()
    for who, tells in enforcers
] + [
    pytest.param(getattr(DEFAULT_LIMITS, name), tells, id=f"{name}-{who}")
    for name, enforcers in POLICY.items()
    for who, tells in enforcers
]
_LOWER_CASES = [
    pytest.param(bound, tells, id=f"{name}-{who}")
    for name, (bound, enforcers) in LOWER.items()
    for who, tells in enforcers
]


# A2 A4 A5 C8 C9 D8 D10 E8 E9
@pytest.mark.parametrize(("bound", "tells"), _UPPER_CASES)
def test_limit_itself_is_legal_and_one_more_is_not(
    bound: int, tells: Callable[[int], bool]
) -> None:
    """One less and the limit itself pass; one more is refused."""
    assert [tells(bound - 1), tells(bound), tells(bound + 1)] == [True, True, False]


# A2 A9 D8
@pytest.mark.parametrize(("bound", "tells"), _LOWER_CASES)
def test_least_value_itself_is_legal_and_one_less_is_not(
    bound: int, tells: Callable[[int], bool]
) -> None:
    """The least legal value and one more pass; one less is refused."""
    assert [tells(bound - 1), tells(bound), tells(bound + 1)] == [False, True, True]


def test_every_number_of_the_module_is_in_a_table() -> None:
    """A limit that nobody tests would be a wish."""
    numbers = {name for name, value in vars(limits).items() if type(value) is int}
    assert numbers == set(UPPER) | (set(LOWER) & numbers) | set(NOT_A_BOUND)
    assert set(Limits().to_json()) == set(POLICY)


def test_every_number_says_whose_it_is() -> None:
    """Each limit has a sentence below it: what it bounds, and where the number comes from."""
    lines = inspect.getsource(limits).splitlines()
    for at, line in enumerate(lines):
        if line[:1] in string.ascii_uppercase and " = " in line and line[0] != "D":
            assert lines[at + 1].startswith('"""'), line


# B12
@pytest.mark.parametrize("chars_told", [1023, 1024, 1025, 3000])
def test_failure_message_is_cut_at_its_limit(chars_told: int) -> None:
    """A message of 1024 characters is kept whole, of a longer one the first 1024."""
    verdict = decide_body(RunState(), RunEnded("Failed", WIDE * chars_told))
    assert isinstance(verdict.accepted, RunEnded)
    assert verdict.accepted.failure_message == WIDE * min(chars_told, 1024)
    assert verdict.rejections == ()


def test_points_beyond_the_limit_are_refused_by_number() -> None:
    """The first points up to the limit stay, however many come at once."""
    verdict = decide_body(RunState(points=499_998), MetricsLogged((wide(2, ("a", "b", "c")),)))
    assert isinstance(verdict.accepted, MetricsLogged)
    assert verdict.accepted.points == 2
    assert [block.names for block in verdict.accepted.blocks] == [("a", "b")]
    assert verdict.rejections[0].facts == {"limit": 500_000, "points": 4}


def test_numbers_are_those_of_the_table_that_users_know() -> None:
    """SageMaker Experiments' numbers, written down once more: a slip of a key shows here."""
    assert Limits().to_json() == {
        "experiments_max": 5000,
        "parameters_max": 300,
        "parameter_value_chars_max": 256,
        "points_max": 500_000,
        "artifacts_max": 30,
        "artifact_bytes_max": 5 * 1024 * 1024,
    }
    assert (limits.NAME_CHARS_MAX, limits.DESCRIPTION_CHARS_MAX) == (120, 3072)
    assert (limits.TAGS_MAX, limits.TAG_KEY_CHARS_MAX, limits.TAG_VALUE_CHARS_MAX) == (50, 128, 256)
    assert (limits.PARAMETER_NAME_CHARS_MAX, limits.METRIC_NAME_CHARS_MAX) == (256, 255)
    assert (limits.FAILURE_MESSAGE_CHARS_MAX, limits.PAGE_MAX) == (1024, 100)
    assert limits.STEP_MAX == 9_223_372_036_854_775_807


@pytest.mark.parametrize("make", [lambda value: Limits(points_max=value), limits_from_event])
@pytest.mark.parametrize("value", [-1, True, 1.0, "5", None, 2**63])
def test_policy_of_illegal_numbers_is_refused_with_its_name(
    make: Callable[[object], object], value: object
) -> None:
    """The operator learns which limit it is, wherever the number came from."""
    with pytest.raises(ValidationError, match="limit points_max is") as caught:
        make(value)
    assert (caught.value.field, caught.value.limit) == ("points_max", "0..2**63-1")


def test_policy_comes_back_and_leaves_out_what_it_does_not_know() -> None:
    """A later release's limit does not keep this one from reading the others."""
    policy = Limits(points_max=7)
    assert Limits.from_json({**policy.to_json(), "frobs_max": "many"}) == policy
    assert Limits.from_json({}) == Limits()


def test_catalog_records_are_of_the_nil_run() -> None:
    """The header decides the topic: only the nil run's records are the catalog's."""
    told = wire.RecordHeader("a", "u", NIL_ID, WRITER, 1, 1, bytes(32))
    assert (told.topic, told.key) == (wire.CATALOG_TOPIC, "a")
    assert decode.unpack_header(header()).topic == wire.EVENTS_TOPIC

"""The error tree: what is drawn is what is there, and each error can be caught by what to do."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialog_schemas import errors
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    InternalError,
    LimitExceededError,
    NotNumericError,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    RunRejectedError,
    SnapshotPendingError,
    SpoolError,
    TrialogError,
    UnavailableError,
    ValidationError,
    WireError,
    WrongTypeError,
    did_you_mean,
    error_from_code,
    shown,
)
from trialog_schemas.events import Rejection

if TYPE_CHECKING:
    from trialog_schemas.errors import ErrorFacts

_DRAWN = re.compile(r"^ {4}(?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+Error) +(?P<words>.+)$")

KINDS: set[type[TrialogError]] = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TrialogError)
}


def drawn_tree() -> list[tuple[str, str | None, str]]:
    """Return of each class in the drawing its name, the name it stands under, and its words."""
    above: list[str] = []
    tree: list[tuple[str, str | None, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = _DRAWN.match(line)
        if match is None:
            continue
        depth = len(match["lines"]) // 4
        above = above[:depth]
        tree.append((match["name"], above[-1] if above else None, match["words"]))
        above.append(match["name"])
    return tree


def test_drawing_is_the_real_tree() -> None:
    """Every class stands in the drawing, under the class it derives from, and no other does."""
    real = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if issubclass(base, TrialogError)), None
        )
        for kind in KINDS
    }
    assert {name: parent for name, parent, _ in drawn_tree()} == real


def test_drawing_says_which_builtin_errors_they_are() -> None:
    """Who catches ValueError or TypeError is told in the drawing what that catches."""
    for name, _, words in drawn_tree():
        kind = getattr(errors, name)
        own = {base.__name__ for base in kind.__bases__} & {"ValueError", "TypeError"}
        assert own == set(re.findall(r"also (\w+)", words)), name


def test_every_class_has_a_docstring_of_its_own() -> None:
    """Each class says what happened and what stays."""
    for kind in KINDS:
        assert kind.__doc__
        assert all(kind.__doc__ != base.__doc__ for base in kind.__bases__)


def test_codes_are_stable_and_their_own() -> None:
    """These words are in programs that catch by code; only errors of types share their parent's."""
    codes = {kind: kind.code for kind in KINDS}
    assert codes.pop(NotNumericError) == codes[ValidationError]
    assert codes.pop(WrongTypeError) == codes[ValidationError]
    assert len(set(codes.values())) == len(codes)
    assert {kind.__name__: code for kind, code in codes.items()} == {
        "TrialogError": "TrialogError",
        "ClientError": "ClientError",
        "ValidationError": "ValidationException",
        "LimitExceededError": "ResourceLimitExceeded",
        "ParameterImmutableError": "ParameterImmutable",
        "ResourceInUseError": "ResourceInUse",
        "ResourceNotFoundError": "ResourceNotFound",
        "RunRejectedError": "RunRejected",
        "AccessRefusedError": "AccessRefused",
        "UnavailableError": "ServiceUnavailable",
        "SnapshotPendingError": "SnapshotPending",
        "WireError": "Undecodable",
        "SpoolError": "SpoolDamaged",
        "InternalError": "InternalError",
    }


@pytest.mark.parametrize(
    ("kind", "caught_as"),
    [
        (ValidationError, {ClientError, ValueError}),
        (NotNumericError, {ClientError, ValidationError, ValueError, TypeError}),
        (WrongTypeError, {ClientError, ValidationError, ValueError, TypeError}),
        (LimitExceededError, {ClientError, ValueError}),
        (ParameterImmutableError, {ClientError, ValueError}),
        (ResourceInUseError, {ClientError}),
        (ResourceNotFoundError, {ClientError}),
        (RunRejectedError, {ClientError}),
        (AccessRefusedError, {ClientError}),
        (UnavailableError, {ClientError}),
        (SnapshotPendingError, {ClientError}),
        (WireError, set()),
        (SpoolError, set()),
        (InternalError, set()),
    ],
)
def test_error_is_caught_by_what_to_do_next(
    kind: type[TrialogError], caught_as: set[type[Exception]]
) -> None:
    """A wrong value is a ValueError, what one can act on a ClientError, a defect is neither."""
    among = {ClientError, ValidationError, ValueError, TypeError} - {kind}
    assert {other for other in among if issubclass(kind, other)} == caught_as
    assert issubclass(kind, TrialogError)


# A3
def test_client_error_answers_like_botocore() -> None:
    """`response["Error"]` has the code and the message, as ported programs look for them."""
    error = ResourceInUseError("experiment 'a' exists already", field="name", value="a", limit=7)
    assert error.response == {
        "Error": {"Code": "ResourceInUse", "Message": "experiment 'a' exists already"}
    }
    assert error.facts == {"field": "name", "value": "'a'", "limit": "7"}
    assert (str(error), error.args) == (error.message, (error.message,))


def test_client_error_without_parts_has_no_facts() -> None:
    """A part that is not known is left out, and None is no value."""
    assert ClientError("no").facts == {}
    assert ClientError("no", field="f", value=None).facts == {"field": "f"}
    assert ClientError("no", value=0).facts == {"value": "0"}


def test_code_of_one_error_does_not_change_its_class() -> None:
    """A code that is given belongs to this error alone."""
    assert ClientError("no", code="Teapot").response["Error"]["Code"] == "Teapot"
    assert ClientError.code == "ClientError"


@pytest.mark.parametrize(
    "kind", sorted(KINDS - {RunRejectedError, NotNumericError, WrongTypeError}, key=str)
)
def test_error_of_a_code_is_the_class_that_has_it(kind: type[TrialogError]) -> None:
    """What the service answers becomes the error that its own process would have raised."""
    facts: ErrorFacts = {"field": "name", "value": "'a'", "limit": "1..9"}
    error = error_from_code(kind.code, "told", facts)
    assert type(error) is (kind if issubclass(kind, ClientError) else ClientError)
    assert error.response["Error"] == {"Code": kind.code, "Message": "told"}
    assert error.facts == facts


def test_error_of_an_unknown_code_keeps_it() -> None:
    """A later service's code reaches the program as it is."""
    error = error_from_code("FromTheFuture", "told")
    assert type(error) is ClientError
    assert (error.code, error.facts) == ("FromTheFuture", {})


def test_rejected_error_carries_each_refusal() -> None:
    """`wait()` tells all refusals at once."""
    rejections = [Rejection("invalid", "no"), Rejection("param_limit", "nor this", "p", "1")]
    error = RunRejectedError("2 refusals", rejections)
    assert error.rejections == tuple(rejections)
    assert error.response["Error"]["Code"] == "RunRejected"
    assert RunRejectedError("none").rejections == ()


def test_wire_error_has_a_reason_and_the_code_of_a_refused_record() -> None:
    """The reason is what dead rows and receipts show."""
    error = WireError("bytes that do not start with TLOG")
    assert (error.reason, error.message) == (str(error), str(error))


@given(st.one_of(st.text(), st.integers(), st.lists(st.integers()), st.binary(), st.none()))
def test_shown_is_the_value_up_to_eighty_characters(value: object) -> None:
    """Short values are shown whole, long ones by their start."""
    told = shown(value)
    assert len(told) <= 80
    whole = repr(value)
    assert told == whole or (told.endswith("…") and told[:70] == whole[:70])


@pytest.mark.parametrize("chars", [77, 78, 79, 80, 81, 10**7])
def test_shown_text_is_cut_at_eighty(chars: int) -> None:
    """Quotes count; of a text of megabytes only the start is looked at."""
    told = shown("x" * chars)
    assert told == (f"'{'x' * chars}'" if chars <= 78 else f"'{'x' * 78}…")


def test_shown_survives_what_cannot_be_shown() -> None:
    """Neither lists without end nor integers of thousands of digits break a message."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[" * 79 + "…"
    assert shown(10**5000) == "a int too large to show"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("CreatonTime", "; did you mean 'CreationTime'?"),
        ("name", "; did you mean 'Name'?"),
        ("NAME", "; did you mean 'Name'?"),
        ("Colour", ""),
        ("", ""),
    ],
)
def test_near_miss_is_named(word: str, hint: str) -> None:
    """A word that resembles a right one gets it named, any other gets nothing."""
    assert did_you_mean(word, ["CreationTime", "Name"]) == hint


def test_did_you_mean_needs_no_candidates() -> None:
    """Where nothing is right, nothing is suggested."""
    assert did_you_mean("x", []) == ""


def test_errors_module_imports_nothing_but_the_language() -> None:
    """The tree is shared by everything: it may not pull anything in."""
    imported = re.findall(r"^(?:from|import) (\S+)", inspect.getsource(errors), re.MULTILINE)
    assert set(imported) == {"__future__", "difflib", "typing", "trialog_schemas"}


def test_facts_are_plain_json() -> None:
    """What the HTTP API sends of an error needs no encoder of its own."""
    error = ValidationError("no", field="f", value=object(), limit=range(3))
    assert json.loads(json.dumps(error.facts)) == error.facts


@pytest.mark.parametrize("kind", sorted(KINDS, key=str))
def test_error_survives_the_way_between_processes(kind: type[TrialogError]) -> None:
    """A worker of a pool raises it in its parent with the same words and code."""
    back = pickle.loads(pickle.dumps(kind("told")))
    assert (type(back), str(back), back.code) == (kind, "told", kind.code)

"""Parameters end to end: kept with their types, refused as a whole, never changed."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS
from tests.acceptance.programs import run_together
from tests.acceptance.refusals import illegal, refusal
from trialog.client import Client

if TYPE_CHECKING:
    from trialog.answers import RunAnswer
    from trialog_schemas.names import ParameterValue

PARAMETERS_MAX = 300


def read(session: trialog.Session, run: trialog.Run) -> RunAnswer:
    """The run as the service has it."""
    return Client(session.resolve()).run(run.experiment_name, run.run_name)


def with_types(value: object) -> str:
    """A value as JSON, in which True, 1, 1.0 and "1" are all different."""
    return json.dumps(value, sort_keys=True)


# C1
def test_every_type_comes_back_as_itself(session: trialog.Session, experiment_name: str) -> None:
    """Truth values, numbers, texts, None, lists and dicts, alone and inside each other."""
    given: dict[str, ParameterValue] = {
        "true": True,
        "false": False,
        "one": 1,
        "one as float": 1.0,
        "zero": 0,
        "negative": -7,
        "negative zero": -0.0,
        "int64 min": -(2**63),
        "uint64 max": 2**64 - 1,
        "odd int": 2**53 + 1,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "third": 1 / 3,
        "whole float": 1e16,
        "text": "text",
        "number as text": "1",
        "empty": "",
        "none": None,
        "list": [1, 1.0, True, None, "1", [], {}],
        "dict": {"a": {"b": [1.5, False]}, "": "", "ü": 1},
        "empty list": [],
        "empty dict": {},
    }
    with trialog.Run(experiment_name, "one", session) as run:
        for name, value in given.items():
            run.log_parameter(name, value)
    run.wait()
    for found in (run.parameters, read(session, run)["parameters"]):
        assert found.keys() == given.keys()
        for name, value in given.items():
            assert with_types(found[name]) == with_types(value)
            assert type(found[name]) is type(value)


NOT_JSON: dict[str, object] = {
    "object": object(),
    "set": {1},
    "complex": 1j,
    "bytes": b"x",
    "class": dict,
    "function": len,
    "decimal": Decimal(1),
    "array": np.array([1, 2]),
    "numpy complex": np.complex64(1),
    "above uint64": 2**64,
    "below int64": -(2**63) - 1,
    "key no text": {1: 2},
    "set inside": [{"a": {1}}],
}
NOT_FINITE: dict[str, object] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "numpy nan": np.float32("nan"),
    "nan inside": [{"a": math.nan}],
}


# C2 C3 C10 I3
def test_value_that_is_not_json_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """Alone or among good ones; the error names the parameter; the rest of the run is kept."""
    with trialog.Run(experiment_name, "one", session) as run:
        for kind, value in (NOT_JSON | NOT_FINITE).items():
            alone = illegal(run.log_parameter, kind, value)
            among = illegal(run.log_parameters, {"good": 1, kind: value, "also good": 2})
            assert str(alone) == str(among)
            assert (alone.field, alone.limit) == (kind, "JSON")
            assert repr(kind) in str(alone)
        run.log_parameters({"good": "kept", "lr": 0.1})
    run.wait()
    assert run.parameters == {"good": "kept", "lr": 0.1}


# C2
def test_numpy_scalars_become_pythons_values(
    session: trialog.Session, experiment_name: str
) -> None:
    """A numpy scalar or 0-d array is recorded as the Python value of its kind."""
    given = {
        "int": np.int64(3),
        "uint": np.uint8(200),
        "float": np.float64(0.1),
        "half": np.float16(0.5),
        "bool": np.bool_(True),
        "text": np.str_("s"),
        "array": np.array(7),
        "inside": [np.int32(1), {"a": np.float32(0.25)}],
        "tuple": (1, 2),
    }
    expected = {
        "int": 3,
        "uint": 200,
        "float": 0.1,
        "half": 0.5,
        "bool": True,
        "text": "s",
        "array": 7,
        "inside": [1, {"a": 0.25}],
        "tuple": [1, 2],
    }
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters(given)
    run.wait()
    assert with_types(run.parameters) == with_types(expected)


# C3
@pytest.mark.parametrize("parameters", [None, 1, "lr", [("lr", 0.1)], {"lr"}])
def test_parameters_that_are_no_mapping_raise_type_error(
    session: trialog.Session, experiment_name: str, parameters: object
) -> None:
    """A list of pairs is no mapping either; the message says what to give."""
    with (
        trialog.Run(experiment_name, "one", session) as run,
        pytest.raises(TypeError, match="give a dict of name to value"),
    ):
        run.log_parameters(parameters)  # type: ignore[arg-type]


# C3
def test_no_parameters_are_a_no_op(session: trialog.Session, experiment_name: str) -> None:
    """An empty dict records no event at all."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters({})
    run.wait()
    history = [event["type"] for event in Client(session.resolve()).events(run.run_id)]
    assert history == ["run_created", "run_started", "run_ended"]


# C4 C5
def test_value_of_a_logged_name_cannot_change(
    session: trialog.Session, experiment_name: str
) -> None:
    """Another value, another kind and a change inside a list are refused; the same value is not."""
    first: dict[str, ParameterValue] = {"lr": 1, "flag": True, "list": [1, 2], "none": None}
    others: list[tuple[str, ParameterValue]] = [
        ("lr", 2),
        ("lr", True),
        ("lr", "1"),
        ("lr", None),
        ("flag", 1),
        ("flag", False),
        ("list", [2, 1]),
        ("list", [1]),
        ("none", 0),
        ("none", ""),
    ]
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters(first)
        for name, value in others:
            for attempt in ({name: value}, {"new": 1, name: value}):
                error = refusal(
                    trialog.ParameterImmutableError,
                    "ParameterImmutable",
                    run.log_parameters,
                    attempt,
                )
                assert isinstance(error, ValueError)
                assert f"already {first[name]!r} and cannot become {value!r}" in str(error)
        run.log_parameters({"lr": 1.0, "list": [1.0, 2], "none": None, "flag": True})
        run.wait()
    run.wait()
    assert with_types(run.parameters) == with_types(first)
    attempts = [(one.code, one.name, one.value) for one in run.rejections]
    assert attempts == [
        ("param_immutable", name, repr(value)) for name, value in others for _ in range(2)
    ]


# C4 K7
@LEFT_WITH_REFUSALS
def test_attempt_that_only_the_log_can_judge_is_refused_and_visible(
    session: trialog.Session, experiment_name: str
) -> None:
    """The first value stays, the valid rest is kept, and the audit trail shows who tried what."""
    with trialog.Run(experiment_name, "one", session) as run:
        joined = trialog.load_run(experiment_name, "one", session).__enter__()
        run.log_parameter("lr", 0.1)
        run.wait()
        joined.log_parameters({"lr": 0.2, "new": 1})
        error = refusal(trialog.RunRejectedError, "RunRejected", joined.wait)
        joined.__exit__(None, None, None)
    run.wait()
    assert "already 0.1 and cannot become 0.2" in str(error)
    assert run.parameters == {"lr": 0.1, "new": 1}
    (rejection,) = run.rejections
    assert (rejection.code, rejection.name, rejection.value) == ("param_immutable", "lr", "0.2")
    events = [
        event
        for event in Client(session.resolve()).events(run.run_id)
        if event["type"] == "parameters_logged"
    ]
    assert [event["body"] for event in events] == [
        {"parameters": {"lr": 0.1}},
        {"parameters": {"lr": 0.2, "new": 1}},
    ]
    assert [len(event["rejections"]) for event in events] == [0, 1]
    assert events[0]["writer_id"] != events[1]["writer_id"]
    assert {event["user"] for event in events} == {session.resolve().user}


RACE = """
import warnings

def work(session, index, experiment_name, run_name):
    warnings.simplefilter("ignore")  # leaving the block tells of refusals
    with trialog.load_run(experiment_name, run_name, session) as run:
        yield
        run.log_parameters({"winner": index, f"own{index}": index})
        try:
            run.wait()
        except trialog.RunRejectedError:
            return "refused"
        return "kept"
"""


# C6
def test_of_values_that_processes_log_at_once_exactly_one_survives(
    session: trialog.Session, experiment_name: str
) -> None:
    """The one that survives is told so, each other one gets a rejection and keeps its own name."""
    with trialog.Run(experiment_name, "one", session) as run:
        answers = run_together(session, 4, RACE, experiment_name, "one")
    run.wait()
    assert sorted(map(str, answers)) == ["kept", "refused", "refused", "refused"]
    winner = answers.index("kept")
    assert run.parameters == {"winner": winner} | {f"own{index}": index for index in range(4)}
    assert {rejection.code for rejection in run.rejections} == {"param_immutable"}
    values = sorted(str(rejection.value) for rejection in run.rejections)
    assert values == [str(index) for index in range(4) if index != winner]


# C7
def test_value_cannot_change_after_the_run_ended_and_is_resumed(
    session: trialog.Session, experiment_name: str
) -> None:
    """A resumed run knows its parameters: another value is refused, the same one is not."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 0.1)
    run.wait()
    with trialog.Run(experiment_name, "one", session, resume=True) as again:
        refused = refusal(
            trialog.ParameterImmutableError, "ParameterImmutable", again.log_parameter, "lr", 0.2
        )
        again.log_parameters({"lr": 0.1, "more": 1})
    again.wait()
    assert "already 0.1" in str(refused)
    assert again.parameters == {"lr": 0.1, "more": 1}


# C8 C5
def test_parameter_301_is_refused_and_300_stay(
    session: trialog.Session, experiment_name: str
) -> None:
    """One too many refuses its whole call; at the limit old names may be logged again."""
    most = {f"p{index:03}": index for index in range(PARAMETERS_MAX - 1)}
    with trialog.Run(experiment_name, "one", session) as run:
        limit = (trialog.LimitExceededError, "ResourceLimitExceeded")
        error = refusal(*limit, run.log_parameters, most | {"a": 1, "b": 2})
        assert isinstance(error, ValueError)
        assert error.limit == "300"
        run.log_parameters(most)
        refusal(*limit, run.log_parameters, {"a": 1, "b": 2})
        run.log_parameters(most | {"last": "300th"})
        error = refusal(*limit, run.log_parameter, "one more", 1)
        assert "300" in str(error)
        run.log_parameters({"p000": 0, "p001": 1.0, "last": "300th"})
    run.wait()
    assert run.parameters == most | {"last": "300th"}
    attempts = [(one.code, one.name) for one in run.rejections]
    assert attempts == [("param_limit", "b"), ("param_limit", "b"), ("param_limit", "one more")]


# C9
@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        ("x" * 256, "x" * 257),
        ("🙂" * 256, "🙂" * 257),
        ("é\n" * 128, "é\n" * 128 + "é"),
        (["x" * 252], ["x" * 253]),
        (["🙂" * 252], ["🙂" * 253]),
        ({"k": "v" * 248}, {"k": "v" * 249}),
        ([1] * 127 + [], [1] * 128),
    ],
    ids=["text", "emoji", "line breaks", "list", "emoji in a list", "dict", "numbers"],
)
def test_value_of_256_characters_is_kept_and_257_refused(
    session: trialog.Session,
    experiment_name: str,
    fits: ParameterValue,
    too_long: ParameterValue,
) -> None:
    """Characters are code points: of a text itself, of anything else as compact JSON."""
    with trialog.Run(experiment_name, "one", session) as run:
        error = illegal(run.log_parameter, "p", too_long)
        assert (error.field, error.limit) == ("p", "256")
        assert "257 characters" in str(error)
        run.log_parameter("p", fits)
    run.wait()
    assert run.parameters == {"p": fits}


# C12
def test_texts_come_back_exactly(session: trialog.Session, experiment_name: str) -> None:
    """Line breaks, quotes, control and combining characters, and texts that look like others."""
    texts = [
        "a\r\nb\n",
        "\"quoted\" and 'single'",
        "back\\slash",
        "\t\x01\x1f\x7f\x85\u2028\u2029",
        "e\u0301 is not é",
        "\ufeffbom",
        "👩‍👩‍👧‍👦",
        "\U0010ffff",
        "NaN",
        "null",
        "true",
        '{"a": 1}',
        "  spaces  ",
        "%s {} $1",
        "\\x00",
        "\\u0000",
    ]
    given: dict[str, ParameterValue] = {f"t{index}": text for index, text in enumerate(texts)}
    given["inside"] = {"key\n\"'": [texts[0], texts[3]]}
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters(given)
    run.wait()
    assert run.parameters == given
    frame = trialog.compare(experiment_name, session=session)
    assert {name: frame[name].item() for name in given if name != "inside"} == {
        f"t{index}": text for index, text in enumerate(texts)
    }


UNSTORABLE: dict[str, ParameterValue] = {
    "NUL": "a\0b",
    "NUL inside": [{"a": "\0"}],
    "NUL in a key": {"\0": 1},
    "surrogate": "\ud83d",
    "surrogate inside": ["\udfff"],
}


# C12
@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE)
def test_text_that_cannot_be_stored_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str, value: ParameterValue
) -> None:
    """NUL and lone surrogates are refused at the call, wherever in the value they are."""
    with trialog.Run(experiment_name, "one", session) as run:
        error = illegal(run.log_parameters, {"good": 1, "p": value})
        assert "'p'" in str(error)
        assert error.limit in {"no NUL", "Unicode text"}
        run.log_parameter("kept", 1)
    run.wait()
    assert run.parameters == {"kept": 1}


ILLEGAL_NAMES: dict[str, tuple[object, str]] = {
    "empty": ("", "1..256"),
    "257 characters": ("p" * 257, "1..256"),
    "line break": ("a\nb", "letters digits _ - . / : space"),
    "tab": ("a\tb", "letters digits _ - . / : space"),
    "trailing newline": ("lr\n", "letters digits _ - . / : space"),
    "quote": ("a'b", "letters digits _ - . / : space"),
    "star": ("a*", "letters digits _ - . / : space"),
    "emoji": ("🙂", "letters digits _ - . / : space"),
    "NUL": ("a\0", "no NUL"),
    "number": (1, "text"),
    "None": (None, "text"),
    "bytes": (b"lr", "text"),
}


# C13
def test_parameter_of_an_illegal_name_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each mistake is a ValueError with the limit; a good name beside it is not recorded either."""
    with trialog.Run(experiment_name, "one", session) as run:
        for name, limit in ILLEGAL_NAMES.values():
            alone = illegal(run.log_parameter, name, 1)
            among = illegal(run.log_parameters, {"good": 1, name: 1})
            assert str(alone) == str(among)
            assert (alone.field, alone.limit) == ("parameter name", limit)
        run.log_parameter("kept", 1)
    run.wait()
    assert run.parameters == {"kept": 1}


# C13
def test_parameter_names_are_never_rewritten(
    session: trialog.Session, experiment_name: str
) -> None:
    """Every legal character, letters of any alphabet and 256 characters come back."""
    names = [
        "lr",
        "model/encoder.layers:0",
        "a b-c_d",
        "größe",
        "学習率",
        "0",
        " ",
        "..",
        "p" * 256,
    ]
    given: dict[str, ParameterValue] = {name: index for index, name in enumerate(names)}
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters(given)
    run.wait()
    assert run.parameters == given
    assert set(trialog.compare(experiment_name, session=session).columns[3:]) == set(names)


# C11
def test_parameter_may_be_logged_at_any_time_while_the_run_is_open(
    session: trialog.Session, experiment_name: str
) -> None:
    """After points and artifacts, after a wait, and as the last thing of the block."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_metric("loss", 1.0, 0)
        run.log_artifact("text", "content")
        run.log_parameter("after points", 1)
        run.wait()
        run.log_parameter("after a wait", 2)
        run.log_metric("loss", 0.5, 1)
        run.log_parameter("last", 3)
    run.wait()
    assert run.parameters == {"after points": 1, "after a wait": 2, "last": 3}

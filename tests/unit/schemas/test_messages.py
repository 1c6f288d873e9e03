"""Every message of a refusal or an error: what was refused, its value, the limit, the remedy.

`message_rows.py` and `refusal_rows.py` have one row a sentence. A sentence of the package that no
row provokes is found by its own words, so that a new one cannot come without a row.
"""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from tests.unit.schemas.message_rows import ERRORS, Row, error
from tests.unit.schemas.refusal_rows import CATALOG_REFUSALS, REFUSALS, refusal
from trialog_schemas import (
    arguments,
    catalog_rules,
    illegal,
    limits,
    names,
    plain_json,
    rules,
    texts,
)
from trialog_schemas.errors import ClientError
from trialog_schemas.events import ParametersLogged, Rejection

MODULES = [arguments, catalog_rules, illegal, limits, names, plain_json, rules, texts]
ALL = [*ERRORS, *REFUSALS, *CATALOG_REFUSALS]


def message_of(row: Row) -> str:
    """Provoke a row's sentence."""
    caused = row.cause()
    return caused.message if isinstance(caused, ClientError | Rejection) else str(caused)


@pytest.mark.parametrize("row", ALL, ids=lambda row: f"{row.what}: {row.limit}"[:60])
def test_message_has_four_parts_in_one_sentence(row: Row) -> None:
    """What, value and limit come first, the remedy after the last semicolon; no full stop."""
    message = message_of(row)
    told, _, remedy = message.rpartition("; ")
    for part in (row.what, row.value, row.limit if row.limit not in remedy else row.what):
        assert part in told, message
    assert row.remedy in remedy, message
    assert not message.endswith(".")
    assert "\n" not in message
    assert message[0].islower() or message[0].isdigit()
    assert len(message) < 400


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"{row.what}: {row.limit}"[:60])
def test_error_repeats_its_parts_as_attributes(row: Row) -> None:
    """A program need not read the sentence: code, field, value and limit stand beside it."""
    caused = row.cause()
    assert isinstance(caused, ClientError)
    assert isinstance(caused, ValueError)
    assert caused.response == {"Error": {"Code": row.code, "Message": caused.message}}
    assert str(caused) == caused.message
    assert caused.field
    assert caused.limit
    assert caused.facts["field"] == caused.field
    assert caused.facts["limit"] == caused.limit
    assert len(caused.value or "") <= 80


@pytest.mark.parametrize(
    "row", [*REFUSALS, *CATALOG_REFUSALS], ids=lambda row: f"{row.code}: {row.limit}"[:60]
)
def test_refusal_has_its_code(row: Row) -> None:
    """A refusal is a value with a stable code, and names what it is about where that has a name."""
    caused = row.cause()
    assert isinstance(caused, Rejection)
    assert caused.code == row.code
    assert caused.name is not None or caused.code == "point_limit"
    assert all(type(fact) in (int, str) for fact in caused.facts.values())


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("param_limit", {"limit": 1}),
        ("param_immutable", {"is": "0.1"}),
        ("point_limit", {"limit": 1, "points": 2}),
        ("artifact_limit", {"limit": 1}),
        ("artifact_size", {"limit": 9}),
        ("tag_limit", {"limit": 50}),
        ("experiment_limit", {"limit": 0}),
    ],
)
def test_refusal_of_a_limit_carries_its_numbers(code: str, facts: dict[str, object]) -> None:
    """The limit that was in force is a fact beside the sentence."""
    (row,) = (row for row in [*REFUSALS, *CATALOG_REFUSALS] if row.code == code)
    caused = row.cause()
    assert isinstance(caused, Rejection)
    assert caused.facts == facts


def _codes_in(module: object) -> set[str]:
    """Return the codes that a module of rules gives to refusals."""
    source = inspect.getsource(module)  # type: ignore[arg-type]  # a module
    return {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("Rejection", "_refused")
        and isinstance(call.args[0], ast.Constant)
    }


def test_every_code_has_a_row_and_is_in_the_law() -> None:
    """The tables of the two laws, the code and this table name the same refusals."""
    for module, rows in ((rules, REFUSALS), (catalog_rules, CATALOG_REFUSALS)):
        codes = _codes_in(module) | _codes_in(illegal)
        assert {row.code for row in rows} == codes
        law = inspect.getdoc(module) or ""
        assert codes <= set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", law))


def _sentences(module: object) -> list[str]:
    """Return of each error's or refusal's text in a module its longest literal piece."""
    source = inspect.getsource(module)  # type: ignore[arg-type]  # a module
    pieces = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            texts = [str(one.value) for one in node.values if isinstance(one, ast.Constant)]
            longest = max(texts, key=len, default="")
            if " " in longest.strip():
                pieces.append(longest)
    return pieces


@pytest.mark.parametrize("module", MODULES)
def test_every_sentence_of_the_package_has_a_row(module: object) -> None:
    """No error is worded without a row that provokes it."""
    said = [message_of(row) for row in ALL]
    silent = [one for one in _sentences(module) if not any(one in text for text in said)]
    assert silent == []


def test_long_values_are_cut_to_eighty_characters() -> None:
    """A message never carries a megabyte."""
    for check in (names.check_experiment_name, names.check_metric_name, names.check_media_type):
        assert len(message_of(Row(error(check, "y" * 10**6), "", "", "", "", ""))) < 300
    huge = ParametersLogged({"p" * 10**6: "y" * 10**6})
    rejection = refusal(huge)()
    assert len(rejection.message) < 300
    assert len(rejection.name or "") <= 256
    assert len(rejection.value or "") <= 80

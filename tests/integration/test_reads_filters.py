"""Filters and orders on a real Postgres, beside a plain Python evaluation of the same.

The model shares no code with the search: it takes a condition as it was drawn, never its text.
"""

from __future__ import annotations

import asyncio
import json
import math
import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.integration.read_model_rows import ACCOUNT, START, RunRow, Series, open_rows
from trialog_schemas.errors import ValidationError
from trialog_server.read.search_runs import RunSearch, search_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog_server.postgres.pool import Pool

pytestmark = pytest.mark.postgres

Literal: TypeAlias = float | str | bool | None

EXAMPLES = 250

VALUES: tuple[object, ...] = (
    0.1, 1, 1.0, -2, 2**60 + 1, 1e-300, True, False, None, "0.1", "1", "true", "adam", "adamw",
    "Adam", "", "é", "a%", "a_b", "it's", 'say "hi"', [1, 2], {"a": 1}, "x' OR '1'='1",
)  # fmt: skip
PARAMETERS = ("lr", "opt", "a b", "it's", 'say "hi"', "tick`", "params.x", "ünï", "); drop table--")
SERIES = (
    (0.5, 0.9), (0.9, 0.5), (math.nan,), (math.nan, 1.0), (math.inf, -math.inf), (-math.inf,),
    (0.0,), (-0.0, 3.0, math.nan), (1e308, 1e308),
)  # fmt: skip
METRICS = ("loss", "loss.min", "val:acc", "odd name")
SUMMARIES = ("last", "min", "max", "mean", "count")
TAGS = ("team", "a'b", "x.y")
TAG_VALUES = ("red", "blue", "", "Red", "é")
STATUSES = (None, "InProgress", "Completed", "Failed")
TIMES = ("creation_time", "start_time", "end_time")

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
EQUAL_ONLY = ("=", "!=")
SPELLINGS = {"=": ("=", "=="), "!=": ("!=", "<>"), "like": ("like", "LIKE")}


def rows_of_all_kinds() -> list[RunRow]:
    """45 runs; each value, series, tag and status is of some, and none of any is of some."""
    found = []
    for number in range(45):
        parameters = {
            name: VALUES[(number * 7 + at * 5) % len(VALUES)]
            for at, name in enumerate(PARAMETERS)
            if (number + at) % 3
        }
        metrics = {
            name: Series(SERIES[(number + at * 2) % len(SERIES)])
            for at, name in enumerate(METRICS)
            if (number + at) % 4
        }
        tags = {name: TAG_VALUES[(number + at) % 5] for at, name in enumerate(TAGS) if number % 3}
        changed: dict[str, str | None] = {} if number % 2 else {"team": None, "x.y": "blue"}
        status = STATUSES[number % 4]
        found.append(
            RunRow(f"r{number * 17 % 45}", number // 3, status, parameters, metrics, tags,
                   {} if status is None else changed)
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Asked:
    """A condition or an order as it was drawn: what it looks at and with what it is compared."""

    source: str
    name: str
    field: str
    operator: str
    literal: Literal


def value_of(row: RunRow, asked: Asked) -> tuple[bool, object]:
    """Whether a run has what is asked for, and its value; a time as datetime."""
    created = START + timedelta(minutes=row.minute)
    has_state = row.status is not None
    if asked.source == "params":
        return asked.name in row.parameters, row.parameters.get(asked.name)
    if asked.source == "metrics":
        series = row.metrics.get(asked.name)
        summary = None if series is None else summary_of(list(series.values), asked.field)
        return summary is not None, summary
    if asked.source == "tags":
        tag = {**row.tags, **row.tags_set}.get(asked.name)
        return tag is not None, tag
    has_ended = row.status in {"Completed", "Failed"}
    fields: dict[str, object] = {
        "run_name": row.name,
        "status": row.status or "InProgress",
        "creation_time": created,
        "start_time": created + timedelta(seconds=1) if has_state else created,
        "end_time": created + timedelta(seconds=30) if has_ended else None,
    }
    return fields[asked.field] is not None, fields[asked.field]


def summary_of(values: list[float], field: str) -> float | None:
    """What a series comes to; NaN takes no part in min, max and mean."""
    numbers = [value for value in values if not math.isnan(value)]
    if field in {"last", "count"}:
        return values[-1] if field == "last" else float(len(values))
    if not numbers:
        return None
    return {"min": min(numbers), "max": max(numbers), "mean": sum(numbers) / len(numbers)}[field]


def meets(row: RunRow, asked: Asked) -> bool:
    """Whether a run meets a condition, worked out in plain Python."""
    has_it, value = value_of(row, asked)
    literal: object = asked.literal
    if not has_it:
        return False
    if isinstance(value, datetime):
        time = datetime.fromisoformat(str(literal))
        literal = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    elif kind_of(value) != kind_of(literal):
        return asked.operator == "!="
    if asked.operator == "like":
        pattern = "".join({"%": ".*", "_": "."}.get(one, re.escape(one)) for one in str(literal))
        return re.fullmatch(pattern, str(value), re.DOTALL) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Numbers are compared as floats, like those of JavaScript and of a metric.
        value, literal = float(value), float(str(literal))
        if math.isnan(literal):
            return math.isnan(value) == (asked.operator == "=")
    return bool(COMPARE[asked.operator](value, literal))


def kind_of(value: object) -> str:
    """Truths, numbers and texts are never equal to each other."""
    if isinstance(value, bool) or value is None:
        return repr(value) if value is None else "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def sorted_names(rows: list[RunRow], order: Asked | None, *, is_descending: bool) -> list[str]:
    """Names in an order: numbers, texts, NaN, nothing; equal ones as they were created."""
    groups: list[list[tuple[object, int, str]]] = [[], [], [], []]
    for number, row in enumerate(rows):
        asked = order or Asked("run", "", "creation_time", "", None)
        has_it, value = value_of(row, asked)
        key: object = value
        if not has_it:
            rank, key = 3, 0
        elif isinstance(value, datetime):
            rank = 0
        elif kind_of(value) == "number":
            key = float(value)  # type: ignore[arg-type]
            rank, key = (2, 0) if math.isnan(key) else (0, key)
        else:
            is_text = isinstance(value, str)
            rank, key = 1, value if is_text else json.dumps(value, separators=(",", ":"))
        groups[rank].append((key, number, row.name))
    return [name for group in groups for _, _, name in sorted(group, reverse=is_descending)]


def quoted(text: str, quote: str) -> str:
    """A text in quotes, as a filter has it."""
    return quote + text.replace(quote, quote * 2) + quote


@st.composite
def fields(draw: st.DrawFn) -> tuple[Asked, str]:
    """What can be looked at, and how it is written."""
    source = draw(st.sampled_from(("params", "metrics", "tags", "run")))
    if source == "run":
        field = draw(st.sampled_from(("run_name", "status", *TIMES)))
        return Asked("run", "", field, "", None), field
    names = {"params": PARAMETERS, "metrics": METRICS, "tags": TAGS}[source]
    name = draw(st.sampled_from((*names, "missing")))
    field = draw(st.sampled_from(SUMMARIES)) if source == "metrics" else ""
    is_plain = re.fullmatch(r"[^\s=<>!'\"`(),;]+", name) and not name.endswith(".min")
    written = name if is_plain and draw(st.booleans()) else quoted(name, draw(quotes))
    if field and (field != "last" or draw(st.booleans())):
        written += f".{field}"
    return Asked(source, name, field, "", None), f"{source}.{written}"


quotes = st.sampled_from("'\"`")
numbers = st.sampled_from(
    (0.1, 1, 1.0, -2, 2, 0, -0.0, 0.5, 0.7, 0.9, 1e308, 5e-324, 2**60 + 1,
     math.inf, -math.inf, math.nan)
)  # fmt: skip
texts = st.sampled_from(
    [value for value in VALUES if isinstance(value, str)]
    + ["%", "_", "a%", "%d%", "é_", "\\", "r1%"]
)  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn) -> tuple[Asked, str]:
    """A condition and its text."""
    asked, written = draw(fields())
    literal: Literal
    operators: tuple[str, ...] = tuple(COMPARE)
    if asked.field in TIMES:
        seconds = draw(st.sampled_from((0, 1, 30, 60, 120, 121, 150, 600, 1e-6)))
        time = START + timedelta(seconds=seconds)
        literal = draw(
            st.sampled_from((time.isoformat(), time.replace(tzinfo=None).isoformat(), "2026-01-02"))
        )
    elif asked.field == "status":
        literal, operators = (
            draw(st.sampled_from(("Completed", "Failed", "InProgress"))),
            EQUAL_ONLY,
        )
    elif asked.source == "metrics":
        literal = draw(numbers)
    elif asked.source == "params":
        literal = draw(st.one_of(numbers, texts, st.sampled_from((True, False, None))))
    else:
        literal = draw(st.one_of(texts, st.sampled_from(TAG_VALUES)))
    if isinstance(literal, bool) or literal is None:
        operators, shown = EQUAL_ONLY, {True: "true", False: "FALSE", None: "null"}[literal]
    elif isinstance(literal, str):
        if asked.field not in (*TIMES, "status"):
            operators = (*operators, "like")
        shown = quoted(literal, draw(quotes))
    else:
        operators, shown = EQUAL_ONLY if math.isnan(literal) else operators, repr(literal)
    chosen = draw(st.sampled_from(operators))
    blank = draw(st.sampled_from((" ", "  ", "\n")))
    spelled = draw(st.sampled_from(SPELLINGS.get(chosen, (chosen,))))
    made = Asked(asked.source, asked.name, asked.field, chosen, literal)
    return made, f"{written}{blank}{spelled}{blank}{shown}"


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[Asked], str, Asked | None, bool, str | None]:
    """Conditions with their text, an order with its direction and its text."""
    made = draw(st.lists(conditions(), max_size=3))
    text = draw(st.sampled_from((" and ", " AND\t"))).join(written for _, written in made)
    asked, order_by, is_descending = None, None, True
    if draw(st.booleans()):
        asked, order_by = draw(fields())
        is_descending = draw(st.booleans())
        order_by += " desc" if is_descending else draw(st.sampled_from(("", " ASC")))
    return [one for one, _ in made], text, asked, is_descending, order_by


# F9
def test_search_finds_what_plain_python_finds_in_its_order(postgres_url: str) -> None:
    """For filters and orders of every kind, page by page; and the total is how many they are."""
    rows = rows_of_all_kinds()
    with asyncio.Runner() as runner:
        opened = open_rows(postgres_url)
        pool, writer = runner.run(opened.__aenter__())
        experiment = runner.run(writer.experiment("e"))
        for row in rows:
            runner.run(writer.run(experiment, row))

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(searches(), st.sampled_from((100, 100, 7)))
        def agree(
            search: tuple[list[Asked], str, Asked | None, bool, str | None], size: int
        ) -> None:
            made, text, order, is_descending, order_by = search
            wanted = [row for row in rows if all(meets(row, one) for one in made)]
            event(f"{min(len(wanted), 2)} or more found")
            found = runner.run(every_page(pool, (text, order_by), size))
            assert found == (sorted_names(wanted, order, is_descending=is_descending), len(wanted))

        agree()
        runner.run(opened.__aexit__(None, None, None))


async def every_page(
    pool: Pool, question: tuple[str, str | None], size: int
) -> tuple[list[str], int]:
    """All names that a search gives, page by page, and the total."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = await search_runs(pool, ACCOUNT, "e", RunSearch(*question, size, token))
        found += [run.run_name for run in page.runs]
        token = page.next_token
        if token is None:
            return found, page.total


ATTACKS = (
    "'; DROP TABLE live.runs; --", "' OR '1'='1", "\\' OR 1=1 --", "$1", "%s", "{0}", "a'||'b",
    "'::text", "E'\\x41'", "/* */", "\u2019 OR 1=1", "1; SELECT pg_sleep(9)",
)  # fmt: skip


# F9
async def test_search_takes_no_text_for_a_statement(postgres_url: str) -> None:
    """In quotes anything is a text or a name and finds what has it; without, it is refused."""
    async with open_rows(postgres_url) as (pool, writer):
        experiment = await writer.experiment("e")
        for attack in ATTACKS:
            await writer.run(
                experiment,
                RunRow(attack, 0, "Completed", {attack: attack}, {attack: Series([1.0])},
                       tags={attack: attack}),
            )  # fmt: skip
        for attack in ATTACKS:
            name = quoted(attack, "`")
            text = quoted(attack, "'")
            for written in (
                f"params.{name} = {text}", f"metrics.{name}.min = 1", f"tags.{name} = {text}",
                f"run_name = {text}",
            ):  # fmt: skip
                assert await every_page(pool, (written, f"params.{name}"), 100) == ([attack], 1)
            with pytest.raises(ValidationError, match="cannot be read at"):
                await search_runs(pool, ACCOUNT, "e", RunSearch(f"params.lr = 1 {attack}"))
            with pytest.raises(ValidationError, match="cannot be read at"):
                await search_runs(pool, ACCOUNT, "e", RunSearch(None, f"params.lr desc {attack}"))
        assert await pool.fetchval("SELECT count(*) FROM gen_1.runs") == len(ATTACKS)

"""What the service's processes are told: defaults that are safe, and mistakes that are named."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trialog_schemas.errors import ValidationError
from trialog_schemas.limits import Limits
from trialog_server.postgres.address import shown_address
from trialog_server.postgres.pool import PoolSettings
from trialog_server.project.settings import ProjectionSettings
from trialog_server.settings import ServerSettings, parse_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path("/nowhere")


def settings(**given: object) -> ServerSettings:
    """Settings with only what matters to a test."""
    return ServerSettings(data_dir=FOLDER, **given)  # type: ignore[arg-type]


def test_default_is_bound_to_this_machine_only() -> None:
    """Nobody else reaches a service that was started without a thought."""
    assert settings().host == "127.0.0.1"
    assert settings().api_key is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """Every address of this machine alone may be bound without a key."""
    assert settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "lab.example", "", "localhost.evil"])
def test_other_address_needs_a_key(host: str) -> None:
    """An address that others reach is refused without a key, and taken with one."""
    with pytest.raises(ValidationError) as caught:
        settings(host=host)
    assert (caught.value.field, caught.value.limit) == ("host", "an API key")
    assert "TRIALOG_API_KEY" in caught.value.message
    assert settings(host=host, api_key="k").host == host


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"postgres": "mysql://h/d"}, "postgres"),
        ({"postgres": "h:5432"}, "postgres"),
        ({"kafka": "h"}, "kafka"),
        ({"kafka": "h:"}, "kafka"),
        ({"kafka": ":9092"}, "kafka"),
        ({"kafka": "h:0"}, "kafka"),
        ({"kafka": "h:65536"}, "kafka"),
        ({"kafka": "h:9092,"}, "kafka"),
        ({"kafka": "h:9092;i:9092x"}, "kafka"),
    ],
)
def test_wrong_address_is_refused_before_anything_starts(
    given: Mapping[str, str], field: str
) -> None:
    """The field is named, and what a right address looks like."""
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    assert caught.value.field == field


@pytest.mark.parametrize("odd", ['"', "$", "`", "\n", "\x7f", "\udcff", "\\\\"])
def test_data_folder_that_postgres_cannot_be_started_with_is_refused(odd: str) -> None:
    """Its start is a line of the shell; a Postgres elsewhere does not mind."""
    folder = FOLDER / f"a{odd}b"
    with pytest.raises(
        ValidationError, match=r"data folder '.*give another with --data-dir"
    ) as one:
        ServerSettings(data_dir=folder)
    assert one.value.field == "data_dir"
    assert ServerSettings(data_dir=folder, postgres="postgresql://u@h/d").data_dir == folder
    assert ServerSettings(data_dir=FOLDER / "a 'b', ü (c)").postgres is None


# B23
def test_time_until_a_silent_run_is_stale_is_above_nothing() -> None:
    """An hour unless it is said; any time above 0 that a date can go back, and no number else."""
    assert settings().stale_after_s == 3600
    assert settings(stale_after_s=0.001).stale_after_s == 0.001
    assert settings(stale_after_s=3e9).stale_after_s == 3e9
    for wrong in (0, -1, 3.1e9, math.inf, math.nan):
        with pytest.raises(ValidationError, match="allowed are numbers above 0") as caught:
            settings(stale_after_s=wrong)
        assert caught.value.field == "stale_after_s"


@pytest.mark.parametrize(
    "given",
    [
        {"postgres": "postgresql://u:p@h/d"},
        {"postgres": "postgres:///d?host=/run"},
        {"kafka": "h:9092"},
        {"kafka": "h:9092, [::1]:9093"},
    ],
)
def test_right_address_is_taken(given: Mapping[str, str]) -> None:
    """All forms that the drivers know are let through."""
    taken = settings(**given)

    assert {name: getattr(taken, name) for name in given} == given


@pytest.mark.parametrize("key", ["a\nb", "a\x00", "schl\u00fcssel\u20ac"])
def test_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    """A service with it would serve nobody; the message does not repeat it."""
    with pytest.raises(ValidationError) as caught:
        settings(api_key=key)
    assert caught.value.field == "api_key"
    assert key not in f"{caught.value.message} {caught.value.value}"


def test_wrong_postgres_address_keeps_its_password() -> None:
    """An address may hold a password: no message repeats it."""
    with pytest.raises(ValidationError) as caught:
        settings(postgres="mysql://u:s3cret@h/d")
    assert "s3cret" not in f"{caught.value.message} {caught.value.value}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/d", "h:5432/d"),
        ("postgresql://u:s3@cret@h/d", "h/d"),
        ("postgresql://u@/d?host=/run/pg", "/run/pg/d"),
        ("postgresql:///d", "this machine/d"),
    ],
)
def test_address_is_shown_without_its_password(address: str, shown: str) -> None:
    """Messages say where, never as whom or by which secret."""
    assert shown_address(address) == shown


def test_artifacts_lie_in_the_data_folder_unless_said_otherwise() -> None:
    """The default store is a folder beside the rest of the data."""
    assert settings().artifacts_url == "file:///nowhere/artifacts"
    assert settings(artifacts="s3://bucket/p").artifacts_url == "s3://bucket/p"


def test_limits_that_are_told_change_the_defaults_and_leave_the_rest() -> None:
    """Each is NAME=NUMBER; blanks around them, as in a list of the environment, do not matter."""
    assert parse_limits([]) == Limits()
    told = parse_limits(["parameters_max=500", " points_max = 1000000 ", "artifacts_max=0"])
    assert told == Limits(parameters_max=500, points_max=1_000_000, artifacts_max=0)
    assert parse_limits(["experiments_max=9223372036854775807"]).experiments_max == 2**63 - 1
    assert parse_limits(["parameter_value_chars_max=65536"]).parameter_value_chars_max == 65_536


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["point_max=5"], "there is no limit 'point_max'; write one of experiments_max, "),
        (["point_max=5"], "did you mean 'points_max'?"),
        (["tags_max=5"], "there is no limit 'tags_max'"),
        (["=5"], "there is no limit ''"),
        ([""], "limit '' is not of the form NAME=NUMBER"),
        (["points_max"], "limit 'points_max' is not of the form NAME=NUMBER"),
        (["points_max=1", "points_max=2"], "limit points_max is given twice; give it once"),
        (["points_max=-1"], "limit points_max is '-1', which is no whole number from 0"),
        (["points_max="], "limit points_max is '', which is no whole number from 0"),
        (["points_max=1.5"], "limit points_max is '1.5', which is no whole number"),
        (["points_max=1e6"], "limit points_max is '1e6', which is no whole number"),
        (["points_max=1_000"], "limit points_max is '1_000', which is no whole number"),
        (["points_max=٣"], "limit points_max is '٣', which is no whole number"),
        (["points_max=1=2"], "limit points_max is '1=2', which is no whole number"),
        (["points_max=9223372036854775808"], "limit points_max is 9223372036854775808"),
        (["points_max=" + "9" * 5000], "9…, which is no whole number"),
        (["parameter_value_chars_max=65537"], "is 65537, allowed are 0 to 65536"),
    ],
)
def test_limit_that_is_none_is_refused_with_the_remedy(told: list[str], says: str) -> None:
    """What was told, what may be told, and a hint at a near miss, all in one error."""
    with pytest.raises(ValidationError) as caught:
        parse_limits(told)
    assert says in caught.value.message
    assert caught.value.field
    assert caught.value.limit


def test_store_takes_artifacts_of_runs_under_the_defaults_too() -> None:
    """A lower policy binds new runs; one that was recorded without a service has the defaults."""
    assert settings().artifact_bytes_max == 5_242_880
    assert settings(limits=Limits(artifact_bytes_max=1)).artifact_bytes_max == 5_242_880
    assert settings(limits=Limits(artifact_bytes_max=10**7)).artifact_bytes_max == 10**7


@pytest.mark.parametrize("renew_s", [0.0, -1.0, 1.6, 3.0])
def test_projection_must_renew_twice_within_a_lease(renew_s: float) -> None:
    """One lost renewal must not cost the partition: the times are checked against each other."""
    with pytest.raises(ValueError, match="renew_s"):
        ProjectionSettings(lease_s=3.0, renew_s=renew_s)


def test_projection_looks_into_its_own_generation_first() -> None:
    """A worker writes the tables of its generation, never through the views."""
    chosen = ProjectionSettings(generation=2, schema_name="gen_2")
    assert chosen.search_path == "gen_2, trialog"


def test_pool_gives_the_server_times_in_milliseconds() -> None:
    """Every session has bounds, so that no statement and no transaction lasts for good."""
    told = PoolSettings(statement_timeout_s=1.5, idle_in_transaction_s=2.0).server_settings()

    assert told["statement_timeout"] == "1500"
    assert told["idle_in_transaction_session_timeout"] == "2000"
    assert told["tcp_keepalives_idle"] == "30"


def test_pool_waits_for_the_disk_as_the_server_is_told_unless_its_rows_can_be_made_again() -> None:
    """A setting of the operator's, such as for a standby, is left alone."""
    assert "synchronous_commit" not in PoolSettings().server_settings()
    told = PoolSettings(waits_for_disk=False).server_settings()
    assert told["synchronous_commit"] == "off"


_NOBODY = """
import os, trialog_server.settings, trialog
os.setuid(54321)
try:
    trialog_server.settings.default_data_dir()
except trialog.ValidationError as error:
    print(error.field, error.message)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_user_without_a_home_folder_is_told_to_give_a_data_folder() -> None:
    """A container's user may have neither HOME nor a name: the default folder is nowhere then."""
    unset = {"HOME", "XDG_DATA_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    printed = subprocess.check_output([sys.executable, "-c", _NOBODY], env=environment, text=True)
    assert printed.startswith("data_dir the default data folder is in a home folder")
    assert "--data-dir or TRIALOG_DATA_DIR" in printed

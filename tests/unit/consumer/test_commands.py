"""The commands of the service up to the point where something starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from trialog_schemas.errors import UnavailableError
from trialog_server.__main__ import service
from trialog_server.commands import hold_data_dir, plain_errors, say, say_ready

if TYPE_CHECKING:
    from click.testing import Result

BROKER, DATABASE = "127.0.0.1:1", "postgresql://u:s3cret@127.0.0.1:1/d"


def call(*arguments: str, **environment: str) -> Result:
    """Call a command as a shell does, with only these variables of ours."""
    return CliRunner(env=environment).invoke(service, arguments)


# L3
@pytest.mark.parametrize("name", ["up", "api", "worker", "archive", "restore"])
def test_command_explains_itself(name: str) -> None:
    """Each has help, and each option of it says what it is for."""
    result = call(name, "--help")
    command = service.commands[name]

    assert result.exit_code == 0
    assert (command.help or "").splitlines()[0].endswith(".")
    for parameter in command.params:
        assert isinstance(parameter, click.Option)
        assert parameter.hidden or parameter.help, parameter.name


# L2
@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["api"], "--postgres or TRIALOG_POSTGRES"),
        (["api", "--postgres", DATABASE], "--kafka or TRIALOG_KAFKA"),
        (["api", "--kafka", BROKER], "--postgres or TRIALOG_POSTGRES"),
        (["worker"], "--postgres or TRIALOG_POSTGRES"),
        (["worker", "--postgres", DATABASE], "--kafka or TRIALOG_KAFKA"),
        (["worker", "--postgres", "", "--kafka", BROKER], "--postgres or TRIALOG_POSTGRES"),
    ],
)
def test_command_on_addresses_names_the_one_that_is_missing(
    arguments: list[str], missing: str
) -> None:
    """What has nothing embedded says which address it needs, by flag and by variable."""
    result = call(*arguments)

    assert result.exit_code == 2
    assert missing in result.output
    assert "`trialog up`" in result.output
    assert "s3cret" not in result.output


@pytest.mark.parametrize("command", ["up", "api"])
def test_limit_of_the_environment_is_refused_like_one_of_a_flag(command: str) -> None:
    """Commas are between several; a flag takes the place of the whole variable."""
    addresses = ["--kafka", BROKER, "--postgres", DATABASE]
    flag = call(command, *addresses, "--limit", "artifacts_max=5", "--limit", "point_max=1")
    variable = call(command, *addresses, TRIALOG_LIMITS="artifacts_max=5, point_max=1")
    both = call(command, *addresses, "--limit", "later=1", TRIALOG_LIMITS="point_max=1")

    assert (flag.exit_code, variable.exit_code) == (1, 1)
    assert flag.output == variable.output
    assert "there is no limit 'point_max'" in flag.output
    assert "did you mean 'points_max'?" in flag.output
    assert "there is no limit 'later'" in both.output
    assert "point_max'" not in both.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "65536"),
        (["--port", "-1"], "-1"),
        (["--port", "http"], "http"),
        (["--events-partitions", "0"], "0"),
        (["--events-partitions", "1025"], "1025"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_command_with_a_wrong_flag_is_refused_with_it(arguments: list[str], says: str) -> None:
    """A number out of its range is a usage error, before anything starts."""
    result = call("up", *arguments)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "TRIALOG_API_KEY"),
        (["--kafka", "nowhere"], "HOST:PORT"),
        (["--postgres", "mysql://u:s3cret@h/d"], "postgresql://"),
    ],
)
def test_command_with_settings_that_cannot_work_is_one_line(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    """What the settings refuse is one line and status 1, without a trace or a password."""
    result = call("up", "--data-dir", str(tmp_path / "new"), *arguments)

    assert result.exit_code == 1
    assert says in result.output
    assert result.output.count("\n") == 1
    assert "s3cret" not in result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["up", "rebuild", "verify"])
def test_data_folder_without_a_name_is_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--data-dir "$UNSET"` must put no database into the current folder."""
    monkeypatch.chdir(tmp_path)
    for blank in ("", " "):
        result = call(command, "--data-dir", blank)
        assert result.exit_code == 2
        assert "'--data-dir'" in result.output
        assert f"{blank!r} is no folder; give one" in result.output
    assert call(command, TRIALOG_DATA_DIR=" ").exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["archive"], "'--to'"),
        (["restore"], "'--from'"),
        (["archive", "--to", "a", "--segment-records", "0"], "1<=x<=1000000"),
        (["verify", "--archive-alone"], "--archive-alone takes an --archive"),
        (["verify", "--archive", "a", "--archive-alone", "--checkpoint", "c"], "no --checkpoint"),
        (["verify", "--public-key", "k"], "a --checkpoint or an --archive"),
    ],
)
def test_command_of_an_archive_says_what_it_lacks(arguments: list[str], says: str) -> None:
    """What cannot be meant is refused before anything is opened, and nothing is made."""
    result = call(*arguments)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["prove", "ab" * 16, "--output", "p"], 2, "'--checkpoint'"),
        (["prove", "ab", "--checkpoint", "c", "--output", "p"], 1, "'ab' is not 32 hex digits"),
        (["prove", "ab" * 16, "--checkpoint", "c", "--output", "p"], 1, "c: No such file"),
        (["verify-proof", "p"], 2, "'--public-key'"),
        (["verify-proof", "p", "--public-key", "k"], 3, "k: No such file"),
    ],
)
def test_command_of_a_proof_says_what_it_lacks(
    arguments: list[str], status: int, says: str
) -> None:
    """Before a service is looked for; a file that cannot be read is no proof that is wrong."""
    result = call(*arguments)
    assert result.exit_code == status
    assert says in result.output


def test_rebuild_goes_one_way() -> None:
    """Two ways at once are refused in either order; none of them is chosen silently."""
    for pair in (("--back", "--anew"), ("--anew", "--back")):
        result = call("rebuild", *pair)
        assert result.exit_code == 2
        assert "--anew builds tables and --back returns" in result.output


def test_verify_that_cannot_be_done_is_no_difference(tmp_path: Path) -> None:
    """A nightly job tells a service that is away, or a wrong file, from what was tampered with."""
    (tmp_path / "no.json").write_text("{}")
    for given in ((), ("--checkpoint", str(tmp_path / "no.json"))):
        result = call("verify", "--data-dir", str(tmp_path / "none"), *given)
        assert result.exit_code == 3
        assert "Traceback" not in result.output
    assert call("verify", "--public-key", "key.pub").exit_code == 2
    assert "1 that something differs" in " ".join(call("verify", "--help").output.split())


# L1
def test_data_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A second service on a folder is refused; afterwards the folder is free again."""
    folder = tmp_path / "deep" / "data"
    with hold_data_dir(folder):
        with pytest.raises(click.ClickException, match="already serves") as caught:
            call_holder(folder)
        assert str(folder) in caught.value.message
    call_holder(folder)


def call_holder(folder: Path) -> None:
    """Hold the folder in another process, as a second service does."""
    program = (
        "import sys, pathlib, click\n"
        "from trialog_server.commands import hold_data_dir\n"
        "try:\n"
        "    hold_data_dir(pathlib.Path(sys.argv[1])).__enter__()\n"
        "except click.ClickException as exc:\n"
        "    sys.exit(exc.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr)


def test_data_folder_below_a_file_names_the_flag(tmp_path: Path) -> None:
    """A path that can be no folder is one sentence with the remedy."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(click.ClickException, match="--data-dir"),
        hold_data_dir(tmp_path / "file" / "data"),
    ):
        pass


def test_data_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    """A start that failed leaves the folder to the next one."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold_data_dir(tmp_path):
            raise ZeroDivisionError


def test_plain_errors_keep_the_sentence_and_nothing_else() -> None:
    """What is raised on purpose becomes a line; a defect keeps its trace."""
    with pytest.raises(click.ClickException, match=r"^the log is away$"), plain_errors():
        raise UnavailableError("the log is away")
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError


def test_interrupt_before_the_start_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A Ctrl-C in the first second, while programs are loaded, has the status of any other."""
    with pytest.raises(click.exceptions.Exit) as caught, plain_errors():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "trialog: interrupted\n"


def test_ready_line_is_for_programs_and_the_rest_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scripts wait for one line on standard output; everything else goes to standard error."""
    say("starting the service")
    say_ready("http://127.0.0.1:7788")

    out, err = capsys.readouterr()
    assert out == "trialog ready at http://127.0.0.1:7788\n"
    assert err == "trialog: starting the service\n"

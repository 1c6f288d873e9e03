"""The usual programs for SageMaker's SDK, run with other import lines and nothing else changed.

They stand in `ported/` as they are written for that SDK, which nobody needs here. What calls that
train on SageMaker's machines become is said below; the page of ported code tells the same.
"""

from __future__ import annotations

import difflib
import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.forked_programs import run_queues

if TYPE_CHECKING:
    from tests.services.trialog import TrialogService
    from trialog.run_view import RunView

PORTED = Path(__file__).parent / "ported"

# The rule for import lines, as the page of ported code gives it.
_IMPORTS = (
    (
        re.compile(r"^from (?:sagemaker[a-z_.]*|botocore\.exceptions) import "),
        "from trialog import ",
    ),
    (re.compile(r"^import sagemaker$"), "import trialog as sagemaker"),
)

# Calls that train, and what imports them; the right side may import and call what it likes.
_TRAINING = {
    "from sagemaker.processing import ScriptProcessor": "import os",
    "from sagemaker.sklearn import SKLearn": "import subprocess",
    '        ScriptProcessor(command=["python3"]).run("prepare", '
    "experiment_config=run.experiment_config)": "        step = [sys.executable, __file__, "
    '"--step"]\n        given = {**os.environ, **config.environment}\n'
    '        subprocess.run([*step, "prepare"], env=given, check=True)',
    '        SKLearn(entry_point="train").fit(experiment_config=run.experiment_config)': "        "
    'subprocess.run([*step, "train"], env=given, check=True)',
}


def ported(line: str) -> str:
    """A line of a program as it is for trialog."""
    if line in _TRAINING:
        return _TRAINING[line]
    for pattern, new in _IMPORTS:
        line = pattern.sub(new, line)
    return line


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    """Every program for trialog, by its name."""
    return {
        path.stem: "\n".join(map(ported, path.read_text("utf-8").splitlines())) + "\n"
        for path in sorted(PORTED.glob("*.py"))
    }


@pytest.fixture(scope="module")
def done(
    service: TrialogService, programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, dict[str, RunView]]]:
    """What every program said, and its runs by name, all of them Completed."""
    folder = tmp_path_factory.mktemp("ported")
    session = trialog.Session(service.url, service.kafka, spool_dir=folder / "spool")
    experiments = {name: f"{name}-{uuid.uuid4().hex[:12]}" for name in programs}
    for name, text in programs.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    queues = [[[str(folder / f"{name}.py"), experiments[name]]] for name in programs]
    said = run_queues(session, folder / "said", queues)
    found = {}
    for (name, experiment_name), texts in zip(experiments.items(), said, strict=True):
        runs = trialog.list_runs(experiment_name, session=session)
        for run in runs:
            run.wait(30)
            assert (run.status, list(run.rejections)) == ("Completed", [])
        found[name] = (texts[0], {run.run_name: run for run in runs})
    return found


trains = pytest.mark.slow(reason="trains the programs of this file")


def test_ported_programs_differ_in_nothing_but_imports_and_what_trains(
    programs: dict[str, str],
) -> None:
    """The two patterns of the page reach every import of SageMaker's SDK, and nothing else."""
    assert programs
    for name, text in programs.items():
        original = (PORTED / f"{name}.py").read_text(encoding="utf-8")
        compared = difflib.ndiff(original.splitlines(), text.splitlines())
        changed = [line[2:] for line in compared if line.startswith("- ")]
        assert changed
        for line in changed:
            assert line in _TRAINING or re.match(r"(from|import) (sagemaker|botocore)", line), line
        assert not re.search(r"^(from|import) (sagemaker|botocore)", text, re.MULTILINE)
    page = (PORTED.parents[2] / "producer" / "examples" / "porting.md").read_text("utf-8")
    for pattern, new in _IMPORTS:
        assert f"s/{pattern.pattern.replace('(?:', '(')}/{new}/" in page


# A1 B1
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_training_loop_logs_epochs_and_plots(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """Its two runs, in the order that the program lists them."""
    said, runs = done["training_loop"]
    assert [line.split()[0] for line in said.splitlines()] == ["sgd-0-0001", "sgd-0-1"]
    assert len(runs) == 2
    for run in runs.values():
        assert (run.parameters["epochs"], run.parameters["model"]) == (5, "SGDClassifier")
        assert run.metric_series("test:accuracy")["step"] == [0, 1, 2, 3, 4]
        assert run.metrics["test:accuracy"].last > 0.9
        names = {one.name for one in run.artifacts}
        plots = {"ConfusionMatrix/confusion", "ROCCurve/roc", "PrecisionRecallCurve/pr"}
        assert names == {"coefficients"} | plots
        assert len(json.loads(run.read_artifact("coefficients"))[0]) == 30
        assert run.tags == {"team": "pathology"}


# G6
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_search_finds_its_best_trial(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """Five trials; the best one that the program kept is the best one of the runs."""
    said, runs = done["tuner"]
    best = max(runs.values(), key=lambda run: run.metrics["objective"].last)
    assert said == f"5 {best.run_name}\n"
    assert sorted(runs) == [f"trial-{number}" for number in range(5)]
    for run in runs.values():
        assert run.parameters.keys() == {"C", "gamma"}
        assert run.metrics["fold:accuracy"].count == 5


# G5
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_ensemble_goes_on_with_its_run_at_the_end(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """What SageMaker does without nesting works as well: load_run, inside a block and after it."""
    _, runs = done["ensemble"]
    assert sorted(runs) == ["child-0", "child-1", "child-2", "parent"]
    assert runs["parent"].parameters == {"members": 3, "kind": "bagging", "votes": "majority"}
    assert runs["parent"].metrics["accuracy"].last > 0.8
    assert [runs[f"child-{i}"].parameters["parent"] for i in range(3)] == ["parent"] * 3


# G7
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_artifacts_have_their_direction_and_type(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """Files are copied; an address that was given as a value is a text, and comes back as it is."""
    _, runs = done["artifacts"]
    run = runs["artifacts"]
    assert {one.name: (one.media_type, one.is_output) for one in run.artifacts} == {
        "data": ("text/csv", False),
        "irises.png": ("image/png", True),
        "model": ("application/octet-stream", True),
        "model_uri": ("text/plain", True),
        "settings.json": ("application/json", True),
        "source": ("text/csv", False),
    }
    assert run.read_artifact("source") == b"s3://bucket/iris.csv"
    assert run.read_artifact("irises.png").startswith(b"\x89PNG")
    assert run.read_artifact("data").count(b"\n") == 150


# G8
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_runs_of_one_seed_are_the_same(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """Runs without a name have different ones, and nothing else is different."""
    said, runs = done["reproducible"]
    one, again = (runs[name] for name in said.split())
    assert one.parameters == again.parameters
    assert one.metric_series("accuracy")["value"] == again.metric_series("accuracy")["value"]


# G3
@ON_ONE_LOG
@trains
@pytest.mark.timeout(180)
def test_ported_pipeline_has_the_steps_jobs_in_its_run(
    done: dict[str, tuple[str, dict[str, RunView]]],
) -> None:
    """The calls that train start processes; those find the run without names, as jobs do."""
    _, runs = done["pipeline"]
    assert runs["execution-1"].parameters == {"execution": "execution-1", "points": 100}
    losses = runs["execution-1"].metric_series("loss")["value"]
    assert losses[0] > 0.5
    assert max(losses[1:]) < 0.02

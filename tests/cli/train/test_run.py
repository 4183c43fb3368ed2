"""What is left of a training that is killed, or whose reader goes away, and what mends it."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnlib import cli
from nnlib.train.checkpoint import load_state

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and streams as POSIX has them")

EPOCHS = 3
ARGUMENTS = (
    *("train", "mlp", "--epochs", str(EPOCHS), "--batch-size", "500"),
    *("--schedule", "constant", "--seed", "3"),
)
FILES = {
    *("checkpoint.safetensors", "history.csv", "history.json", "options.json"),
    "weights.safetensors",
}

# Dies of itself when a file of that name would be replaced for the n-th time.
DIES = """
import os, sys
from nnlib.cli import main
name, times = sys.argv[1], int(sys.argv[2])
replace, count = os.replace, 0
def replace_or_die(old, new):
    global count
    count += os.path.basename(new) == name
    if count == times:
        os.kill(os.getpid(), 9)
    replace(old, new)
os.replace = replace_or_die
main(sys.argv[3:])
"""


def run(out, *more):
    result = CliRunner().invoke(cli.main, [*ARGUMENTS, "--out", str(out), *more])
    assert result.exit_code == 0, result.output
    return result


def outcome(out):
    """What must be the same however often the run was interrupted: all but the clock."""
    assert {path.name for path in out.iterdir()} == FILES
    history = json.loads((out / "history.json").read_text())
    for epoch in history["epochs"]:
        del epoch["seconds"], epoch["val_seconds"]
    csv = (out / "history.csv").read_text().splitlines()
    return (out / "weights.safetensors").read_bytes(), history["epochs"], len(csv)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outcome of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return outcome(out)


def finish(out):
    """Do what a user does after a crash; return how many epochs were not lost."""
    known = (out / "options.json").exists()
    checkpoint = out / "checkpoint.safetensors"
    done = load_state(checkpoint)["epoch"] if checkpoint.exists() else 0
    for name in ("history.csv", "history.json", "options.json"):
        assert not (out / name).exists() or (out / name).stat().st_size
    result = run(out, *(["--resume"] if known else []))
    assert (f"continuing after epoch {done}" in result.stderr) == (done > 0)
    return done


@pytest.mark.parametrize(
    ("name", "times", "done"),
    [
        ("checkpoint.safetensors", 1, 0),  # nothing saved yet: --resume begins anew
        ("checkpoint.safetensors", 2, 1),
        ("weights.safetensors", 1, EPOCHS),  # only the results are missing
    ],
)
def test_killed_while_it_saves(tmp_path, whole, name, times, done):
    out = tmp_path / "run"
    command = [sys.executable, "-c", DIES, name, str(times), *ARGUMENTS, "--out", str(out)]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in out.iterdir() if path.name.startswith(".nnlib-")]
    assert finish(out) == done
    assert outcome(out) == whole


def test_resuming_a_finished_run_gives_its_results_again(tmp_path, whole):
    run(tmp_path / "run")
    result = run(tmp_path / "run", "--resume", "--json")
    assert json.loads(result.stdout)["epochs"] == EPOCHS
    assert outcome(tmp_path / "run") == whole


@pytest.mark.slow
def test_killed_at_random_fifty_times(tmp_path, whole):
    rng = random.Random(0)
    command = [sys.executable, "-m", "nnlib", *ARGUMENTS, "--out"]
    begin = time.monotonic()
    subprocess.run([*command, tmp_path / "first"], capture_output=True, check=True)
    usual = time.monotonic() - begin
    lost = []
    for number in range(50):
        out = tmp_path / str(number)
        out.mkdir()
        with subprocess.Popen(
            [*command, out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            # half of them in the last second, the others at any time
            moment = usual - rng.random() if number % 2 else usual * rng.random()
            time.sleep(max(0.0, moment))
            process.kill()
            said = process.stderr.read().count("\nepoch ")
        done = finish(out)
        # a line is printed just before the checkpoint of its epoch
        assert done >= said - 1
        assert outcome(out) == whole
        lost.append(EPOCHS - done)
    assert min(lost) < EPOCHS  # or all were killed before they had begun


# Names and readers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a{epoch}", "}{0", "%s ünd"])
def test_names_of_folders_are_names(tmp_path, name):
    run(tmp_path / name)
    assert {path.name for path in (tmp_path / name).iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "code"), [("x" * 300, 1), ("file/run", 1), ("file", 2), ("a\0b", 2), ("fifo/x", 1)]
)
@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_folders_that_cannot_be(tmp_path, name, code, more):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    result = CliRunner().invoke(cli.main, [*ARGUMENTS, "--out", f"{tmp_path}/{name}", *more])
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "rror: " in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"file", "fifo"}


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/run", "fifo"])
@pytest.mark.parametrize(
    "verb",
    [
        ("sample",),
        ("train", "char-gpt", "--data"),
        ("bench", "report"),
        ("train", "mlp", "--data", "mnist", "--data-root"),
    ],
)
def test_files_that_cannot_be(tmp_path, name, verb):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    result = CliRunner().invoke(cli.main, [*verb, f"{tmp_path}/{name}"])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert "rror: " in result.stderr


def shell(command, out, **options):
    return subprocess.run(
        f"{sys.executable} -m nnlib {' '.join(ARGUMENTS)} --out {out} {command}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    ("streams", "code", "stderr"),
    [
        pytest.param("2>&-", 0, None, marks=pytest.mark.slow),
        pytest.param("2>/dev/full", 0, None, marks=pytest.mark.slow),
        ("2> >(head -n 1 >/dev/null)", 0, None),
        pytest.param(
            ">&-", 1, "error: the output cannot be written: it is closed", marks=pytest.mark.slow
        ),
        (">/dev/full", 1, "error: the output cannot be written: No space left on device"),
        pytest.param("<&- >&- 2>&-", 1, None, marks=pytest.mark.slow),
        pytest.param("| true; exit ${PIPESTATUS[0]}", 0, "", marks=pytest.mark.slow),
    ],
)
def test_the_reader_goes_away(tmp_path, streams, code, stderr, whole):
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("has no /dev/full")
    done = shell(streams, tmp_path / "run")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert outcome(tmp_path / "run") == whole
    if stderr is not None:
        assert stderr in done.stderr


@pytest.mark.slow
def test_the_exit_code_is_that_of_the_work_whoever_reads():
    command = f"NNLIB_BACKEND=none {sys.executable} -m nnlib doctor | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == cli.CHECK_FAILED, done.stderr

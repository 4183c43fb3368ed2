"""The figures in the README and docs/speed.md are those of the runs in benchmarks/results."""

import re
from pathlib import Path

import pytest

from nnlib_benchmarks.schema import load_run

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
#: As the README calls what docs/speed.md calls by the workload's name.
TITLES = {
    "MLP 784-300-10, batch 64": "mlp-mnist",
    "MLP 784-1024-1024-10, batch 512": "mlp-wide",
    "LeNet-5, batch 64": "lenet-64",
    "VGG-16, 224×224, batch 8": "vgg16-b8",
    "GPT, 4 layers, 128 wide": "gpt",
}
CONTESTANTS = ("numpy", "torch", "torch-compile", "jax")


@pytest.fixture(scope="module")
def medians():
    """Milliseconds of a compute-only step, by workload; MNIST's own run replaces the other's."""
    found = {}
    for name in ("compare", "mnist"):
        for training in load_run(RESULTS / f"2026-11-29-epyc-2-cores-{name}.json.gz").training:
            found[training.workload] = {
                result.contestant: result.compute.median * 1e3 for result in training.results
            }
    return found


def rows(name):
    """Yield first cell and the next four numbers of each row of a table of steps."""
    for line in (ROOT / name).read_text("utf8").splitlines():
        cells = [cell.strip(" `*") for cell in line.strip("|").split("|")]
        if line.startswith("|") and all(re.fullmatch(r"[\d.]+", cell) for cell in cells[1:5]):
            yield cells[0], [float(cell) for cell in cells[1:5]]


@pytest.mark.parametrize(("name", "count"), [("docs/speed.md", 19), ("README.md", 5)])
def test_tables_show_medians_of_the_runs(medians, name, count):
    found = list(rows(name))
    assert len(found) == count
    for title, printed in found:
        measured = medians[TITLES.get(title, title)]
        assert printed == pytest.approx([measured[c] for c in CONTESTANTS], rel=0.005), title


def test_results_stay_small():
    """Every clone carries them for ever: one packed run for a claim, no more."""
    size = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file())
    assert size <= 1_000_000

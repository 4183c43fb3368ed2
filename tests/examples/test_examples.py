"""Every example runs, and what it claims is true; with smaller settings than a reader's."""

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnlib
from nnlib.models import MLP

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("l*.py"))
WITHOUT_PICTURE = {"l13_dimensions"}
QUICK = {
    "l01_learned_features": {"epochs": 1, "seeds": 1},
    "l02_gpu_claim": {"workload": "mlp-tiny", "backends": ("numpy", "strict")},
    "l03_parallel": {"matmul": (8, 16), "sides": (7,), "elements": (1024,)},
    "l05_forward_pass": {"instances": (1, 5)},
    "l06_gradient_descent": {"epochs": 1},
    "l07_symmetry": {"epochs": 1},
    "l08_depth": {"depths": (1, 4), "steps": 3},
    "l10_universality": {"widths": (1, 2), "steps": 3, "seeds": 1},
    "l11_heads": {"epochs": 1},
    "l12_playground": {"moments": (0, 1)},
    "l15_adding": {"tasks": (("lstm", 20), ("rnn", 20)), "sequences": 60, "looks": 2},
    "l15_reber": {"trials": 1, "cap": 400},
    "l15_hopfield": {"counts": (3,), "sizes": {40: 1}, "loads": (0.05, 0.5)},
    "l16_learning_curves": {"hidden": (2, 4), "sizes": (20, 40), "steps": 3, "seeds": 2},
    "l17_interface": {"epochs": 1},
    "l14_convolution": {"mnist": False, "epochs": 1},
    "l18_transfer": {"shots": (1,), "seeds": 1, "steps": 1, "epochs": 1},
    "l19_translation": {"epochs": 1, "pairs": 100},
    "l19_gpt": {"steps": 4, "points": 2},
}


@pytest.fixture
def example(monkeypatch):
    """Import an example by name, as Python does when its file is run."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "examples")
    for name in ("course", *EXAMPLES):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in ("course", *EXAMPLES):
        sys.modules.pop(name, None)


@pytest.fixture
def out(tmp_path, request):
    """A folder that holds a picture with the example's name when the test is over."""
    yield tmp_path
    name = request.node.name.removeprefix("test_")
    (picture,) = tmp_path.glob(f"{name}.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def run(name, *options):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def test_l01_learned_features(example, out):
    errors = example("l01_learned_features").main(out, epochs=20, seeds=1)
    (logistic,) = errors["is it odd?", "logistic regression"]
    (network,) = errors["is it odd?", "multi-layer network"]
    assert network < 0.05 < 0.07 < logistic
    assert max(errors["which digit?", "logistic regression"]) < 0.06


def test_l02_gpu_claim(example, out, capsys):
    module = example("l02_gpu_claim")
    claim, training = module.main(out, workload="mlp-tiny", backends=("numpy",))
    (projection,) = claim.projections
    seconds = training.results[0].compute.median / training.batch
    assert projection.days == pytest.approx(seconds * 1_280_000 * 74 / 86400)
    text = capsys.readouterr().out
    assert f"{projection.days:,.2f}" in text
    assert re.search(r"DGX-1, 8 GPUs +0.96 +57.4 ", text)
    assert "No GPU here: what it would make of the claim is not measured" in text
    bars = [("published", 55.0, "published"), ("numpy", 400.0, "cpu"), ("cupy", 2.0, "gpu")]
    module.picture(out / "l02_gpu_claim.png", (9, 3), lambda f: module.draw(f, bars, [projection]))


def test_l03_parallel(example, out):
    module = example("l03_parallel")
    results = module.main(out, matmul=(16, 64), sides=(7,), elements=(1024, 4096))["results"]
    assert "1 thread" in results
    for result in results.values():
        assert [(size, work) for size, _, work in result["matmul"]] == [(16, 8192), (64, 524288)]
        assert [work for _, _, work in result["relu"]] == [8 * 1024, 8 * 4096]
        assert all(seconds > 0 for points in result.values() for _, seconds, _ in points)


def test_l03_parallel_finds_where_curves_cross(example):
    module = example("l03_parallel")
    times = {"1 thread": (1, 4, 16), "2 threads": (2, 3, 8), "cupy": (5, 5, 5)}
    results = {
        who: {"matmul": [(10**i, seconds, 1.0) for i, seconds in enumerate(column, 1)]}
        for who, column in times.items()
    }
    assert module.crossovers(results, ["matmul"]) == {
        ("matmul", "2 threads", "1 thread"): ("100", 2.0),
        ("matmul", "cupy", "2 threads"): ("1,000", 1.6),
    }


def test_l04_network(example, out, capsys):
    network = example("l04_network").main(out)
    assert sum(p.size for p in network.parameters()) == 13
    assert [p.shape for p in network.parameters()] == [(3, 2), (3,), (1, 3), (1,)]
    assert re.search(r"^all +13$", capsys.readouterr().out, re.MULTILINE)


def test_l05_forward_pass(example, out, capsys):
    (_, loop, matrix, error), _ = example("l05_forward_pass").main(out, instances=(500, 1))
    assert error < 1e-5
    assert loop > matrix  # about 100 times
    assert nnlib.backend_info()["name"] in capsys.readouterr().out


def test_l06_computation_graph(example, out):
    gradients = example("l06_computation_graph").main(out)
    np.testing.assert_allclose(gradients["backward"], gradients["by hand"], rtol=1e-12)
    np.testing.assert_allclose(gradients["backward"], gradients["numeric"], rtol=1e-6)
    dot = (out / "l06_computation_graph.dot").read_text(encoding="utf8")
    assert dot.startswith("digraph")
    assert "sigmoid" in dot


def test_l06_gradient_descent(example, out):
    courses = example("l06_gradient_descent").main(out, epochs=4)
    costs = {size: [cost for _, cost in course] for size, course in courses.items()}
    everything = max(costs)
    assert costs[everything] == sorted(costs[everything], reverse=True)  # it only falls
    assert costs[16][-1] < costs[128][-1] < costs[everything][-1]


def test_l07_symmetry(example, out):
    results = example("l07_symmetry").main(out, epochs=2)
    for name, r in results.items():
        if name in ("zero", "all 0.1"):
            assert r["unequal"] < 1e-12, "but for rounding errors, in every step"
            assert r["unlike"] == 0
            assert np.abs(r["W"]).max() > 0.1, "it did learn"
        else:
            assert r["unequal"] > 0.001
            assert r["unlike"] == 31
    assert results["Xavier/Glorot"]["error"] < 0.5 * results["zero"]["error"]


def test_l08_depth(example, out):
    module = example("l08_depth")
    (_, _, shallow, *gaps1), (_, _, deep, *gaps4) = module.main(out, depths=(1, 4))
    assert deep == 0.0 < 0.1 < shallow
    wide = MLP((20, 50, 30, 1), "tanh")
    gaps = module.compare(wide, nnlib.randn(40, 20), nnlib.ones(40, 1))
    assert max(*gaps1, *gaps4, *gaps) < 1e-5


def test_l09_activations(example, out):
    results = example("l09_activations").main(out)
    at_zero = {name: r["at_zero"] for name, r in results.items()}
    assert at_zero["ReLU"] == 0
    assert (at_zero["sigmoid"], at_zero["tanh"], at_zero["softplus"]) == (0.25, 1, 0.5)
    for name in ("sigmoid", "tanh", "softplus", "ReLU"):
        assert results[name]["error"] < 1e-12
    for name in ("GELU", "SiLU"):  # smooth: compared with differences over the grid
        assert results[name]["error"] < 0.01


def test_l10_universality(example, out):
    results = example("l10_universality").main(out, widths=(1, 4, 16), steps=400, seeds=1)
    narrow, medium, wide = (errors[0] for errors in results["errors"].values())
    assert narrow > 1.3 * medium > 2 * wide
    assert results["linear"] > results["line"] - 1e-5, "nothing linear is below the best line"
    assert wide < 0.2 * results["line"]
    assert results["gap"] < 1e-5, "the layers multiplied out are the network"


def test_l11_heads(example, out):
    results = example("l11_heads").main(out, epochs=5)
    for task, (metric, constant) in results["metrics"].items():
        assert metric < constant if task == "regression" else metric > 1.5 * constant
    for z, y, written, (binary, classes, gradients) in results["losses"]:
        expected = max(z, 0) - z * y + math.log1p(math.exp(-abs(z)))
        assert binary == pytest.approx(expected, abs=1e-6)
        assert classes == pytest.approx(expected, abs=1e-6)
        sigmoid = 0.5 + 0.5 * math.tanh(z / 2)
        assert gradients == pytest.approx([sigmoid - y] * 2, abs=1e-6)
        if z == 1e4:
            assert not np.isfinite(written).any()


def test_l12_playground(example, out):
    results = example("l12_playground").main(out, moments=(0, 100))
    for name, (surfaces, course, accuracy) in results.items():
        assert course.shape == (101, 2)
        assert np.abs(surfaces[0]).mean() < 0.7, "almost flat at first"
        if name != "spiral":
            assert course[100].max() < 0.1 < 0.7 < course[0].min()
            assert accuracy > 0.97
    circle = results["circle"][0][100]
    assert circle[50, 50] > 0.8
    assert max(circle[0, 0], circle[0, -1], circle[-1, 0], circle[-1, -1]) < -0.8
    assert results["spiral"][1][100].min() > 0.7, "needs more time"


def test_l13_dimensions(example, tmp_path):
    answers = example("l13_dimensions").main(tmp_path, m=10)
    assert sorted(len(sizes) - 1 for sizes in answers) == [1, 2, 3, 6]
    assert answers[5, 4, 3, 1] == [
        ("0: X", "", "", "5 × 10", "0"),
        ("1", "4 × 5", "4 × 1", "4 × 10", "24"),
        ("2", "3 × 4", "3 × 1", "3 × 10", "15"),
        ("3", "1 × 3", "1 × 1", "1 × 10", "4"),
        ("all", "", "", "", "43"),
    ]


def test_l15_adding(example, out):
    courses = example("l15_adding").main(
        out, tasks=(("lstm", 40), ("rnn", 40)), sequences=6000, looks=3
    )
    assert courses["lstm", 40, 0][-1][1] > 0.8
    assert courses["rnn", 40, 0][-1][1] < 0.3
    assert [seen for seen, _ in courses["lstm", 40, 0]] == [2000, 4000, 6000]


def test_l15_reber(example, out):
    module = example("l15_reber")
    lstm, elman = module.QUICK[0], module.Way("rnn", 15, 0.3, "SGD", 1, through_time=False)
    results = module.main(out, (lstm, elman), trials=1, cap=6000)
    assert results["LSTM 16, Adam"][0][-1] == 1.0
    (shares,) = results["Elman 15, SGD, one step"]
    assert len(shares) == 6000 // module.LOOK
    assert max(shares) < 0.7


def test_the_gradient_through_one_step_is_that_of_a_cut_sequence(example):
    """Step by step, each from the detached state of the one before."""
    module = example("l15_reber")
    way = module.Way("rnn", 5, 0.1, through_time=False)
    model = module.Predictor(way)
    x, steps = nnlib.randn(2, 6, 7), nnlib.tensor([6, 6])
    weights = nnlib.randn(2, 6, 7)
    (model(x, steps) * weights).sum().backward()
    gradients = [p.grad.numpy() for p in model.parameters()]
    model.zero_grad()
    state, loss = None, 0.0
    for t in range(6):
        y, state = model.recurrent(x[:, t : t + 1], None if state is None else state.detach())
        loss = loss + (model.output(y)[:, 0] * weights[:, t]).sum()
    loss.backward()
    for found, p in zip(gradients, model.parameters(), strict=True):
        np.testing.assert_allclose(found, p.grad.numpy(), atol=1e-5)


def test_l15_hopfield(example, out, capsys):
    module = example("l15_hopfield")
    results = module.main(out, counts=(3, 10, 1000), sizes={200: 2}, loads=(0.05, 0.1, 0.3))
    recalled = results["recalled"]
    assert set(recalled[3].values()) == {1.0}
    assert recalled[10] == {"Hebb's rule": 0, "projection": 1, "modern": 1}
    assert recalled[1000]["projection"] == 0 < 0.8 < recalled[1000]["modern"]
    for walk in results["walks"].values():
        fall = np.diff(walk["energy"])
        assert (fall < 1e-4).all(), "energy never rises"
        assert fall.sum() < -1
    points = results["curves"][200]
    assert points["fraction"][0] > 0.99 > 0.1 > points["fraction"][-1]
    assert 0.1 < points["capacity"] < 0.3
    assert re.search(r"^200 +0\.\d{4} N", capsys.readouterr().out, re.MULTILINE)
    x, y = np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.75, 0.25])
    assert module.crossing(x, y) == pytest.approx(0.25)
    assert math.isnan(module.crossing(x, y + 1))
    assert module.extrapolate({100: 0.3, 400: 0.2}) == pytest.approx(0.1)


def test_l19_translation(example, out):
    module = example("l19_translation")
    for n, words in {
        0: "cero", 16: "dieciséis", 31: "treinta y uno", 100: "cien", 101: "ciento uno",
        500: "quinientos", 1000: "mil", 2022: "dos mil veintidós",
        9999: "nueve mil novecientos noventa y nueve",
    }.items():  # fmt: skip
        assert module.spanish(n) == words
    results = module.main(out, **QUICK["l19_translation"])
    assert len(results["map"]) == len(results["answer"].split()) + 1, "a row for a word and the end"


@pytest.mark.slow
def test_l19_translation_learns(example, tmp_path):
    results = example("l19_translation").main(tmp_path, epochs=10, pairs=1500)
    assert results["right"] > 0.8
    assert results["answer"] == "cuatro mil setecientos treinta y uno"
    rows = dict(zip([*results["answer"].split(), "end"], results["map"], strict=True))
    assert [rows[word].argmax() for word in ("cuatro", "setecientos", "treinta")] == [0, 1, 2]


def test_l16_learning_curves(example, out, capsys):
    curve = example("l16_learning_curves").main(
        out, hidden=(4, 128), sizes=(20, 1442), steps=400, seeds=2
    )
    (few4, all4), (few128, all128) = (curve.test_mean[name] for name in curve.models)
    assert all128 < few128 < few4
    assert few128 / all128 > 2 > few4 / all4, "the larger one profits longer"
    assert re.search(r"20 → 1,442 +[01]\.\d\d ", capsys.readouterr().out)


def test_l17_interface(example, out, monkeypatch, capsys):
    module = example("l17_interface")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    losses = module.main(out, epochs=3)
    assert losses["nnlib, loop"] == losses["nnlib, Trainer"]
    assert losses["nnlib, loop"][-1] < 0.5 < losses["nnlib, loop"][0]
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    assert "\nnnlib       from nnlib import data, nn, optim\nPyTorch     import torch\n" in text
    assert "\n                    loss.backward()\n" in text
    compile(module.KERAS, "keras", "exec")
    for name, *_ in module.NAMES[1]:
        root, _, member = re.match(r"[\w.]+", name).group().partition(".")
        place = {"nnlib": nnlib, "nn": nnlib.nn, "optim": nnlib.optim, "data": nnlib.data}.get(root)
        assert place is None or hasattr(place, member), name


@pytest.mark.peers
def test_l17_interface_is_pytorchs(example, tmp_path):
    pytest.importorskip("torch")
    losses = example("l17_interface").main(tmp_path, epochs=3)
    np.testing.assert_allclose(losses["PyTorch, loop"], losses["nnlib, loop"], rtol=1e-4)


def test_l19_gpt(example, out, monkeypatch, capsys):
    monkeypatch.delenv("NNLIB_DATA", raising=False)
    results = example("l19_gpt").main(out, **QUICK["l19_gpt"])
    assert results["steps"] == [2, 4]
    nothing, by_frequency, by_neighbour = results["levels"]
    assert nothing > by_frequency > by_neighbour
    assert results["val_loss"][1] < results["val_loss"][0] < 1.2 * nothing
    assert len(results["step_losses"]) == 4
    assert all(text.startswith("Parameters") for text in results["samples"])
    maps = results["attention"]
    assert maps.shape == (3, 4, 32, 32)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-5)
    assert (np.triu(maps, k=1) == 0).all(), "nobody looks ahead"
    assert "nnlib's docstrings: " in capsys.readouterr().out


@pytest.mark.slow
def test_l19_gpt_learns(example, tmp_path, monkeypatch):
    monkeypatch.delenv("NNLIB_DATA", raising=False)
    results = example("l19_gpt").main(tmp_path, steps=80, points=2)
    nothing, by_frequency, _ = results["levels"]
    assert results["val_loss"][1] < results["val_loss"][0] < nothing
    assert results["val_loss"][1] < by_frequency, "it looks at the characters before"
    assert len(set(results["samples"])) == 3


def test_l14_convolution(example, out, monkeypatch):
    module = example("l14_convolution")
    monkeypatch.setattr(module, "SHIFTS", range(5))
    results = module.main(out, mnist=False, epochs=4)
    lenet, mlp = results["LeNet-5"], results["MLP 784-78-10"]
    assert lenet["parameters"] < mlp["parameters"] < 1.01 * lenet["parameters"]
    assert lenet["error"] < 0.08
    assert lenet["shifted"][0] == pytest.approx(lenet["error"])
    assert sum(lenet["shifted"][1:3]) < sum(mlp["shifted"][1:3])
    image = np.zeros((1, 28, 28, 1))
    image[0, 10, 12] = 1
    (place,) = np.argwhere(module.moved(image, 2, -3)[0, ..., 0])
    assert place.tolist() == [12, 9]


def test_l18_transfer(example, out):
    module = example("l18_transfer")
    results = module.main(out, **QUICK["l18_transfer"])
    frozen, optimizer = module.prepared("frozen features", results["before"], 0.01)
    assert [name for name, p in frozen.named_parameters() if p.requires_grad] == [
        "head.weight", "head.bias"
    ]  # fmt: skip
    _, optimizer = module.prepared("fine-tuned", results["before"], 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.01]
    data = module.load(False)
    drawn = module.drawn(data["pool"], 3, 0)[1]
    assert np.bincount(drawn).tolist() == [3] * 5


@pytest.mark.slow
def test_l18_transfer_learns(example, tmp_path, monkeypatch):
    module = example("l18_transfer")
    monkeypatch.setattr(module, "RATES", (0.003, 0.01))
    results = module.main(tmp_path, shots=(2, 20), seeds=2, steps=20, epochs=4)
    for row in results["accuracy"].values():
        few, many = (np.mean(accuracies) for accuracies in row.values())
        assert 0.3 < few < many
        assert many > 0.8
    mean, low, high = results["gain"]["fine-tuned"][2]
    assert low < mean < high
    one, other = (results["accuracy"][method][2] for method in ("fine-tuned", "from scratch"))
    assert mean == pytest.approx(np.mean(one) - np.mean(other))


def test_every_example_has_a_test():
    assert {f"test_{name}" for name in EXAMPLES} <= set(globals())


def test_the_course_page_lists_every_example_and_no_other():
    page = (ROOT / "docs" / "course.md").read_text(encoding="utf8")
    assert sorted(set(re.findall(r"examples/(l\w+)\.py", page))) == EXAMPLES
    rows = re.findall(r"^\| L(\d+) \|", page, re.MULTILINE)
    assert {int(row) for row in rows} == set(range(1, 20))


def test_a_picture_needs_matplotlib_and_a_table_does_not(example, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    example("l04_network").main(tmp_path)
    text = capsys.readouterr().out
    assert re.search(r"pip install .*\[plot\]", text)
    assert re.search(r"^all +13$", text, re.MULTILINE)
    assert not list(tmp_path.iterdir())


def test_command_line_makes_the_folder(tmp_path):
    folder = tmp_path / "new" / "folder"
    text = run("l04_network", "--out", str(folder))
    assert text.startswith("L4: a network")
    assert (folder / "l04_network.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_on_a_backend_whose_arrays_are_not_numpys(example, name, tmp_path):
    with nnlib.use_backend("strict"):
        example(name).main(tmp_path, **QUICK.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_whole_example_as_a_reader_runs_it(name, tmp_path):
    text = run(name, "--out", str(tmp_path))
    assert "─" in text  # a table
    assert (tmp_path / f"{name}.png").exists() == (name not in WITHOUT_PICTURE)

"""Whether all is well, in 10 seconds: ``pytest tests/test_tiny.py``."""

import json

from click.testing import CliRunner

import nnlib
from nnlib import nn


def test_digits_are_learned():
    train, test = nnlib.data.digits()
    model = nnlib.models.MLP((64, 32, 10))
    trainer = nnlib.Trainer(
        model,
        nn.CrossEntropyLoss(),
        nnlib.optim.Adam(model.parameters(), lr=0.01),
        metrics=["accuracy"],
    )
    trainer.fit(nnlib.data.DataLoader(train, 64, shuffle=True), epochs=5)
    assert trainer.evaluate(nnlib.data.DataLoader(test, 64))["accuracy"] > 0.85


def test_convolutional_step_on_every_backend(backend):
    model = nnlib.models.LeNet5()
    optimizer = nnlib.optim.SGD(model.parameters(), lr=0.05)
    x, labels = nnlib.randn(4, 28, 28, 1), nnlib.arange(4)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


def test_gradients_are_right():
    x = nnlib.tensor([[0.3, -1.2], [0.7, 2.0]], dtype="float64", requires_grad=True)
    assert nnlib.gradcheck(lambda x: nnlib.softmax(nnlib.tanh(x) @ x), [x])


def test_weights_survive_a_file(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    nnlib.save(model.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(nnlib.load(tmp_path / "weights.safetensors"))
    assert (other.weight.numpy() == model.weight.numpy()).all()


def test_command_line_answers():
    from nnlib.cli import main

    result = CliRunner().invoke(main, ["info", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["backends"]["numpy"]["usable"]


def test_bench_harness_is_there():
    from nnlib_benchmarks import runner

    assert callable(runner.run)

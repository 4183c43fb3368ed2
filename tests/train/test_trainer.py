from collections import namedtuple

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import data, models, nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import (
    DataError,
    DTypeError,
    LabelError,
    OptionError,
    ShapeError,
    StateError,
)
from nnlib.nn import functional as F
from nnlib.train import Callback, Trainer
from nnlib.train.progress import Progress


def test_learns_digits():
    train, test = data.digits()
    model = models.MLP((64, 64, 10))
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(model.parameters(), lr=5e-3),
        metrics=["accuracy", "error_rate"],
        progress=False,
        seed=1,
    )
    history = trainer.fit(train, val=test, epochs=12, batch_size=32)
    assert history["val_accuracy"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0] / 5
    assert history["val_accuracy"][-1] + history["val_error_rate"][-1] == pytest.approx(1)
    guesses = trainer.predict(test).argmax(1)
    assert (guesses == test.arrays[1]).mean() == pytest.approx(history["val_accuracy"][-1])


def test_learns_on_every_backend_alike(backend, points, make_trainer, weights):
    trainer = make_trainer()
    trainer.fit(points, epochs=3, batch_size=16)
    with nnlib.use_backend("numpy"):
        reference = make_trainer()
        reference.fit(points, epochs=3, batch_size=16)
    assert trainer.history.backend == backend.name
    np.testing.assert_allclose(weights(trainer), weights(reference), rtol=1e-4, atol=1e-5)


def test_regression_learns(make_trainer):
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    trainer = make_trainer(model=model, loss="mse", metrics=["mse", "mae"])
    trainer.fit((x, x**2), epochs=60, batch_size=16)
    results = trainer.evaluate((x, x**2))
    assert results["loss"] < 0.01
    assert results["mse"] == pytest.approx(results["loss"], rel=1e-5)


def test_evaluate_equals_a_computation_by_hand(points, make_trainer):
    x, y = points
    trainer = make_trainer(metrics=["accuracy", "top2"])
    results = trainer.evaluate(points, batch_size=16)  # 16, 16, 16 and 2
    model = trainer.model.eval()
    logits = model(nnlib.tensor(x)).numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(50), y]
    assert results["loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert results["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())
    assert results["top2"] == pytest.approx((logits.argsort(1)[:, 1:] == y[:, None]).any(1).mean())


def test_history_of_an_epoch_is_the_mean_over_all_its_examples(points, make_trainer):
    seen = []

    def loss(output, target):
        value = F.cross_entropy(output, target)
        seen.append((float(value), target.shape[0]))
        return value

    trainer = make_trainer(loss=loss, nan_stop=False, compile=False)  # the loss is read
    history = trainer.fit(points, epochs=2, batch_size=16)
    first = seen[:4]
    assert [n for _, n in first] == [16, 16, 16, 2]
    assert history["loss"][0] == pytest.approx(sum(v * n for v, n in first) / 50)
    assert history.step_losses == pytest.approx([v for v, _ in seen])
    assert history["lr"] == [0.05, 0.05]
    assert min(history["seconds"]) > 0
    assert history.machine["backend"] == "numpy"


def test_dropout_is_off_where_it_must_be(points, make_trainer):
    trainer = make_trainer()
    trainer.model.train()
    trainer.model[1].eval()
    assert trainer.evaluate(points) == trainer.evaluate(points)
    np.testing.assert_array_equal(trainer.predict(points), trainer.predict(points[0]))
    assert [module.training for module in trainer.model] == [True, False, True, True]


@pytest.mark.parametrize("batches", [4, 40])
@pytest.mark.parametrize("log_every", [None, 10])
def test_reads_do_not_grow_with_the_steps(make_trainer, batches, log_every):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8 * batches, 4)).astype(np.float32), rng.integers(0, 3, 8 * batches)
    with nnlib.use_backend("strict"):
        trainer = make_trainer(log_every=log_every, clip_norm=1.0, metrics=["accuracy", "top2"])
        with strict_backend.counting() as counts:
            trainer.fit((x, y), val=(x, y), epochs=2, batch_size=8)
    readings = 0 if log_every is None else 2 * batches // log_every
    per_epoch = 2  # the training's numbers, the validation's numbers
    per_epoch += 2  # a step of each is compared with the uncompiled one
    assert counts.reads == 2 * per_epoch + readings, counts.where


def test_accumulation_equals_a_larger_batch(points, make_trainer, weights):
    order = data.DataLoader(data.ArrayDataset(*points), 20)
    model = [nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)) for _ in range(2)]
    model[1].load_state_dict(model[0].state_dict())
    large = make_trainer(model=model[0], optimizer=optim.SGD)
    small = make_trainer(model=model[1], optimizer=optim.SGD, accumulate=2)
    large.fit(order, epochs=3)
    small.fit(data.DataLoader(data.ArrayDataset(*points), 10), epochs=3)
    assert large.step == small.step == 9
    np.testing.assert_allclose(weights(small), weights(large), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(small.history.step_losses, large.history.step_losses, rtol=1e-5)


def test_schedules_are_stepped(points, make_trainer):
    def rates(schedule, **options):
        trainer = make_trainer(lr=1.0, optimizer=optim.SGD)
        trainer = Trainer(
            trainer.model,
            "cross_entropy",
            trainer.optimizer,
            schedule=schedule(trainer.optimizer),
            progress=False,
            **options,
        )
        return trainer.fit(points, val=points, epochs=3, batch_size=25)["lr"]

    halve = lambda optimizer: optim.schedules.ExponentialLR(optimizer, 0.5)  # noqa: E731
    assert rates(halve) == [1, 0.5, 0.25]
    assert rates(halve, schedule_every="step") == [0.5, 0.125, 0.03125]
    never = lambda optimizer: optim.schedules.ReduceLROnPlateau(  # noqa: E731
        optimizer, mode="max", factor=0.1, patience=0, threshold=100.0, threshold_mode="abs"
    )
    assert rates(never) == pytest.approx([1, 1, 0.1])


def test_same_seed_same_run(points, make_trainer, weights):
    runs = [make_trainer(seed=5), make_trainer(seed=5), make_trainer(seed=6)]
    for trainer in runs:
        nnlib.rand(3)
        trainer.fit(points, epochs=2, batch_size=16)
    np.testing.assert_array_equal(weights(runs[0]), weights(runs[1]))
    assert not np.array_equal(weights(runs[0]), weights(runs[2]))


def test_float64_data_do_not_make_a_float32_model_slow(make_trainer):
    seen = []

    def loss(output, target):
        seen.append(output.dtype.name)
        return F.mse_loss(output, target)

    trainer = make_trainer(model=nn.Linear(3, 1), loss=loss, metrics=[])
    trainer.fit((np.ones((8, 3)), np.ones((8, 1))), batch_size=4)
    assert set(seen) == {"float32"}
    assert trainer.predict(np.ones((2, 3))).dtype == "float32"


def test_host_data_for_a_model_elsewhere(points, make_trainer):
    with nnlib.use_backend("strict"):
        trainer = make_trainer()
    assert nnlib.get_backend().name == "numpy"
    loader = data.DataLoader(data.ArrayDataset(*points), 16, shuffle=True, backend="numpy")
    trainer.fit(loader, val=points, epochs=1)
    assert next(iter(trainer.model.parameters())).backend.name == "strict"
    assert type(trainer.predict(points[0])) is np.ndarray


@pytest.mark.parametrize("compiled", [True, False])
def test_a_compiled_step_brings_host_data_itself(points, make_trainer, compiled, monkeypatch):
    with nnlib.use_backend("strict") as strict:
        trainer = make_trainer(compile=compiled)
    brought = []
    make = type(strict).inputs

    def inputs(backend, arrays):
        result = make(backend, arrays)
        fill = result.fill
        result.fill = lambda values: brought.extend(map(type, values)) or fill(values)
        return result

    monkeypatch.setattr(type(strict), "inputs", inputs)
    x, y = points
    trainer.fit((x, y), val=(x, y), batch_size=16, epochs=2)
    assert trainer.last_batch[0].backend.name == ("numpy" if compiled else "strict")
    assert set(brought) == ({np.ndarray} if compiled else set())
    with nnlib.use_backend("strict"):  # what is on the device already stays there
        resident = data.ArrayDataset(nnlib.tensor(x), nnlib.tensor(y))
    trainer.fit(resident, batch_size=16, epochs=1)
    assert trainer.last_batch[0].backend.name == "strict"


def test_models_of_several_inputs(make_trainer, points):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, a, b):
            return self.layer(a) + self.layer(b)

    x, y = points
    trainer = make_trainer(model=Two())
    trainer.fit((x, x, y), epochs=1)
    assert trainer.predict((x, x, y)).shape == (50, 3)


def test_callbacks_are_called_in_order(points, make_trainer):
    calls = []

    class Log(Callback):
        def on_fit_begin(self, trainer):
            calls.append("fit")

        def on_epoch_begin(self, trainer):
            calls.append("epoch")

        def on_step_end(self, trainer):
            calls.append(trainer.step)

        def on_read(self, trainer, losses):
            calls.append(f"read {len(losses)}")

        def on_epoch_end(self, trainer, logs):
            calls.append(sorted(logs))

        def on_checkpoint(self, trainer):
            calls.append("checkpoint")

        def on_fit_end(self, trainer):
            calls.append("end")

    make_trainer(callbacks=[Log()], log_every=2).fit(points, val=points, batch_size=17)
    names = [
        "accuracy",
        "epoch",
        "loss",
        "lr",
        "seconds",
        "val_accuracy",
        "val_loss",
        "val_seconds",
    ]
    assert calls == ["fit", "epoch", 1, 2, "read 2", 3, "read 1", names, "checkpoint", "end"]


def test_stopping(points, make_trainer):
    class Stop(Callback):
        def on_epoch_end(self, trainer, logs):
            if trainer.epoch == 2:
                trainer.stop("enough")

    history = make_trainer(callbacks=[Stop()]).fit(points, epochs=9)
    assert (len(history), history.stopped) == (2, "enough")


def test_a_second_fit_is_a_run_of_its_own_unless_it_continues(points, make_trainer):
    trainer = make_trainer()
    trainer.fit(points, epochs=3)
    trainer.fit(points, epochs=2)
    assert trainer.history["epoch"] == [1, 2]
    trainer.fit(points, epochs=4, initial_epoch=2)
    assert trainer.history["epoch"] == [1, 2, 3, 4]
    assert len(trainer.history.step_losses) == trainer.step == 8


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_goes_to_stderr(points, make_trainer, capsys, monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    make_trainer(progress=True).fit(points, val=points, epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if "val_accuracy" in line]
    assert len(lines) == 2
    assert "epoch 2/2  loss " in lines[1]
    if not terminal:
        assert len(err.splitlines()) == 2


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_progress_ends_however_training_ends(points, make_trainer, monkeypatch, error):
    events = []

    class Record(Progress):
        def begin(self, epochs):
            events.append("begin")

        def begin_epoch(self, epoch, steps, done=0):
            events.append((epoch, steps))

        def advance(self):
            events.append("step")

        def end(self):
            events.append("end")

    class Fail(Callback):
        def on_step_end(self, trainer):
            if error is not None:
                raise error

    monkeypatch.setattr("nnlib.train.trainer.make_progress", lambda show: Record())
    trainer = make_trainer(callbacks=[Fail()], accumulate=2)
    if error is None:
        trainer.fit(points, batch_size=10)
        assert events == ["begin", (1, 3), "step", "step", "step", "end"]
    else:
        with pytest.raises(error):
            trainer.fit(points, batch_size=10)
        assert events == ["begin", (1, 3), "end"]


def test_no_progress(points, make_trainer, capsys):
    make_trainer().fit(points)
    assert capsys.readouterr() == ("", "")


def interrupt_at(step, how):
    class Interrupt(Callback):
        def on_step_end(self, trainer):
            if trainer.step == step:
                how()

    return Interrupt()


@pytest.mark.parametrize("press", [True, False])
def test_after_control_c_the_history_has_what_was_done(
    points, make_trainer, press, weights, control_c
):
    def raise_it():
        raise KeyboardInterrupt

    how = control_c if press else raise_it
    trainer = make_trainer(callbacks=[interrupt_at(6, how)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(points, epochs=5, batch_size=16)  # 4 steps an epoch
    assert len(trainer.history) == 1
    assert len(trainer.history.step_losses) == 6
    assert np.all(np.isfinite(weights(trainer)))


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.ones((4, 5)), np.zeros(4, int), ShapeError, r"in_features = 4.*Linear at '0'"),
        (np.ones((4, 4)), np.zeros((4, 1), int), ShapeError, "labels of shape"),
        (np.ones((4, 4)), np.array([0, 1, 2, 3]), LabelError, "0 … 2"),
        (np.ones((4, 4)), np.zeros(3, int), ShapeError, "same length"),
        (np.ones((0, 4)), np.zeros(0, int), DataError, "at least one batch"),
        (np.full((4, 4), "a"), np.zeros(4, int), DTypeError, "numbers or booleans"),
    ],
)
def test_bad_data(make_trainer, x, y, error, message):
    with pytest.raises(error, match=message):
        make_trainer().fit((x, y))


def test_no_targets(make_trainer):
    for data_ in [(np.ones((4, 4)),), [(np.ones((4, 4)),)]]:
        with pytest.raises(DataError, match="inputs and targets"):
            make_trainer().fit(data_)
        with pytest.raises(DataError, match="inputs and targets"):
            make_trainer().evaluate(data_)


def test_a_loader_that_gives_nothing(make_trainer):
    with pytest.raises(DataError, match="at least one batch"):
        make_trainer().fit([])


@pytest.mark.parametrize(
    "options", [{"accumulate": 0}, {"log_every": 0}, {"accumulate": True}, {"log_every": 2.5}]
)
def test_options_out_of_range(make_trainer, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        make_trainer(**options)


def test_epochs_out_of_range(make_trainer, points):
    with pytest.raises(OptionError, match="epochs"):
        make_trainer().fit(points, epochs=0)


def test_callbacks_must_be_callbacks(make_trainer):
    with pytest.raises(DTypeError, match="a Callback"):
        make_trainer(callbacks=[print])


class Two(nn.Module):
    """A model of two inputs, the second of which may be left out."""

    def __init__(self, needs_both):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        if needs_both:
            self.forward = lambda a, b: self.layer(a) + self.layer(b)

    def forward(self, a, b=None):
        return self.layer(a) if b is None else self.layer(a) + self.layer(b)


def test_predict_takes_as_many_arrays_as_the_model(make_trainer, points):
    x, y = points
    trainer = make_trainer(model=Two(needs_both=True))
    both = trainer.predict((x, x + 1))
    assert both.shape == (50, 3)
    np.testing.assert_allclose(trainer.predict((x, x + 1, y), batch_size=7), both, rtol=1e-5)
    for few in (x, (x,), ArrayDataset(x), DataLoader(ArrayDataset(x), 10), [(x,)]):
        with pytest.raises(DataError, match="Two takes 2"):
            trainer.predict(few)


def test_predict_takes_as_many_arrays_as_training_did_where_some_may_be_left_out(
    make_trainer, points
):
    x, y = points
    trainer = make_trainer(model=Two(needs_both=False))
    np.testing.assert_array_equal(trainer.predict((x, y)), trainer.predict(x))
    trainer.fit((x, x, y))
    both = trainer.predict((x, x))
    np.testing.assert_array_equal(trainer.predict((x, x, y)), both)
    assert (both != trainer.predict(x)).any()
    trainer.fit((x, y))
    np.testing.assert_array_equal(trainer.predict((x, x)), trainer.predict(x))


def test_predict_returns_what_the_model_returns(make_trainer, points, backend):
    Both = namedtuple("Both", "first second")

    class Model(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return Both(y, {"a": [y, y[:, 0]], "b": (x,)})

    x = points[0]
    trainer = make_trainer(
        model=Model(4, 3), loss=lambda o, t: F.cross_entropy(o.first, t), metrics=[],
        precision="fp16",
    )  # fmt: skip
    y, parts = trainer.predict(x, batch_size=7)
    assert y.shape == (50, 3)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(parts["a"][0], y)
    np.testing.assert_array_equal(parts["a"][1], y[:, 0])
    np.testing.assert_array_equal(parts["b"][0], x)
    assert isinstance(trainer.predict(x), Both)


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda y: y.mean(), r"float32 \(\) as output for 50 examples"),
        (lambda y: (y, y[:2]), r"float32 \(2, 3\) as output\[1\] for 50"),
        (lambda y: {"y": y, "n": 3}, r"3 as output\['n'\]"),
        (lambda y: None, "None as output"),
    ],
)
def test_predict_needs_rows(make_trainer, points, change, received):
    class Model(nn.Linear):
        def forward(self, x):
            return change(super().forward(x))

    with pytest.raises(DTypeError, match=received):
        make_trainer(model=Model(4, 3)).predict(points[0])


@pytest.mark.parametrize("compile", [True, False])
def test_arrays_that_the_model_does_not_take(make_trainer, points, compile):
    class Model(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    x, y = points
    trainer = make_trainer(model=Model(4, 3), compile=compile)
    with pytest.raises(DataError, match=r"Model takes 1\. .* weights of the exam"):
        trainer.fit((x, y, np.ones(50, np.float32)))
    with pytest.raises(DataError, match="Model takes 1"):
        trainer.evaluate((x, y, np.ones(50, np.float32)))


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    "error", [TypeError("mine"), ValueError("mine"), KeyError("mine"), ShapeError("mine")]
)
@pytest.mark.parametrize("where", ["model", "loss", "metric"])
def test_errors_of_the_user_s_code_come_out_as_they_are(
    make_trainer, points, compile, error, where
):
    def fail(*_):
        raise error

    model = nn.Linear(4, 3)
    if where == "model":
        model.forward = fail
    trainer = make_trainer(
        model=model, compile=compile, **({where: fail} if where == "loss" else {}),
        metrics=[fail] if where == "metric" else [],
    )  # fmt: skip
    with pytest.raises(type(error), match="mine") as caught:
        trainer.fit(points)
    assert caught.value is error


def test_higher_is_better(make_trainer, points):
    trainer = make_trainer(metrics=["accuracy", "mae"])
    assert trainer.higher_is_better("accuracy")
    assert not trainer.higher_is_better("loss")
    with pytest.raises(OptionError, match="need validation data"):
        trainer.higher_is_better("val_accuracy")


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_mixed_precision_learns_and_leaves_the_parameters_alone(backend, precision):
    if precision == "bf16":
        pytest.importorskip("ml_dtypes")
    train, test = data.digits()
    model = models.MLP((64, 32, 10))
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    trainer = Trainer(
        model, "cross_entropy", optimizer, ["accuracy"],
        clip_norm=5.0, precision=precision, progress=False, seed=1,
    )  # fmt: skip
    history = trainer.fit(train, val=test, epochs=4, batch_size=64)
    assert history["val_accuracy"][-1] > 0.85
    assert {p.dtype.name for p in model.parameters()} == {"float32"}
    scores = trainer.predict(test)
    assert scores.dtype == np.float32
    assert (scores.argmax(1) == test.arrays[1]).mean() == history["val_accuracy"][-1]
    low = {"bf16": "bfloat16", "fp16": "float16", "tf32": "float32"}[precision]
    assert np.array_equal(scores, scores.astype(low).astype("float32"))  # computed so
    assert trainer.scaler.enabled == (precision == "fp16")


def test_a_run_in_float16_continues_with_its_scale(points, make_trainer, tmp_path):
    trainer = make_trainer(precision="fp16")
    trainer.scaler.load_state_dict({"scale": 32.0, "good_steps": 0.0})
    trainer.fit(points, epochs=1, batch_size=16)
    trainer.save(tmp_path / "run.safetensors")
    other = make_trainer(precision="fp16")
    other.resume(tmp_path / "run.safetensors")
    assert other.scaler.state_dict() == trainer.scaler.state_dict()
    assert other.scaler.get_scale() == 32.0
    plain = make_trainer()
    with pytest.raises(StateError, match=r"precision that it had.*None, and a state of fp16"):
        plain.resume(tmp_path / "run.safetensors")
    plain.save(tmp_path / "plain.safetensors")
    with pytest.raises(StateError, match="without fp16"):
        other.resume(tmp_path / "plain.safetensors")


def test_an_unknown_precision_is_refused(make_trainer):
    with pytest.raises(OptionError, match="bf16, fp16 or tf32"):
        make_trainer(precision="fp8")


def test_a_run_after_an_interrupted_one_sees_every_example(points, make_trainer):
    x, _ = points
    seen, places = [], []

    class Look(Callback):
        def on_epoch_begin(self, trainer):
            places.append(trainer.loader.state_dict())

        def on_step_end(self, trainer):
            seen.extend(trainer.last_batch[1].tolist())
            if trainer.step == 2 and self.stop:
                self.stop = False
                raise KeyboardInterrupt

        stop = True

    loader = data.DataLoader(data.ArrayDataset(x, np.arange(50)), 10, shuffle=True)
    trainer = make_trainer(callbacks=[Look()], loss=lambda o, t: nnlib.mean(o * o), metrics=[])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(loader)
    assert len(seen) == 20
    seen.clear()
    trainer.fit(loader)
    assert sorted(seen) == list(range(50))
    assert [(place["epoch"], place["batch"]) for place in places] == [(0, 0), (1, 0)]


def test_evaluation_in_the_middle_of_an_epoch_disturbs_nothing(points, make_trainer, weights):
    class Evaluate(Callback):
        def on_step_end(self, trainer):
            trainer.evaluate(points)

    plain, watched = make_trainer(seed=5), make_trainer(seed=5, callbacks=[Evaluate()])
    histories = [trainer.fit(points, epochs=2, batch_size=16) for trainer in (plain, watched)]
    np.testing.assert_array_equal(weights(plain), weights(watched))
    for name in ("loss", "accuracy"):
        assert histories[0][name] == histories[1][name]


def test_time_is_that_of_training_and_validation_apart(points, make_trainer):
    history = make_trainer().fit(points, val=points, epochs=1)
    assert 0 < history["seconds"][0] < 10
    assert 0 < history["val_seconds"][0] < 10


def test_schedule_that_counts_steps(points, make_trainer):
    for every, expected in (("step", 0.025), ("epoch", 0.1), (None, 0.1)):
        optimizer = optim.SGD((model := nn.Linear(4, 3)).parameters(), lr=0.1)
        schedule = optim.schedules.StepLR(optimizer, step_size=1, gamma=0.5)
        trainer = Trainer(
            model, "cross_entropy", optimizer, schedule=schedule, schedule_every=every
        )
        batch = tuple(nnlib.tensor(array, backend=trainer.backend) for array in points)
        for _ in range(3):
            trainer.compute_gradients([batch])
            trainer.apply_gradients()
        assert trainer.learning_rate == pytest.approx(expected)  # that of the third step


def test_one_cycle_counts_steps_by_itself():
    optimizer = optim.SGD((model := nn.Linear(2, 1)).parameters())
    schedule = optim.schedules.OneCycleLR(optimizer, max_lr=0.1, total_steps=5)
    assert Trainer(model, "mse", optimizer, schedule=schedule).schedule_every == "step"


def test_schedules_are_checked():
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters())
    schedule = optim.schedules.StepLR(optimizer, 1)
    plateau = optim.schedules.ReduceLROnPlateau(optimizer)
    with pytest.raises(OptionError, match="for this optimizer"):
        Trainer(model, "mse", optim.SGD(model.parameters()), schedule=schedule)
    with pytest.raises(DTypeError, match="schedule must be"):
        Trainer(model, "mse", optimizer, schedule=0.1)
    with pytest.raises(OptionError, match="schedule_every"):
        Trainer(model, "mse", optimizer, schedule=schedule, schedule_every="batch")
    with pytest.raises(OptionError, match="ReduceLROnPlateau"):
        Trainer(model, "mse", optimizer, schedule=plateau, schedule_every="step")


def test_parts_are_those_of_the_stepper(points, make_trainer):
    """A callback may replace a part of a running trainer; the next step uses it."""
    trainer = make_trainer()
    names = ("model", "loss", "optimizer", "metrics", "clip_norm", "precision", "scaler")
    for name in names:
        assert getattr(trainer, name) is getattr(trainer.stepper, name)
    trainer.fit(points, epochs=2, batch_size=10)
    trainer.clip_norm = 1e-3
    trainer.fit(points, epochs=1, batch_size=10)
    norm = np.linalg.norm([np.linalg.norm(p.grad.numpy()) for p in trainer.model.parameters()])
    assert norm == pytest.approx(1e-3, rel=1e-3)

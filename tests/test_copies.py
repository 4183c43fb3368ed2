"""Everything public can be pickled and copied: a copy does what the original would do, bit by bit.

`SAMPLES` has an entry for every public class; a new class without one fails here.
"""

import copy
import importlib
import inspect
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import nnlib
import nnlib_backends
from nnlib import data, models, nn, optim, train
from nnlib.data import transforms
from nnlib.errors import GradientError
from nnlib.optim import schedules

MODULES = (
    "nnlib nnlib.autograd nnlib.jit nnlib.data nnlib.data.transforms nnlib.errors nnlib.io "
    "nnlib.models nnlib.nn nnlib.nn.functional nnlib.nn.init nnlib.ops nnlib.optim "
    "nnlib.optim.schedules nnlib.random nnlib.train nnlib_backends"
)


def public_classes():
    """All public classes, each once."""
    modules = map(importlib.import_module, MODULES.split())
    found = (getattr(m, name) for m in modules for name in getattr(m, "__all__", vars(m)))
    return list(dict.fromkeys(value for value in found if inspect.isclass(value)))


# What is the same in a copy ----------------------------------------------------------------------


def plain(value):
    """A nested value with bytes instead of arrays, to be compared with ``==``."""
    if isinstance(value, nnlib.Tensor):
        return ("tensor", type(value), value.backend.name, value.requires_grad, plain(value.data))
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        return (str(value.dtype), value.shape, np.asarray(value).tobytes())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@dataclass
class Sample:
    """How to make an object, and what shows all that it does; using it may change it."""

    make: object
    use: object

    def used(self, thing):
        nnlib.manual_seed(7)
        return plain(self.use(thing))


def array(*shape, high=None, seed=0):
    random = np.random.default_rng(seed)
    if high is not None:
        return random.integers(0, high, shape)
    return random.normal(size=shape).astype("float32")


def module(make, *inputs):
    """A module in training: outputs, gradients and buffers."""

    def use(model):
        output = model(*[nnlib.tensor(x) if x.dtype.kind == "f" else x for x in inputs])
        first = output[0] if isinstance(output, tuple) else output
        if first.requires_grad:
            first.sum().backward()
        return [first.detach(), *[p.grad for p in model.parameters()], model.state_dict()]

    return Sample(make, use)


def loss(make, target=None, output=None):
    output = array(4, 3) if output is None else output
    return module(make, output, array(4, 3, seed=1) if target is None else target)


def network():
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2))


def steps(both, count=3):
    """Train; return what an optimizer, or a schedule, has done."""
    model, optimizer, *schedule = both
    rates = []
    for seed in range(count):
        optimizer.zero_grad()
        model(nnlib.tensor(array(4, 3, seed=seed))).sum().backward()
        optimizer.step()
        rates += [group["lr"] for group in optimizer.param_groups]
        for each in schedule:
            each.step(*[1.0] if isinstance(each, schedules.ReduceLROnPlateau) else [])
    return [model.state_dict(), optimizer.state_dict(), rates]


def optimizer(kind, **options):
    def make():
        model = network()
        return model, kind(model.parameters(), **options)

    return Sample(make, steps)


def slower(step):
    return 1 / (1 + step)


class Halving(schedules.LRScheduler):
    def rate(self, base_lr, step, group):
        return base_lr * 0.5**step


def schedule(kind, *args, **options):
    def make():
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        return model, optimizer, kind(optimizer, *args, **options)

    return Sample(make, steps)


def warm_up(optimizer):
    parts = [schedules.LinearLR(optimizer, 0.5), schedules.StepLR(optimizer, 1)]
    return schedules.SequentialLR(optimizer, parts, milestones=[2])


def scaled():
    model = network()
    return model, optim.SGD(model.parameters(), lr=0.1), optim.GradScaler(init_scale=8.0)


def scaled_steps(parts):
    model, sgd, scaler = parts
    for _ in range(2):
        scaler.scale(model(nnlib.tensor(array(4, 3))).sum()).backward()
        scaler.step(sgd)
        scaler.update()
    return [model.state_dict(), scaler.state_dict()]


def epochs(loader):
    """The rest of what a loader gives, and where it stands."""
    return [[list(batch) for batch in loader] for _ in range(2)] + [loader.state_dict()]


def loader():
    turned = transforms.compose(transforms.normalize([1.0, 2.0], 3.0), transforms.flip())
    dataset = data.ArrayDataset(array(9, 4, 4, 2), array(9, high=3))
    one_hot = transforms.one_hot(3)
    return data.DataLoader(dataset, 2, shuffle=True, transform=turned, target_transform=one_hot)


def pairs():
    return data.PairDataset([([5, 6], [7, 8, 9]), ([5], [6])] * 3, multiple=2)


def values(make, *names):
    """Attributes, or results of methods without arguments."""

    def use(thing):
        found = [getattr(thing, name) for name in names]
        return [repr(thing), *[value() if callable(value) else value for value in found]]

    return Sample(make, use)


def by_name(make):
    """What shows itself in words."""
    return values(make)


def error(kind):
    return Sample(lambda: kind("what must hold. Received: this"), lambda e: [str(e), e.args])


class Bias(train.Metric):
    name = "bias"

    def total(self, output, target):
        return (output - target).sum()

    def count(self, target):
        return target.shape[0]


class Distance(train.LabelMetric):
    name = "distance"

    def values(self, output, target):
        return nnlib.abs(output.sum(axis=-1) - target)


def metric(make, output=None, target=None):
    def use(one):
        one.update(nnlib.tensor(array(6, 4)), nnlib.tensor(array(6, high=4)))
        return [one.compute(), one.name, one.higher_is_better]

    def use_values(one):
        one.update(nnlib.tensor(output), nnlib.tensor(target))
        return [one.compute(), one.name, one.higher_is_better]

    return Sample(make, use if output is None else use_values)


def difference(output, target):
    return (output - target).mean()


class Counting(train.Callback):
    def __init__(self):
        self.count = 0

    def on_step_end(self, trainer):
        self.count += 1


def trainer(*callbacks, **options):
    model = network()
    adam = optim.Adam(model.parameters(), lr=0.01)
    return nnlib.Trainer(
        model, "cross_entropy", adam, metrics=["accuracy"], callbacks=callbacks,
        schedule=schedules.ExponentialLR(adam, 0.9), progress=False, **options,
    )  # fmt: skip


def trained(one):
    """Train on, evaluate; return all but how long it took."""
    whole = array(20, 3), array(20, high=2)
    one.fit(whole, val=whole, epochs=2, batch_size=8)
    history = [{k: v for k, v in e.items() if "seconds" not in k} for e in one.history.epochs]
    rest = [vars(c) for c in one.callbacks if isinstance(c, Counting)]
    return [history, one.history.step_losses, one.model.state_dict(), rest, one.evaluate(whole)]


def with_callback(make):
    return Sample(lambda: trainer(make()), trained)


def vgg():
    """All of it but the largest layers."""
    with nn.init.skip():
        model = models.VGG(11, num_classes=2, in_channels=1, image_size=32)
    model.classifier = nn.Identity()
    return model


def made_tokenizer():
    pytest.importorskip("tokenizers")
    return data.BPETokenizer.train(["low lower lowest"] * 9, vocab_size=270)


@nnlib.compile
def doubled(x):
    return x + x


class Doubling:
    @nnlib.compile
    def double(self, x):
        return x + x


def compiled():
    function = nnlib.compile(nn.Linear(3, 2).forward)
    for _ in range(3):
        function(nnlib.tensor(array(4, 3)))
    return function


GRID = array(2, 6, 6, 3)
SEQUENCE = array(2, 5, 3)
TOKENS = array(2, 4, high=9)
WINDOWS = {"vocab_size": 9, "context": 6, "layers": 1, "heads": 2, "width": 8}

SAMPLES = {
    # nnlib
    nnlib.History: by_name(lambda: nnlib.History(epochs=[{"epoch": 1, "loss": 0.5}])),
    nnlib.Tensor: Sample(
        lambda: nnlib.tensor(array(2, 3), requires_grad=True),
        lambda x: [(x * x).sum().backward(), x, x.grad],
    ),
    nnlib.Trainer: Sample(trainer, trained),
    nnlib.autocast: Sample(
        lambda: nnlib.autocast("fp16"), lambda scope: scope(nn.Linear(3, 2))(array(1, 3)).dtype
    ),
    nnlib.no_grad: Sample(
        nnlib.no_grad, lambda scope: scope(nn.Linear(3, 2))(array(1, 3)).requires_grad
    ),
    nnlib.enable_grad: Sample(
        nnlib.enable_grad, lambda scope: scope(nn.Linear(3, 2))(array(1, 3)).requires_grad
    ),
    nnlib.random.Generator: Sample(
        lambda: nnlib.random.Generator(3), lambda g: [g.uniform((5,)), g.permutation(5), repr(g)]
    ),
    nnlib.jit.Compiled: Sample(compiled, lambda f: f(nnlib.tensor(array(4, 3)))),
    # nnlib.nn
    **{
        getattr(nn, name): module(getattr(nn, name), array(4, 3))
        for name in ("Identity", *nn.activation.__all__)
    },
    nn.Module: None,  # abstract: all its subclasses are here
    nn.Parameter: Sample(
        lambda: nn.Parameter(array(2, 3)), lambda x: [(x * x).sum().backward(), x, x.grad]
    ),
    nn.Linear: module(lambda: nn.Linear(3, 2), array(4, 3)),
    nn.Embedding: module(lambda: nn.Embedding(9, 3, padding_idx=0), TOKENS),
    nn.RNN: module(lambda: nn.RNN(3, 4), SEQUENCE),
    nn.LSTM: module(lambda: nn.LSTM(3, 4, num_layers=2, dropout=0.5), SEQUENCE),
    nn.GRU: module(lambda: nn.GRU(3, 4), SEQUENCE),
    nn.MultiheadAttention: module(
        lambda: nn.MultiheadAttention(4, 2, dropout=0.2), *[array(2, 5, 4)] * 3
    ),
    nn.Conv1d: module(lambda: nn.Conv1d(3, 2, 3), SEQUENCE),
    nn.Conv2d: module(lambda: nn.Conv2d(3, 2, 3, padding=1), GRID),
    nn.MaxPool2d: module(lambda: nn.MaxPool2d(2), GRID),
    nn.AvgPool2d: module(lambda: nn.AvgPool2d(2), GRID),
    nn.AdaptiveAvgPool2d: module(lambda: nn.AdaptiveAvgPool2d(2), GRID),
    nn.GlobalAvgPool: module(nn.GlobalAvgPool, GRID),
    nn.BatchNorm1d: module(lambda: nn.BatchNorm1d(3), array(4, 3)),
    nn.BatchNorm2d: module(lambda: nn.BatchNorm2d(3, momentum=None), GRID),
    nn.GroupNorm: module(lambda: nn.GroupNorm(1, 3), GRID),
    nn.LayerNorm: module(lambda: nn.LayerNorm(3), array(4, 3)),
    nn.RMSNorm: module(lambda: nn.RMSNorm(3), array(4, 3)),
    nn.Dropout: module(lambda: nn.Dropout(0.4), array(4, 3)),
    nn.Flatten: module(nn.Flatten, GRID),
    nn.Unflatten: module(lambda: nn.Unflatten(1, (3, 1)), array(4, 3)),
    nn.Sequential: module(network, array(4, 3)),
    nn.ModuleList: values(lambda: nn.ModuleList([nn.Linear(2, 1)]), "state_dict"),
    nn.ModuleDict: values(lambda: nn.ModuleDict({"a": nn.Linear(2, 1)}), "state_dict"),
    nn.LoadReport: by_name(lambda: nn.Linear(2, 1).load_state_dict(nn.Linear(2, 1).state_dict())),
    nn.BCELoss: loss(nn.BCELoss, abs(np.tanh(array(4, 3))), abs(np.tanh(array(4, 3, seed=1)))),
    nn.BCEWithLogitsLoss: loss(nn.BCEWithLogitsLoss, abs(np.tanh(array(4, 3)))),
    nn.CrossEntropyLoss: loss(
        lambda: nn.CrossEntropyLoss(nnlib.tensor([1.0, 2.0, 3.0])), array(4, high=3)
    ),
    nn.NLLLoss: loss(nn.NLLLoss, array(4, high=3)),
    nn.KLDivLoss: loss(nn.KLDivLoss, abs(array(4, 3))),
    nn.HuberLoss: loss(nn.HuberLoss),
    nn.L1Loss: loss(nn.L1Loss),
    nn.MSELoss: loss(nn.MSELoss),
    nn.SmoothL1Loss: loss(nn.SmoothL1Loss),
    # nnlib.optim
    optim.Optimizer: None,  # abstract
    optim.SGD: optimizer(optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    optim.Adam: optimizer(optim.Adam, lr=0.1, amsgrad=True),
    optim.AdamW: optimizer(optim.AdamW, lr=0.1),
    optim.Adagrad: optimizer(optim.Adagrad, lr=0.1),
    optim.RMSprop: optimizer(optim.RMSprop, lr=0.1, centered=True),
    optim.GradScaler: Sample(scaled, scaled_steps),
    optim.UpdateRule: by_name(lambda: optim.SGD.rule),
    schedules.LRScheduler: schedule(Halving),
    schedules.LambdaLR: schedule(schedules.LambdaLR, slower),
    schedules.StepLR: schedule(schedules.StepLR, 2),
    schedules.MultiStepLR: schedule(schedules.MultiStepLR, [1, 4]),
    schedules.ExponentialLR: schedule(schedules.ExponentialLR, 0.5),
    schedules.LinearLR: schedule(schedules.LinearLR),
    schedules.CosineAnnealingLR: schedule(schedules.CosineAnnealingLR, 7),
    schedules.OneCycleLR: schedule(schedules.OneCycleLR, 1.0, total_steps=30),
    schedules.ReduceLROnPlateau: schedule(schedules.ReduceLROnPlateau, patience=1),
    schedules.SequentialLR: schedule(warm_up),
    # nnlib.data
    data.Dataset: None,  # a protocol
    data.ArrayDataset: Sample(
        lambda: data.ArrayDataset(array(4, 3), array(4, high=2), classes="ab"),
        lambda d: [d[[2, 0]], d.classes, d.backend],
    ),
    data.DataLoader: Sample(loader, epochs),
    data.PairDataset: Sample(pairs, lambda d: [d[[0, 1]], d.lengths]),
    data.PairLoader: Sample(lambda: data.PairLoader(pairs(), 12, shuffle=True), epochs),
    data.CharTokenizer: Sample(lambda: data.CharTokenizer("abc"), lambda t: t.encode("cab")),
    data.BPETokenizer: Sample(made_tokenizer, lambda t: t.encode("slow lower")),
    data.CharacterText: values(
        lambda: data.CharacterText("ab", array(5, high=2), array(3, high=2)), "train", "validation"
    ),
    data.ParallelText: values(lambda: data.ParallelText(("a",), ("b",)), "source", "target"),
    data.ParallelSplit: by_name(
        lambda: data.ParallelText(tuple("abcd"), tuple("ABCD")).split(validation=1, test=1)
    ),
    data.TextWindows: Sample(lambda: data.TextWindows(array(20, high=5), 4), lambda w: w[[0, 3]]),
    transforms.RandomTransform: Sample(
        lambda: transforms.compose(transforms.pad_crop(1), transforms.flip(), transforms.flatten),
        lambda t: t(GRID, nnlib.random.Generator(1)),
    ),
    # nnlib.models
    models.LanguageModel: None,  # abstract
    models.MLP: module(lambda: models.MLP((3, 4, 2), dropout=0.2), array(4, 3)),
    models.LeNet5: module(
        lambda: models.LeNet5(variant="1998", image_size=32), array(2, 32, 32, 1)
    ),
    models.VGG: values(vgg, "state_dict"),
    models.CharRNN: module(lambda: models.CharRNN(9, width=4, layers=2, dropout=0.1), TOKENS),
    models.SequenceRegressor: module(lambda: models.SequenceRegressor(3, width=4), SEQUENCE),
    models.GPT: module(lambda: models.GPT(**WINDOWS, dropout=0.1), TOKENS),
    models.GPTConfig: by_name(lambda: models.GPTConfig(layers=2)),
    models.Transformer: module(
        lambda: models.Transformer(**WINDOWS, hidden=8), TOKENS, array(2, 3, high=9, seed=1)
    ),
    models.TransformerConfig: by_name(lambda: models.TransformerConfig(9)),
    models.Hopfield: module(lambda: models.Hopfield(4), np.sign(array(2, 4))),
    models.ModernHopfield: module(lambda: models.ModernHopfield(array(3, 4)), array(2, 4)),
    # nnlib.train
    train.Metric: metric(Bias, array(4), array(4, seed=1)),
    train.LabelMetric: metric(Distance),
    train.FunctionMetric: metric(
        lambda: train.FunctionMetric(difference), array(4), array(4, seed=1)
    ),
    train.Accuracy: metric(train.Accuracy),
    train.ErrorRate: metric(train.ErrorRate),
    train.TopKAccuracy: metric(lambda: train.TopKAccuracy(2)),
    train.BinaryAccuracy: metric(train.BinaryAccuracy, array(4), array(4, high=2)),
    train.MeanAbsoluteError: metric(train.MeanAbsoluteError, array(4), array(4, seed=1)),
    train.MeanSquaredError: metric(train.MeanSquaredError, array(4), array(4, seed=1)),
    train.Within: metric(lambda: train.Within(0.5), array(4), array(4, seed=1)),
    train.Callback: with_callback(Counting),
    train.CSVLogger: by_name(lambda: vars(train.CSVLogger("history.csv"))),
    train.Checkpoint: by_name(lambda: vars(train.Checkpoint("best.safetensors"))),
    train.EarlyStopping: with_callback(lambda: train.EarlyStopping(patience=1)),
    train.LearningRateLogger: with_callback(train.LearningRateLogger),
    train.NaNStop: with_callback(train.NaNStop),
    train.LearningCurve: by_name(
        lambda: train.LearningCurve("accuracy", ("a",), (1,), (0,), (5,), 2)
    ),
    # nnlib.errors
    **{kind: error(kind) for kind in public_classes() if issubclass(kind, Exception)},
    nnlib.errors.BackendUnavailableError: by_name(
        lambda: nnlib.errors.BackendUnavailableError("cupy", "no-device", "There is none.", "Buy.")
    ),
    # nnlib_backends
    nnlib_backends.Backend: Sample(lambda: nnlib_backends.load_backend("numpy"), id),
    nnlib_backends.DeviceInfo: by_name(lambda: nnlib_backends.DeviceInfo("cpu", "one", 1, 2)),
    nnlib_backends.MemoryInfo: by_name(lambda: nnlib_backends.MemoryInfo(1, 2, 3)),
    nnlib_backends.Timer: Sample(
        nnlib_backends.Timer, lambda timer: [timer.start(), timer.stop(), timer.seconds() >= 0]
    ),
    nnlib_backends.KernelPair: Sample(
        lambda: nnlib_backends.KernelPair(array, plain), lambda k: k.backward
    ),
    nnlib_backends.GradOut: Sample(
        lambda: nnlib_backends.GradOut(accumulate=True), lambda out: (out.array, out.accumulate)
    ),
    nnlib_backends.PrimitiveKernel: Sample(
        lambda: nnlib_backends.PrimitiveKernel(array, {"x": plain}), lambda k: k.rules["x"]
    ),
}

WAYS = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle-{protocol}": lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
SOME_WAYS = [copy.deepcopy, WAYS["pickle-2"], WAYS[f"pickle-{pickle.HIGHEST_PROTOCOL}"]]


def test_every_public_class_has_a_sample():
    own = [kind for kind in public_classes() if kind.__module__.startswith("nnlib")]
    assert [kind.__qualname__ for kind in own if kind not in SAMPLES] == []


@pytest.mark.parametrize("kind", [k for k, s in SAMPLES.items() if s], ids=lambda k: k.__qualname__)
def test_a_copy_does_the_same(kind):
    sample = SAMPLES[kind]
    original = sample.make()
    for copies in ([way(original) for way in SOME_WAYS] for _ in range(2)):  # new, and used
        expected = sample.used(original)
        for twin in copies:
            assert type(twin) is type(original)
            assert sample.used(twin) == expected


@pytest.mark.parametrize("way", WAYS)
def test_everything_of_a_run_together(way):
    run = Sample(lambda: trainer(Counting(), precision="fp16", clip_norm=1.0), trained)
    original = run.make()
    run.used(original)
    twin, model, optimizer = WAYS[way]((original, original.model, original.optimizer))
    assert (twin.model, twin.optimizer) == (model, optimizer)
    assert twin.optimizer is twin.schedule.optimizer
    before = plain(original.model.state_dict())
    result = run.used(twin)
    assert plain(original.model.state_dict()) == before  # it has trained its own model
    assert run.used(original) == result


def test_a_shallow_copy_of_a_trainer_trains_the_same_model():
    original = trainer()
    trained(original)
    twin = copy.copy(original)
    twin.clip_norm = 1e-12  # of the twin alone
    before = plain(original.model.state_dict()["0.weight"])
    twin.optimizer.param_groups[0]["weight_decay"] = 0.0
    trained(twin)
    assert twin.model is original.model
    assert plain(original.model.state_dict()["0.weight"]) != before


@pytest.mark.parametrize("operation", nnlib.ops.__all__)
def test_operations_are_pickled_by_name(operation):
    function = getattr(nnlib.ops, operation)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function


def test_a_compiled_function_is_pickled_as_the_function():
    x = nnlib.tensor(array(4, 3))
    for _ in range(3):
        doubled(x)
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    twin = copy.deepcopy(doubled)
    assert twin.memory_bytes == 0 < doubled.memory_bytes
    assert plain(twin(x)) == plain(doubled(x))
    bound = Doubling().double
    assert plain(pickle.loads(pickle.dumps(bound))(x)) == plain(bound(x)) == plain(doubled(x))
    assert pickle.loads(pickle.dumps(Doubling.double)) is Doubling.double


def test_what_is_part_of_a_graph_is_refused():
    x = nnlib.tensor(array(2), requires_grad=True)
    for way in WAYS.values():
        with pytest.raises(GradientError, match=r"only leaves .* detach\(\)"):
            way({"y": x * 2})

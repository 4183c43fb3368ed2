"""Generated programs, with changes of state between calls, give the same results compiled."""

import random
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import nnlib
import nnlib.nn.functional as F
from nnlib import nn, optim
from nnlib.errors import CaptureWarning, NnlibError

GAIN = 1.0
CALLS = 20


@dataclass
class Options:
    """Settings that layers read; no module."""

    beta: float = 0.5
    table: dict = field(default_factory=lambda: {"gain": 2.0, "other": 3.0})
    steps: list = field(default_factory=lambda: [1.0, 0.5])
    deep: object = None

    @property
    def half(self):
        return self.beta / 2


class Settings(dict):
    """A dict whose items are attributes; asking for another name raises KeyError."""

    __getattr__ = dict.__getitem__


class Net(nn.Module):
    """A layer with numbers of its own."""

    power = 1.0

    def __init__(self, options):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.drop = nn.Dropout(0.25)
        self.norm = nn.BatchNorm1d(3)
        self.beta, self.options, self.calls, self.seen = 0.25, options, 0, None

    def forward(self, x):
        return self.norm(self.drop(self.layer(x))) * self.beta * self.power


class World:
    """A program, and all that it reads and writes."""

    def __init__(self, statements, optimizer):
        nnlib.manual_seed(3)
        random.seed(3)
        self.options = Options(deep=Options())
        self.net = Net(self.options)
        self.optimizer = OPTIMIZERS[optimizer](self.net.parameters())
        self.schedule = optim.schedules.ExponentialLR(self.optimizer, gamma=0.9)
        self.rng, self.words = np.random.default_rng(0), iter(range(10**6))
        self.settings = Settings(beta=0.5)
        self.carried, self.kept, self.count = nnlib.zeros(4, 3), [], 0
        self.memory, self.handles, self.table = {}, [], nnlib.ones(2)
        closed, shared = 1.5, [0.5]

        def in_closure(x):
            return x * closed + shared[0]

        def change(value):
            nonlocal closed
            closed, shared[0] = value, value / 2

        self.closure, self.change = in_closure, change
        self.program = [getattr(self, name) for name in statements]

    def step(self, x, n=1.0):
        y = x
        for statement in self.program:
            y = statement(y)
        return {"y": y * n, "both": (y, y)}

    # Statements --------------------------------------------------------------------------------

    def attribute(self, y):
        return y * self.options.beta

    def through_property(self, y):
        return y + self.options.half

    def nested_attribute(self, y):
        options = self.options.deep
        return y - options.beta

    def key_of_a_dict(self, y):
        return y * self.options.table["gain"]

    def items_of_a_list(self, y):
        for factor in self.options.steps:
            y = y * factor
        return y

    def in_a_global(self, y):
        return y * GAIN

    def in_a_closure(self, y):
        return self.closure(y)

    def branch(self, y):
        if self.options.beta > 0.6:
            return F.relu(y)
        return nnlib.tanh(y) if self.net.training else y

    def what_is_trained(self, y):
        for p in self.net.parameters():
            y = y + 1 if p.requires_grad else y
            y = y if p.grad is None else y * 2
        return y

    def size_of_a_tensor(self, y):
        return y + len(self.table) / 2

    def layers(self, y):
        return self.net(y)

    def counter(self, y):
        self.count += 1
        return y * (1 + self.count % 3)

    def counter_in_a_branch(self, y):
        self.net.calls += 1
        return y + 1 if self.net.calls % 4 == 0 else y

    def coin(self, y):
        return -y if random.random() < 0.5 else y

    def coin_of_numpy(self, y):
        return y + 1 if self.rng.random() < 0.3 else y

    def coin_of_nnlib(self, y):
        return y * float(nnlib.random.default_generator.integers(1, 4, 1)[0])

    def iterator(self, y):
        return y + next(self.words)

    def lazily_made(self, y):
        if "mask" not in self.memory:
            self.memory["mask"] = nnlib.ones(3) * 2
        return y * self.memory["mask"]

    def changed_in_place(self, y):
        y += 1
        y[0] = 2.0
        return y

    def carry(self, y):
        self.carried = self.carried * 0.5 + y.detach()[:4]
        return y + self.carried.mean()

    def carry_in_place(self, y):
        self.carried[0] = y.detach()[0]
        return y + self.carried[0]

    def seen_from_outside(self, y):
        self.net.seen = y.detach() * 2
        return y

    def appended(self, y):
        self.kept.append(y.detach().sum())
        return y

    def bare_array(self, y):
        data = y.data
        return y + nnlib.tensor(np.asarray(y.backend.to_numpy(data)).round())

    def noise(self, y):
        return y + nnlib.randn(3) * 0.1

    def own_leaf(self, y):
        w = y.detach()
        w.requires_grad = True
        (w * w).sum().backward()
        return y + w.grad

    def gradient(self, y):
        return y + nnlib.grad(lambda w: (F.softmax(w) ** 2).sum())(y.detach())

    def without_gradient(self, y):
        with nnlib.no_grad():
            return y * 2

    def training(self, y):
        self.optimizer.zero_grad()
        loss = (self.net(y.detach()) ** 2).mean()
        loss.backward()
        optim.clip_grad_norm_(self.net.parameters(), self.options.table["other"])
        self.optimizer.step()
        return y + loss.detach()

    def schedule_inside(self, y):
        self.training(y)
        self.schedule.step()
        return y

    def update_by_hand(self, y):
        if not self.net.layer.weight.requires_grad:
            return y
        self.net.layer.weight.grad = None
        self.net.layer(y.detach()).sum().backward()
        with nnlib.no_grad():
            self.net.layer.weight -= 0.01 * self.net.layer.weight.grad
        return y

    def view(self, y):
        return y.reshape(-1, 3).T.T

    def by_name(self, y):
        return y * getattr(self.settings, "beta")  # noqa: B009

    # What happens between calls ------------------------------------------------------------------

    def event(self, name, i):
        global GAIN
        net, options, group = self.net, self.options, self.optimizer.param_groups[0]
        match name:
            case "beta":
                options.beta = options.deep.beta = 0.5 + 0.1 * (i % 3)
            case "settings":
                self.settings["beta"] = 0.5 + i % 2
            case "table":
                options.table["gain"] = 1.0 + i % 2
            case "list":
                options.steps.append(0.5 + i % 2)
            case "whole":
                options.deep = Options(beta=float(i % 2))
            case "global":
                GAIN = 1.0 + i % 2
            case "closure":
                self.change(1.0 + i % 2)
            case "net":
                net.beta = 0.25 * (1 + i % 2)
            case "class":
                Net.power = 1.0 + i % 2
            case "p":
                net.drop.p = 0.25 if net.drop.p == 0.5 else 0.5
            case "momentum":
                net.norm.momentum = 0.1 + 0.2 * (i % 2)
            case "mode":
                net.train(not net.training)
            case "freeze":
                net.layer.requires_grad_(not net.layer.weight.requires_grad)
            case "lr":
                group["lr"] = 0.1 / (1 + i)
            case "decay":
                group["weight_decay"] = 0.01 * (i % 2)
            case "buffer":
                net.norm.running_mean = nnlib.full(3, 0.5)
            case "buffer in place":
                net.norm.running_var.fill_(2.0)
            case "weight":
                net.layer.bias = nn.Parameter(nnlib.full(3, 0.1))
            case "state":
                halves = {k: v * 0.5 for k, v in net.state_dict().items() if "b" not in k}
                net.load_state_dict(halves, strict=False)
            case "seed":
                nnlib.manual_seed(i)
            case "hook":
                if self.handles:
                    self.handles.pop()()
                elif net.layer.weight.requires_grad:
                    self.handles.append(net.layer.weight.register_hook(lambda g: g * 0.5))
            case "carried":
                self.carried = nnlib.ones(4, 3)
            case "array":
                self.table.data = nnlib.ones(2 + i % 2).data

    def state(self):
        generator = nnlib.random.default_generator.state_dict()
        values = {name: v.numpy() for name, v in self.net.state_dict().items()}
        for name, p in self.net.named_parameters():
            values |= {} if p.grad is None else {f"{name}.grad": p.grad.numpy()}
        values |= {"carried": self.carried.numpy()}
        values |= {f"kept {i}": v.numpy() for i, v in enumerate(self.kept)}
        values |= {} if self.net.seen is None else {"seen": self.net.seen.numpy()}
        return values, (generator, self.count, self.net.calls, random.getstate())


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: optim.AdamW(p, lr=0.01),
}
EVENTS = [
    "beta", "settings", "table", "list", "whole", "global", "closure", "net", "class", "p",
    "momentum", "mode", "freeze", "lr", "decay", "buffer", "buffer in place", "weight", "state",
    "seed", "hook", "carried", "array",
]  # fmt: skip
STATEMENTS = [
    name
    for name, value in vars(World).items()
    if callable(value) and not name.startswith("_") and name not in ("step", "event", "state")
]
#: statements that can be replayed; the others run uncompiled, with a warning
GUARDED = [
    *STATEMENTS[: STATEMENTS.index("counter")], "lazily_made", "changed_in_place",
    "carry_in_place", "noise", "own_leaf", "gradient", "without_gradient", "training",
    "update_by_hand", "view", "by_name",
]  # fmt: skip


def run(statements, events, optimizer, compiled, numbers):
    """Twenty calls, or until one raises; all that can be seen after each."""
    global GAIN
    GAIN, Net.power = 1.0, 1.0
    world = World(statements, optimizer)
    step = nnlib.compile(world.step) if compiled else world.step
    rng = np.random.default_rng(1)
    for i in range(CALLS):
        if i in events:
            world.event(events[i], i)
        x = nnlib.tensor(rng.standard_normal((4, 3)).astype("float32"))
        try:
            result = step(x, numbers[i % len(numbers)])
        except NnlibError as error:
            yield {"error": str(error)}, type(error)
            return
        arrays, rest = world.state()
        arrays |= {name: v.numpy() for name, v in (("x", x), ("y", result["y"]))}
        arrays["both"] = result["both"][1].numpy()
        yield {name: (v.dtype, v.shape, v.tobytes()) for name, v in arrays.items()}, rest


def check(statements, events, optimizer, numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        eager = list(run(statements, events, optimizer, False, numbers))
        compiled = list(run(statements, events, optimizer, True, numbers))
    for i, ((arrays, rest), (others, other_rest)) in enumerate(zip(eager, compiled, strict=True)):
        assert arrays.keys() == others.keys(), f"call {i}"
        unlike = [name for name in arrays if arrays[name] != others[name]]
        assert not unlike, f"call {i}: {unlike}"
        assert rest == other_rest, f"call {i}"


PROGRAMS = {
    "statements": st.one_of(
        st.lists(st.sampled_from(names), min_size=1, max_size=5) for names in (GUARDED, STATEMENTS)
    ),
    "events": st.dictionaries(st.integers(1, CALLS - 1), st.sampled_from(EVENTS), max_size=6),
    "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
    "numbers": st.sampled_from(
        [(1.0,), (1.0, 2.0), (1, 1.0, True), (0.0, -0.0), (np.float32(2),), (np.int64(2), 2)]
    ),
}
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=25, derandomize=True, **QUIET)
@given(**PROGRAMS)
@example(["update_by_hand"], {1: "freeze", 3: "freeze"}, "adam", (1.0,))
@example(["what_is_trained"], {4: "freeze", 7: "freeze"}, "sgd", (1.0,))
@example(["size_of_a_tensor"], {4: "array", 7: "array"}, "sgd", (1.0,))
def test_drawn_programs(statements, events, optimizer, numbers):
    check(statements, events, optimizer, numbers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "strict"])
@settings(max_examples=300, **QUIET)
@given(**PROGRAMS)
def test_many_drawn_programs(name, statements, events, optimizer, numbers):
    with nnlib.use_backend(name):
        check(statements, events, optimizer, numbers)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement(statement):
    check([statement, "attribute", "layers"], {4: "beta", 7: "mode", 9: "beta"}, "sgd", (1.0,))


@pytest.mark.parametrize("statement", GUARDED)
def test_each_that_can_be_followed_is_replayed(statement):
    world = World([statement], "sgd")
    compiled = nnlib.compile(world.step)
    for _ in range(6):
        compiled(nnlib.ones(4, 3))
    (specialization,) = compiled._specializations.values()
    assert specialization.replayed >= 3


@pytest.mark.parametrize("event", EVENTS)
def test_each_event(event):
    """With all that reads a number, and a training step."""
    reads = [*STATEMENTS[: STATEMENTS.index("counter")], "by_name"]
    check([*reads, "training"], {5: event, 6: event, 11: event, 12: "mode"}, "adam", (1.0,))

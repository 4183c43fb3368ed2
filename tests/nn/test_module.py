import copy
import pickle

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import (
    CaptureError,
    DTypeError,
    NnlibError,
    OptionError,
    ShapeError,
    StateError,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.classifier = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)])
        self.scale = nn.Parameter([1.0, 2.0])
        self.register_buffer("seen", nnlib.zeros(2))

    def forward(self, x):
        x = self.features(x)
        for layer in self.classifier:
            x = layer(x)
        return x * self.scale


NAMES = [
    "scale",
    "features.0.weight",
    "features.0.bias",
    "classifier.0.weight",
    "classifier.0.bias",
    "classifier.1.weight",
    "classifier.1.bias",
    "classifier.2.weight",
    "classifier.2.bias",
]


def test_parameters_buffers_and_modules_are_found_by_path():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["seen"]
    assert list(net.state_dict()) == [*NAMES, "seen"]
    assert [name for name, _ in net.named_children()] == ["features", "classifier"]
    assert [name for name, _ in net.named_modules()][:4] == [
        "",
        "features",
        "features.0",
        "features.1",
    ]
    assert len(list(net.parameters())) == 9
    assert next(iter(net.buffers())) is net.seen


def test_shared_parameters_count_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    layer = nn.Linear(2, 2)
    assert len(list(nn.Sequential(layer, layer).parameters())) == 2


def test_assigning_replaces_and_deleting_forgets():
    net = Net()
    net.scale = None
    assert "scale" not in net.state_dict()
    net.scale = nn.Parameter([3.0, 3.0])
    net.seen = nnlib.ones(2)
    assert net.state_dict()["seen"].tolist() == [1, 1]
    del net.features
    assert not any(name.startswith("features") for name in net.state_dict())
    with pytest.raises(AttributeError):
        net.features  # noqa: B018


def test_replaced_layer_keeps_its_place():
    net = Net()
    net.features = nn.Sequential(nn.Linear(4, 3))
    assert [name for name, _ in net.named_children()] == ["features", "classifier"]


def test_train_and_eval_reach_every_module():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train()[1][0].training


def test_hooks_see_input_and_output_until_removed():
    layer, calls = nn.Linear(2, 1), []
    remove = layer.register_forward_hook(lambda *seen: calls.append(seen))
    x = nnlib.ones(3, 2)
    y = layer(x)
    assert calls[0][0] is layer
    assert calls[0][1][0] is x
    assert calls[0][2] is y
    remove()
    layer(x)
    assert len(calls) == 1


def test_frozen_layers_get_no_gradient():
    net = Net()
    net.features.requires_grad_(False)
    net(nnlib.ones(1, 4)).sum().backward()
    assert net.features[0].weight.grad is None
    assert net.classifier[0].weight.grad is not None
    assert net.scale.grad is not None
    net.zero_grad()
    assert net.scale.grad is None
    net.features.requires_grad_()
    net(nnlib.ones(1, 4)).sum().backward()
    assert net.features[0].weight.grad is not None


def test_apply_goes_innermost_first():
    order = []
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Tanh()))
    assert net.apply(lambda module: order.append(type(module).__name__)) is net
    assert order == ["Tanh", "Sequential", "Linear", "Sequential"]


def test_repr_draws_the_tree():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.Dropout(0.1)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): Dropout(p=0.1)\n"
        "  )\n"
        ")"
    )


def test_error_names_layer_and_path():
    net = Net()
    net.classifier[2] = nn.Linear(7, 2)
    with pytest.raises(ShapeError, match=r"in_features = 7.*\[in Linear at 'classifier.2'\]$"):
        net(nnlib.ones(1, 4))
    outer = nn.Sequential(nn.Identity(), net)
    with pytest.raises(ShapeError, match=r"\[in Linear at '1.classifier.2'\]$"):
        outer(nnlib.ones(1, 4))
    with pytest.raises(NnlibError, match=r"\[in Linear\]$"):
        nn.Linear(2, 1)(nnlib.ones(1, 3))


def test_module_without_forward_or_init():
    with pytest.raises(TypeError, match=r"must define forward\(\)"):
        nn.Module()(1)

    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(StateError, match=r"Forgetful must call super\(\).__init__\(\) first"):
        Forgetful()


def test_buffers_may_be_absent_and_may_stay_out_of_the_state():
    net = nn.Module()
    net.register_buffer("mean", None)
    net.register_buffer("mask", nnlib.ones(2), persistent=False)
    assert net.mean is None
    assert list(net.state_dict()) == []
    assert [name for name, _ in net.named_buffers()] == ["mask"]
    net.mean = nnlib.zeros(2)
    assert list(net.state_dict()) == ["mean"]
    net.mean = None
    assert list(net.state_dict()) == []
    assert net.load_state_dict({}).complete
    assert net.to("strict").mask.backend.name == "strict"
    net.register_buffer("mask", nnlib.ones(2))
    assert list(net.state_dict()) == ["mask"]
    with pytest.raises(DTypeError, match=r"a buffer must be a tensor\. Received: list"):
        net.register_buffer("mask", [1.0])


def test_a_parameter_may_become_a_buffer():
    net = Net()
    net.register_buffer("scale", nnlib.ones(2))
    assert [name for name, _ in net.named_buffers()] == ["seen", "scale"]
    assert "scale" not in dict(net.named_parameters())


def test_names_given_as_values():
    net = nn.Module()
    net.add_module("head", nn.Linear(2, 1))
    net.register_parameter("scale", nn.Parameter([1.0]))
    assert list(net.state_dict()) == ["scale", "head.weight", "head.bias"]


@pytest.mark.parametrize("name", ["train", "forward", "a.b", ""])
def test_names_that_would_hide_a_method_or_split_a_path(name):
    for register, value in [
        (nn.Module().add_module, nn.Tanh()),
        (nn.Module().register_parameter, nn.Parameter([1.0])),
        (nn.Module().register_buffer, nnlib.ones(1)),
    ]:
        with pytest.raises(OptionError, match=f"without dots.*Received: {name!r}"):
            register(name, value)


def test_submodule_by_path():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("classifier.1") is net.classifier[1]
    with pytest.raises(StateError, match=r"'features.7'.*Received: '7', while Sequential has 0, 1"):
        net.get_submodule("features.7")


# State ---------------------------------------------------------------------------------------


def snapshot(net):
    return {name: value.numpy() for name, value in net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_state_dict_travels_between_models(backend):
    a, b = Net(), Net()
    assert not same(snapshot(a), snapshot(b))
    assert b.load_state_dict(a.state_dict()).complete
    assert same(snapshot(a), snapshot(b))


def test_state_dict_travels_between_backends():
    a = Net()
    with nnlib.use_backend("strict"):
        b = Net()
    b.load_state_dict(a.state_dict())
    assert same(snapshot(a), snapshot(b))
    a.load_state_dict({name: 2 * value for name, value in snapshot(b).items()})  # bare arrays
    assert same(snapshot(a), {name: 2 * value for name, value in snapshot(b).items()})
    assert b.scale.backend.name == "strict"


def test_state_dict_shares_memory_and_is_detached():
    net = Net()
    state = net.state_dict()
    assert not state["scale"].requires_grad
    state["scale"].fill_(5.0)
    assert net.scale.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("classifier.0.bias"), "missing: classifier.0.bias"),
        (lambda state: state.update(extra=np.zeros(3)), "unexpected: extra"),
        (
            lambda state: state.update(scale=np.zeros(3)),
            r"scale must be floating-point numbers of shape \(2,\), received float64 \(3,\)",
        ),
        (
            lambda state: state.update({"classifier.2.bias": np.array(["a", "b"])}),
            r"classifier.2.bias must be floating.* of shape \(2,\), received <U1 \(2,\)",
        ),
        (lambda state: state.update(seen=[1.0, 2.0]), "seen must be floating.* received list"),
    ],
)
def test_state_that_does_not_fit_changes_nothing(change, message):
    net = Net()
    before = snapshot(net)
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(StateError, match=message):
        net.load_state_dict(state)
    assert same(snapshot(net), before)


def test_loose_loading_tells_what_did_not_fit():
    net = Net()
    report = net.load_state_dict(
        {"scale": np.array([8.0, 9.0]), "head.weight": np.zeros(1)}, strict=False
    )
    assert net.scale.tolist() == [8, 9]
    assert report.matched == ["scale"]
    assert report.missing == [*NAMES[1:], "seen"]
    assert report.unexpected == ["head.weight"]
    with pytest.raises(StateError, match="scale must be floating"):
        net.load_state_dict({"scale": np.zeros(3)}, strict=False)


def test_other_shapes_are_left_out_only_if_asked(backend):
    net = Net()
    before = snapshot(net)
    state = {name: value + 1 for name, value in before.items()} | {"scale": np.zeros(3)}
    with pytest.raises(StateError, match="scale must be floating"):
        net.load_state_dict(state)
    assert same(snapshot(net), before)
    report = net.load_state_dict(state, skip_mismatch=True)
    assert list(report.mismatched) == ["scale"]
    assert report.matched == [*NAMES[1:], "seen"]
    assert not report.complete
    assert same(snapshot(net), {**before, **{name: before[name] + 1 for name in report.matched}})


def test_a_report_is_readable():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    state = {"0.weight": np.ones((3, 2)), "0.bias": np.ones(4), "extra": np.ones(1)}
    assert str(net.load_state_dict(state, strict=False, skip_mismatch=True)).splitlines() == [
        "1 of 9 values of Sequential were loaded",
        "  mismatched, left as they were (1):",
        "    0.bias must be floating-point numbers of shape (3,), received float64 (4,)",
        "  missing, left as they were (7):",
        *(f"    1.{name}" for name in ("weight", "bias")),
        *(f"    2.{name}" for name in ("weight", "bias")),
        *(f"    1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")),
        "  unexpected, not used (1):",
        "    extra",
    ]
    long = nn.Sequential(*[nn.PReLU() for _ in range(20)])
    text = str(long.load_state_dict({"0.weight": np.ones(1)}, strict=False))
    assert text.splitlines()[-1] == "    … and 7 more"


@pytest.mark.parametrize("skip", [False, True])
def test_a_state_of_which_nothing_matches_is_never_taken(skip):
    """For instance names with a prefix: loading none of them would go unnoticed."""
    net = Net()
    state = {f"module.{name}": value for name, value in snapshot(net).items()}
    with pytest.raises(StateError, match=r"nothing in it matches: it has module.scale, ….*scale"):
        net.load_state_dict(state, strict=False, skip_mismatch=skip)
    with pytest.raises(StateError, match=r"nothing in it matches: it has scale must be"):
        net.load_state_dict({"scale": np.zeros(3)}, strict=False, skip_mismatch=True)


def test_moving_keeps_the_parameter_objects(backend):
    with nnlib.use_backend("numpy"):
        net = Net()
    net.scale.requires_grad = False
    before, ids = snapshot(net), [id(p) for p in net.parameters()]
    assert net.to(backend) is net
    assert [id(p) for p in net.parameters()] == ids
    assert {value.backend.name for value in net.state_dict().values()} == {backend.name}
    assert same(snapshot(net), before)
    assert not net.scale.requires_grad
    net(nnlib.ones(1, 4)).sum().backward()
    assert net.features[0].weight.grad.backend is backend


def test_astype_converts_floats_only(backend):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net[0].weight.requires_grad = False
    counters = {name: value.dtype for name, value in net.named_buffers() if value.dtype.kind != "f"}
    assert net.astype("float64") is net
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    assert counters.items() <= {name: value.dtype for name, value in net.named_buffers()}.items()
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    net(nnlib.ones(4, 3, dtype="float64")).sum().backward()
    assert net[1].weight.grad.dtype == "float64"


class Remembering(nn.Module):
    """Holds what is hard to copy: shared parameters, hooks of its own, their handles."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.again = [self.first]  # not a registered place
        self.calls = 0
        self.handle = self.first.register_forward_hook(self.count)
        self.register_buffer("seen", nnlib.zeros(2))
        self.register_buffer("passing", nnlib.ones(1), persistent=False)

    def count(self, module, inputs, output):
        self.calls += 1
        self.seen += output.detach()[0]

    def forward(self, x):
        return self.second(self.first(x))


COPIES = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
class TestCopies:
    def test_what_is_shared_stays_shared(self, copied, backend):
        model = Remembering()
        x = nnlib.ones(1, 2)
        model(x).sum().backward()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        optimizer.step()
        twin, its_optimizer = copied((model, optimizer))
        assert twin.second.weight is twin.first.weight is not model.first.weight
        assert twin.again[0] is twin.first
        assert [name for name, _ in twin.named_parameters()] == [
            name for name, _ in model.named_parameters()
        ]
        assert list(twin.state_dict()) == list(model.state_dict())
        assert twin.first.weight.grad.tolist() == model.first.weight.grad.tolist()
        assert twin.first.weight.backend is backend
        before = model.first.weight.tolist()
        its_optimizer.step()
        assert model.first.weight.tolist() == before != twin.first.weight.tolist()
        optimizer.step()
        assert model.first.weight.tolist() == twin.first.weight.tolist()

    def test_hooks_and_their_handles_are_the_copy_s(self, copied):
        model = Remembering()
        twin = copied(model)
        twin(nnlib.ones(1, 2))
        assert (model.calls, twin.calls) == (0, 1)
        twin.handle.remove()
        twin(nnlib.ones(1, 2))
        model(nnlib.ones(1, 2))
        assert (model.calls, twin.calls) == (1, 1)

    def test_after_compiling(self, copied, backend):
        model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        x = nnlib.ones(1, 2)
        step = nnlib.compile(lambda x: model(x))
        expected = [step(x).tolist() for _ in range(3)][-1]
        twin = copied(model)
        with nnlib.no_grad():
            model[0].weight.zero_()
        assert twin(x).tolist() == expected


def test_a_shallow_copy_shares_parameters_but_not_the_places_for_them():
    model = Remembering()
    twin = copy.copy(model)
    assert twin.first.weight is model.first.weight
    twin.first = nn.Linear(2, 3)
    twin.third = nn.Linear(3, 3)
    assert model.first.out_features == 2
    assert "third" not in dict(model.named_children())


def test_a_copy_is_no_part_of_a_recording():
    w = nnlib.ones(2, requires_grad=True)
    with pytest.raises(CaptureError, match="deepcopy"):
        nnlib.compile(lambda x: copy.deepcopy(w) * x)(nnlib.ones(2))


class Foreign:
    """An array of a library that is no backend, as its objects show themselves."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape
        self.dtype = f"foreign.{values.dtype}"

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_state_of_another_library(backend):
    layer = nn.Linear(2, 2)
    state = {"weight": Foreign(np.eye(2)), "bias": Foreign(np.zeros(2, "float16"))}
    assert layer.load_state_dict(state).complete
    assert layer(nnlib.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]
    with pytest.raises(StateError, match=r"bias must be .* received foreign"):
        layer.load_state_dict({"bias": Foreign(np.zeros(2, "int64"))}, strict=False)


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_state_of_a_torch_module(dtype):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Linear(3, 2).to(getattr(torch, dtype))
    for state in (theirs.state_dict(), dict(theirs.named_parameters())):  # with gradients, too
        ours = nn.Linear(3, 2)
        ours.load_state_dict(state)
        np.testing.assert_array_equal(ours.weight.numpy(), theirs.weight.detach().float().numpy())
    sparse = {"weight": torch.eye(2).to_sparse(), "bias": torch.zeros(2)}
    with pytest.raises(StateError, match="weight must be"):
        nn.Linear(2, 2).load_state_dict(sparse)

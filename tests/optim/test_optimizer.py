import json

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib.errors import (
    BackendMismatchError,
    DTypeError,
    GradientError,
    OptionError,
    ShapeError,
    StateError,
)

# Adagrad's steps shrink, so it starts with large ones.
ALL = {
    "sgd": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.1),
    "adam": lambda params: optim.Adam(params, lr=0.1, amsgrad=True),
    "adamw": lambda params: optim.AdamW(params, lr=0.1),
    "rmsprop": lambda params: optim.RMSprop(params, momentum=0.9, centered=True),
    "adagrad": lambda params: optim.Adagrad(params, lr=0.5, lr_decay=0.01),
}


@pytest.fixture(params=ALL)
def make(request):
    return ALL[request.param]


def values(params):
    return [p.numpy() for p in params]


def assert_equal(these, those):
    for x, y in zip(these, those, strict=True):
        np.testing.assert_array_equal(x, y)


class TestStep:
    def test_learns(self, make, backend):
        x = nnlib.randn(64, 3)
        w = nnlib.tensor([[1.0], [-2.0], [0.5]])
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())
        losses = []
        for _ in range(30):
            loss = ((model(x) - x @ w) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.2 * losses[0]

    def test_reads_nothing_and_copies_nothing(self, make, make_params, give_gradients):
        with nnlib.use_backend("strict"):
            params = make_params()
            optimizer = make(params)
            for seed in range(2):  # the first step makes the state
                give_gradients(params, seed)
                with strict_backend.counting() as counts:
                    optimizer.step()
                    optimizer.zero_grad()
                assert counts.reads == counts.transfers == 0, counts.where

    def test_keeps_dtype_and_memory(self, make, make_params, give_gradients, backend):
        for dtype in ("float16", "float32", "float64"):
            params = make_params(dtype=dtype)
            optimizer = make(params)
            arrays = [p.data for p in params]
            give_gradients(params, 0)
            optimizer.step()
            for p, array in zip(params, arrays, strict=True):
                assert p.data is array
                assert p.dtype == dtype
                entries = optimizer.state[p]
                wide = "float32" if dtype == "float16" else dtype
                assert {entries[name].dtype.name for name in entries if name != "step"} <= {wide}

    def test_is_the_same_on_every_backend(self, make, make_params, give_gradients, backend):
        results = []
        for name in ("numpy", backend.name):
            with nnlib.use_backend(name):
                params = make_params(dtype="float64")
                optimizer = make(params)
                for seed in range(5):
                    give_gradients(params, seed)
                    optimizer.step()
                results.append(values(params))
        for x, y in zip(*results, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)

    def test_marks_parameters_as_changed(self, make, make_params, backend):
        (w,) = make_params(shapes=[(3,)])
        loss = (w * w).sum()
        w.grad = nnlib.ones(3)
        make([w]).step()
        with pytest.raises(GradientError, match="changed in place"):
            loss.backward()

    def test_parameters_without_a_gradient_stay(self, make, make_params, give_gradients, backend):
        params = make_params()
        before = values(params)
        optimizer = make(params)
        optimizer.step()
        assert_equal(values(params), before)
        give_gradients(params[:1], 0)
        params[2].requires_grad = False  # frozen
        optimizer.step()
        assert_equal(values(params[1:]), before[1:])
        assert list(optimizer.state) == params[:1]

    def test_empty_parameters(self, make, backend):
        p = nnlib.zeros(0, 3, requires_grad=True)
        p.grad = nnlib.zeros(0, 3)
        make([p]).step()
        assert p.shape == (0, 3)

    def test_gradients_stay_until_zero_grad(self, make, make_params, give_gradients, backend):
        params = make_params()
        give_gradients(params, 0)
        before = values(p.grad for p in params)
        optimizer = make(params)
        optimizer.step()
        assert_equal(values(p.grad for p in params), before)
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)

    def test_options_are_checked_again(self, make_params, give_gradients):
        params = make_params()
        optimizer = optim.SGD(params)
        give_gradients(params, 0)
        optimizer.param_groups[0]["lr"] = float("nan")
        with pytest.raises(OptionError, match="lr must be a number >= 0"):
            optimizer.step()

    def test_a_numpy_number_as_learning_rate_promotes_nothing(self, make_params, give_gradients):
        results = []
        for lr in (0.1, np.float64(0.1)):
            params = make_params()
            optimizer = optim.SGD(params)
            optimizer.param_groups[0]["lr"] = lr
            give_gradients(params, 0)
            optimizer.step()
            results.append(values(params))
        assert_equal(*results)

    def test_gradients_set_by_hand_must_be_like_the_parameter(self, make, backend):
        p = nnlib.ones(2, requires_grad=True)
        with pytest.raises(DTypeError, match=r"float32 tensor. Received: float64 \(2,\)"):
            p.grad = nnlib.ones(2, dtype="float64")
        other = "strict" if backend.name == "numpy" else "numpy"
        p.grad = nnlib.ones(2, backend=other)
        with pytest.raises(BackendMismatchError, match=f"'{other}' for a parameter on"):
            make([p]).step()


class TestBackends:
    def test_parameters_on_two_backends(self, make, give_gradients):
        here = nnlib.ones(3, requires_grad=True, backend="numpy")
        there = nnlib.ones(3, requires_grad=True, backend="strict")
        optimizer = make([here, there])
        for seed in range(3):
            give_gradients([here], seed)
            give_gradients([there], seed)
            optimizer.step()
        assert there.backend.name == "strict"
        np.testing.assert_allclose(here.numpy(), there.numpy(), rtol=1e-6)

    def test_state_follows_a_moved_parameter(self, make, give_gradients):
        results = []
        for target in ("numpy", "strict"):
            nnlib.manual_seed(0)
            model = nn.Linear(3, 2)
            params = list(model.parameters())
            optimizer = make(params)
            give_gradients(params, 0)
            optimizer.step()
            model.to(target)
            give_gradients(params, 1)
            optimizer.step()
            assert {p.backend.name for p in params} == {target}
            results.append(values(params))
        for x, y in zip(*results, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)


class TestGroups:
    def test_own_options(self, backend):
        a, b = (nnlib.ones(1, requires_grad=True) for _ in range(2))
        optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
        a.grad, b.grad = nnlib.ones(1), nnlib.ones(1)
        optimizer.step()
        assert (a.item(), b.item()) == (0.75, 0.5)

    def test_added_later(self, make_params, give_gradients):
        params = make_params()
        optimizer = optim.SGD(params[:1])
        optimizer.add_param_group({"params": iter(params[1:]), "momentum": 0.5})
        assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.5]
        give_gradients(params, 0)
        optimizer.step()
        assert len(optimizer.state) == 3

    def test_repr_shows_them(self, make_params):
        text = repr(optim.SGD([{"params": make_params(), "name": "body"}], lr=0.5))
        assert text.startswith("SGD(\n  3 parameters: lr=0.5, momentum=0.0,")
        assert "name='body'" in text


class TestWrongParameters:
    @pytest.mark.parametrize("params", [[], iter(()), [{"params": []}]])
    def test_none(self, params):
        with pytest.raises(OptionError, match="at least one parameter"):
            optim.SGD(params)

    def test_no_iterable_of_tensors(self):
        p = nnlib.ones(2, requires_grad=True)
        for wrong in (p, 3, None, "weights", {"params": [p]}, nn.Linear(2, 1)):
            with pytest.raises(DTypeError, match="an iterable of tensors or of groups"):
                optim.SGD(wrong)
        with pytest.raises(DTypeError, match=r"must be tensors\. Received: ndarray"):
            optim.SGD([np.ones(3)])
        with pytest.raises(DTypeError, match="without names"):
            optim.SGD(nn.Linear(2, 1).named_parameters())

    def test_twice(self):
        p = nnlib.ones(2, requires_grad=True)
        with pytest.raises(OptionError, match=r"Received twice: float32 \(2,\)"):
            optim.SGD([p, p])
        with pytest.raises(OptionError, match="Received twice"):
            optim.SGD([{"params": [p]}, {"params": [p]}])

    def test_equal_values_are_not_the_same_parameter(self):
        optim.SGD([nnlib.ones(2, requires_grad=True), nnlib.ones(2, requires_grad=True)])

    def test_no_leaf(self):
        p = nnlib.ones(2, requires_grad=True)
        with pytest.raises(GradientError, match="must be a leaf"):
            optim.SGD([p * 2])

    def test_integers(self):
        with pytest.raises(DTypeError, match=r"must be floating-point\. Received: int64"):
            optim.SGD([nnlib.arange(3)])

    def test_misspelt_option(self):
        p = nnlib.ones(2, requires_grad=True)
        with pytest.raises(OptionError, match=r"'momentun'\. Did you mean 'momentum'\?"):
            optim.SGD([{"params": [p], "momentun": 0.9}])

    def test_no_group(self):
        optimizer = optim.SGD([nnlib.ones(2, requires_grad=True)])
        for wrong in ({"lr": 0.1}, [nnlib.ones(2)]):
            with pytest.raises(OptionError, match="a dict with 'params'"):
                optimizer.add_param_group(wrong)


class TestState:
    def test_round_trip_continues_identically(self, make, make_params, give_gradients, backend):
        params = make_params()
        optimizer = make(params)
        for seed in range(3):
            give_gradients(params, seed)
            optimizer.step()
        again = [nnlib.tensor(p.data.copy(), requires_grad=True) for p in params]
        other = make(again)
        other.load_state_dict(optimizer.state_dict())
        for seed in range(3, 6):
            for side, target in ((optimizer, params), (other, again)):
                give_gradients(target, seed)
                side.step()
        assert_equal(values(params), values(again))

    def test_loads_arrays_of_the_other_backend(self, make, make_params, give_gradients, backend):
        params = make_params()
        optimizer = make(params)
        give_gradients(params, 0)
        optimizer.step()
        saved = optimizer.state_dict()
        for entries in saved["state"].values():
            for name in set(entries) - {"step"}:
                entries[name] = entries[name].numpy()
        with nnlib.use_backend("strict" if backend.name == "numpy" else "numpy") as there:
            other = make(make_params())
            other.load_state_dict(saved)
            for p, q in zip(params, other.state, strict=True):
                for name in set(optimizer.state[p]) - {"step"}:
                    loaded = other.state[q][name]
                    assert loaded.backend is there
                    assert_equal([loaded.numpy()], [optimizer.state[p][name].numpy()])

    def test_options_come_back(self, make_params):
        optimizer = optim.Adam(make_params(), lr=0.1, betas=(0.5, 0.6))
        saved = json.loads(json.dumps(optimizer.state_dict()))
        other = optim.Adam(make_params())
        other.load_state_dict(saved)
        assert other.param_groups[0]["lr"] == 0.1
        assert other.param_groups[0]["betas"] == (0.5, 0.6)

    def test_form_is_pytorchs(self, make_params, give_gradients):
        params = make_params()
        optimizer = optim.SGD([{"params": params[:2]}, {"params": params[2:]}], momentum=0.9)
        give_gradients(params[1:], 0)
        optimizer.step()
        saved = optimizer.state_dict()
        assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
        assert set(saved["state"]) == {1, 2}
        assert set(saved["state"][1]) == {"step", "momentum_buffer"}
        assert saved["state"][1]["momentum_buffer"].shape == (5,)

    @pytest.fixture
    def saved(self, make_params, give_gradients):
        params = make_params()
        optimizer = optim.Adam(params)
        give_gradients(params, 0)
        optimizer.step()
        return optimizer.state_dict()

    def refuses(self, make_params, give_gradients, saved, error, match):
        params = make_params()
        optimizer = optim.Adam(params, lr=0.5)
        give_gradients(params, 1)
        optimizer.step()
        before = json.dumps(optimizer.state_dict(), default=lambda t: t.tolist())
        with pytest.raises(error, match=match):
            optimizer.load_state_dict(saved)
        assert json.dumps(optimizer.state_dict(), default=lambda t: t.tolist()) == before

    @pytest.mark.parametrize(
        ("spoil", "match"),
        [
            (lambda s: s.pop("state"), "must have 'state' and 'param_groups'"),
            (lambda s: s["param_groups"].append(s["param_groups"][0]), r"1 group\(s\) with \[3\]"),
            (lambda s: s["param_groups"][0]["params"].pop(), r"Received: \[2\]"),
            (lambda s: s["param_groups"][0].pop("betas"), "must be of Adam, with the options lr"),
            (lambda s: s["param_groups"][0].update(momentum=0.9), "Received: lr, betas"),
            (lambda s: s["state"].update({7: {"step": 1}}), "parameters 0 … 2. Received: 7"),
            (lambda s: s["state"][1].pop("exp_avg"), r"parameter 1 must have \['exp_avg', "),
            (lambda s: s["state"][1].update(sum=1), "Received: .*'sum'"),
            (lambda s: s["state"][1].update(step=-1), "must be an integer >= 0. Received: -1"),
            (lambda s: s["state"][1].update(step=1.5), "must be an integer >= 0"),
            (lambda s: s["state"][1].update(exp_avg=3.0), r"shape \(5,\). Received: 3.0"),
            (
                lambda s: s["state"][1].update(exp_avg=np.zeros((5, 1))),
                r"exp_avg of parameter 1 must have the shape \(5,\). Received: float64 \(5, 1\)",
            ),
        ],
    )
    def test_wrong_state_changes_nothing(self, make_params, give_gradients, saved, spoil, match):
        spoil(saved)
        self.refuses(make_params, give_gradients, saved, StateError, match)

    def test_wrong_option_changes_nothing(self, make_params, give_gradients, saved):
        saved["param_groups"][0]["lr"] = -1.0
        self.refuses(make_params, give_gradients, saved, OptionError, "lr must be")

    def test_of_another_optimizer(self, make_params):
        with pytest.raises(StateError, match="must be of SGD"):
            optim.SGD(make_params()).load_state_dict(optim.Adam(make_params()).state_dict())


def test_setting_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ShapeError):
        nnlib.ones(2, requires_grad=True).grad = nnlib.ones(3)


class TestEditedGroups:
    """What is done to `param_groups` by hand counts at the next step, or is an error."""

    @staticmethod
    def parameters(count):
        params = [nnlib.ones(2, requires_grad=True) for _ in range(count)]
        for p in params:
            p.grad = nnlib.ones(2)
        return params

    @pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.Adagrad])
    @pytest.mark.parametrize(
        "edit",
        [
            lambda groups, q: groups[0]["params"].__setitem__(0, q),
            lambda groups, q: groups[0]["params"].append(q),
            lambda groups, q: groups[0].update(params=[q]),
            lambda groups, q: groups[0].update(params=q),
            lambda groups, q: groups[0].update(params=iter([q])),
            lambda groups, q: groups.append({"params": [q]}),
            lambda groups, q: groups.append({"params": (x for x in [q])}),
            lambda groups, q: groups.__setitem__(slice(None), [{"params": [q]}]),
        ],
    )
    def test_another_parameter_is_trained(self, kind, edit, backend):
        p, q = self.parameters(2)
        optimizer = kind([p], lr=0.1)
        optimizer.step()
        edit(optimizer.param_groups, q)
        optimizer.step()
        listed = [p for group in optimizer.param_groups for p in group["params"]]
        assert any(x is q for x in listed)
        np.testing.assert_allclose(q.detach().numpy(), [0.9, 0.9], rtol=1e-6)
        assert set(optimizer.state) == set(listed)
        again = kind([{"params": group["params"]} for group in optimizer.param_groups], lr=0.1)
        again.load_state_dict(optimizer.state_dict())

    def test_what_is_taken_out_stays_as_it_is(self, backend):
        p, q = self.parameters(2)
        optimizer = optim.Adam([p, q], lr=0.1)
        optimizer.step()
        del optimizer.param_groups[0]["params"][0]
        before = p.tolist(), q.tolist()
        optimizer.step()
        assert p.tolist() == before[0]
        assert q.tolist() != before[1]
        optimizer.param_groups[0]["params"].clear()
        optimizer.step()
        optimizer.param_groups.clear()
        optimizer.step()
        assert optimizer.state_dict() == {"state": {}, "param_groups": []}

    def test_the_list_stays_the_same_list(self):
        (p, q, r) = self.parameters(3)
        optimizer = optim.SGD([p], lr=0.1)
        held = optimizer.param_groups[0]["params"]
        for new in (q, r):
            held.append(new)
            optimizer.step()
        assert r.tolist() != [1.0, 1.0]

    @pytest.mark.parametrize(
        ("edit", "error", "text"),
        [
            (lambda groups, p: groups[0]["params"].append(p), OptionError, "Received twice"),
            (lambda groups, p: groups.append({"params": [p]}), OptionError, "Received twice"),
            (lambda groups, p: groups[0]["params"].append(3), DTypeError, "Received: int"),
            (lambda groups, p: groups[0]["params"].append(p * 2), GradientError, "a leaf"),
            (lambda groups, p: groups[0].update(params=None), DTypeError, "Received: NoneType"),
            (lambda groups, p: groups[0].update(params=iter(())), OptionError, "used up before"),
            (lambda groups, p: groups[0].pop("params"), OptionError, "a dict with 'params'"),
            (lambda groups, p: groups.append([p]), OptionError, "a dict with 'params'"),
            (lambda groups, p: groups[0].pop("lr"), OptionError, "without lr"),
            (lambda groups, p: groups[0].update(learning_rate=1.0), OptionError, "'learning_rate'"),
            (lambda groups, p: groups[0].update(lr=-1.0), OptionError, "lr must be"),
            (lambda groups, p: groups[0].update(lr="fast"), OptionError, "lr must be"),
            (lambda groups, p: groups[0].update(lr=float("nan")), OptionError, "lr must be"),
        ],
    )
    def test_what_is_no_group_is_refused(self, edit, error, text):
        (p,) = self.parameters(1)
        optimizer = optim.SGD([p], lr=0.1)
        optimizer.step()
        before = p.tolist()
        edit(optimizer.param_groups, p)
        for _ in range(2):
            with pytest.raises(error, match=text):
                optimizer.step()
        assert p.tolist() == before

    def test_in_a_compiled_step(self, backend):
        p, q = self.parameters(2)
        optimizer = optim.SGD([p], lr=0.5)

        @nnlib.compile
        def step(x):
            optimizer.zero_grad()
            ((p + q) * x).sum().backward()
            optimizer.step()

        for _ in range(4):
            step(nnlib.ones(2))
        optimizer.param_groups[0]["params"][0] = q
        for _ in range(4):
            step(nnlib.ones(2))
        assert (p.tolist(), q.tolist()) == ([-1.0, -1.0], [-1.0, -1.0])

    def test_a_set_has_no_order(self):
        with pytest.raises(DTypeError, match="Received: set"):
            optim.SGD(set(self.parameters(2)), lr=0.1)

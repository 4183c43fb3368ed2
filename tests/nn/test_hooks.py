"""Hooks of modules: what they may change, in which order, and how they go again."""

import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError


class TestHooks:
    def test_an_output_that_is_returned_takes_the_place(self, backend):
        layer, seen = nn.Linear(2, 2), []
        x = nnlib.ones(1, 2)
        usual = layer(x).tolist()
        layer.register_forward_hook(lambda module, inputs, output: output * 0)
        handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        layer.register_forward_hook(lambda module, inputs, output: output + 1)
        assert layer(x).tolist() == [[1.0, 1.0]]
        assert seen[0].tolist() == [[0.0, 0.0]]  # each sees what the one before it returned
        handle.remove()
        handle.remove()
        assert layer(x).tolist() == [[1.0, 1.0]]
        assert len(seen) == 1
        assert nn.Sequential(layer, nn.ReLU())(x).tolist() == [[1.0, 1.0]] != usual

    @pytest.mark.parametrize("returned", [lambda x: (2 * x,), lambda x: 2 * x])
    def test_inputs_that_are_returned_take_the_place(self, returned):
        layer, x = nn.Linear(2, 2, bias=False), nnlib.ones(1, 2)
        usual = layer(x)
        with layer.register_forward_pre_hook(lambda module, inputs: returned(*inputs)):
            assert layer(x).tolist() == (2 * usual).tolist()
        assert layer(x).tolist() == usual.tolist()

    def test_keyword_arguments(self):
        class Scaled(nn.Module):
            def forward(self, x, by=1.0):
                return x * by

        seen = []
        layer, x = Scaled(), nnlib.ones(1)
        layer.register_forward_pre_hook(lambda m, args: seen.append(args))
        layer.register_forward_pre_hook(
            lambda m, args, kwargs: (args, {"by": 3.0}), with_kwargs=True
        )
        layer.register_forward_hook(
            lambda m, args, kwargs, output: seen.append((args, kwargs)), with_kwargs=True
        )
        assert layer(x, by=2.0).tolist() == [3.0]
        assert seen[0] == (x,)
        assert seen[1] == ((x,), {"by": 3.0})
        layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
        with pytest.raises(OptionError, match=r"must return None or \(args, kwargs\).*Scaled"):
            layer(x)

    def test_order(self):
        layer, seen = nn.ReLU(), []
        for name in "ab":
            layer.register_forward_hook(lambda *_, name=name: seen.append(name))
            layer.register_forward_pre_hook(lambda *_, name=name: seen.append(name.upper()))
        layer.register_forward_hook(lambda *_: seen.append("c"), prepend=True)
        layer.register_forward_pre_hook(lambda *_: seen.append("C"), prepend=True)
        layer(nnlib.ones(1))
        assert "".join(seen) == "CABcab"

    def test_hooks_that_remove_themselves(self):
        layer, seen, handles = nn.ReLU(), [], []
        for number in range(3):

            def once(*_, number=number):
                seen.append(number)
                handles[number].remove()

            handles.append(layer.register_forward_hook(once))
        layer(nnlib.ones(1))
        layer(nnlib.ones(1))
        assert seen == [0, 1, 2]

    def test_errors_in_hooks_come_out_and_learn_the_path(self):
        net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        handle = net[1].register_forward_hook(lambda m, inputs, y: y.reshape(7))
        with pytest.raises(ShapeError, match=r"\[in ReLU at '1'\]"):
            net(nnlib.ones(1, 2))
        handle.remove()
        handle = net[0].register_forward_pre_hook(lambda m, inputs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            net(nnlib.ones(1, 2))
        handle.remove()
        assert net(nnlib.ones(1, 2)).shape == (1, 2)

    def test_not_a_function(self):
        with pytest.raises(DTypeError, match="must be a function"):
            nn.ReLU().register_forward_hook(3)

    def test_compiled_as_they_are_at_each_call(self, backend):
        layer, x = nn.Linear(2, 2), nnlib.ones(1, 2)
        step = nnlib.compile(lambda x: layer(x))
        usual = [step(x).tolist() for _ in range(3)][-1]
        for register, change in (
            (layer.register_forward_hook, lambda m, inputs, output: output * 0),
            (layer.register_forward_pre_hook, lambda m, inputs: (inputs[0] * 2,)),
        ):
            with register(change):
                expected = layer(x).tolist()
                assert [step(x).tolist() for _ in range(3)] == [expected] * 3 != [usual] * 3
            assert [step(x).tolist() for _ in range(3)] == [usual] * 3


@pytest.mark.parametrize("move", [lambda m: m.astype("float64"), lambda m: m.to("strict")])
def test_hooks_of_parameters_stay_when_the_module_moves(move):
    layer = nn.Linear(2, 1)
    layer.weight.grad = nnlib.ones(1, 2)
    handle = layer.weight.register_hook(lambda g: g * 0)
    move(layer)
    assert layer.weight.grad is None
    weight = layer.weight
    x = nnlib.ones(1, 2, dtype=weight.dtype, backend=weight.backend)
    layer(x).sum().backward()
    assert weight.grad.tolist() == [[0.0, 0.0]]
    assert (weight.grad.dtype, weight.grad.backend) == (weight.dtype, weight.backend)
    handle.remove()
    layer(x).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0]]

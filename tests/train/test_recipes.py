import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError
from nnlib.models import GPT
from nnlib.train.recipes import AUGMENTATIONS, OPTIMIZERS, RECIPES, SCHEDULES, recipe_for


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_every_combination_runs_to_its_end(optimizer, schedule, steps):
    recipe = RECIPES["mlp"].changed(optimizer=optimizer, schedule=schedule, lr=0.01)
    model = nn.Linear(2, 1)
    made = recipe.make_optimizer(model)
    plan = recipe.make_schedule(made, steps)
    rates = []
    for _ in range(steps):
        rates.append(made.param_groups[0]["lr"])
        model(nnlib.ones(1, 2)).sum().backward()
        made.step()
        if plan is not None:
            plan.step()
    assert np.all(np.isfinite(rates))
    assert 0 < max(rates) <= 0.01 * (1 + 1e-9)
    assert (plan is None) == (schedule == "constant")


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_keep_the_shape(name):
    change = RECIPES["mlp"].changed(augment=name).transform()
    images = np.ones((2, 28, 28, 1), np.float32)
    assert change is None or change(images).shape == images.shape


def test_changes():
    recipe = recipe_for("lenet")
    assert recipe.changed(lr=None, optimizer=None) == recipe
    assert recipe.changed(optimizer="sgd").lr == 0.05
    assert recipe.changed(optimizer="sgd", lr=0.3).lr == 0.3
    assert recipe_for("vgg11") == recipe_for("vgg19")
    assert recipe_for("mlp", 1000).batch_size < recipe_for("mlp").batch_size


def test_char_gpt_decays_matrices_only():
    model = GPT(vocab_size=5, context=4, layers=1, heads=1, width=8)
    recipe = recipe_for("char-gpt")
    matrices, others = recipe.make_optimizer(model).param_groups
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.1, 0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in others["params"]} == {1}
    assert len(matrices["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert matrices["betas"] == others["betas"] == (0.9, 0.99)
    with pytest.raises(OptionError, match="decay must be one of all, matrices"):
        recipe.changed(decay="biases").make_optimizer(model)


def test_warmup_ends_at_nothing_or_a_tenth():
    model = nn.Linear(2, 1)
    for schedule, end in (("warmup", 0), ("warmup-tenth", 0.1)):
        recipe = RECIPES["mlp"].changed(schedule=schedule, lr=1.0)
        optimizer = recipe.make_optimizer(model)
        plan, rates = recipe.make_schedule(optimizer, 200), []
        for _ in range(201):
            rates.append(optimizer.param_groups[0]["lr"])
            plan.step()
        assert np.argmax(rates) == 10
        assert (rates[0], rates[10]) == pytest.approx((0.01, 1))
        assert rates[-1] == pytest.approx(end, abs=1e-6)


def test_misspelt_names():
    with pytest.raises(OptionError, match="model must be one of mlp"):
        recipe_for("resnet50")
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        RECIPES["mlp"].changed(optimizer="adan").make_optimizer(nn.Linear(1, 1))

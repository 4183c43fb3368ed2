import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError
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


def test_misspelt_names():
    with pytest.raises(OptionError, match="model must be one of mlp"):
        recipe_for("resnet50")
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        RECIPES["mlp"].changed(optimizer="adan").make_optimizer(nn.Linear(1, 1))

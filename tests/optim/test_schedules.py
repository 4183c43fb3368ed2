import json
import math

import pytest

import nnlib
from nnlib import optim
from nnlib.errors import DTypeError, OptionError, StateError
from nnlib.optim import schedules


@pytest.fixture
def optimizer():
    """Two groups, with the rates 1 and 0.5."""
    a, b = (nnlib.zeros(1, requires_grad=True) for _ in range(2))
    return optim.SGD([{"params": a}, {"params": b, "lr": 0.5}], lr=1.0, momentum=0.9)


def run(schedule, count):
    """The first group's rates at the steps 0, 1, …, count − 1."""
    rates = []
    for _ in range(count):
        rates.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.step()
    return rates


def warm_up_then_cosine(optimizer):
    return schedules.SequentialLR(
        optimizer,
        [
            schedules.LinearLR(optimizer, start_factor=0.25, total_iters=3),
            schedules.CosineAnnealingLR(optimizer, T_max=4),
        ],
        milestones=[3],
    )


MAKE = {
    "lambda": lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + step)),
    "step": lambda o: schedules.StepLR(o, step_size=3),
    "multi-step": lambda o: schedules.MultiStepLR(o, [5, 2, 5]),
    "exponential": lambda o: schedules.ExponentialLR(o, gamma=0.9),
    "linear": lambda o: schedules.LinearLR(o),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, T_max=7, eta_min=0.01),
    "one-cycle": lambda o: schedules.OneCycleLR(o, max_lr=[1.0, 2.0], total_steps=20),
    "sequential": warm_up_then_cosine,
}


class TestByHand:
    def test_step(self, optimizer):
        schedule = schedules.StepLR(optimizer, step_size=2, gamma=0.5)
        assert run(schedule, 5) == [1.0, 1.0, 0.5, 0.5, 0.25]

    def test_multi_step_in_any_order_and_twice(self, optimizer):
        schedule = schedules.MultiStepLR(optimizer, [3, 1, 3], gamma=0.5)
        assert run(schedule, 5) == [1.0, 0.5, 0.5, 0.125, 0.125]

    def test_exponential(self, optimizer):
        assert run(schedules.ExponentialLR(optimizer, 0.5), 3) == [1.0, 0.5, 0.25]

    def test_lambda(self, optimizer):
        assert run(schedules.LambdaLR(optimizer, lambda t: 2.0**t), 3) == [1.0, 2.0, 4.0]

    def test_one_lambda_for_each_group(self, optimizer):
        schedule = schedules.LambdaLR(optimizer, [lambda t: 1.0, lambda t: t + 1])
        schedule.step()
        assert schedule.get_last_lr() == [1.0, 1.0]

    def test_linear_warm_up(self, optimizer):
        schedule = schedules.LinearLR(optimizer, start_factor=0.5, total_iters=2)
        assert run(schedule, 4) == [0.5, 0.75, 1.0, 1.0]

    def test_cosine(self, optimizer):
        schedule = schedules.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.2)
        middle = math.cos(math.pi / 4) * 0.4
        assert run(schedule, 5) == pytest.approx([1.0, 0.6 + middle, 0.6, 0.6 - middle, 0.2])

    def test_one_cycle(self, optimizer):
        schedule = schedules.OneCycleLR(
            optimizer,
            max_lr=2.0,
            total_steps=10,
            anneal_strategy="linear",
            div_factor=4,
            final_div_factor=5,
        )
        momenta = []
        rates = []
        for _ in range(10):
            rates += schedule.get_last_lr()[:1]
            momenta.append(optimizer.param_groups[1]["momentum"])
            schedule.step()
        down = [2.0 - (2.0 - 0.1) * t / 7 for t in range(8)]
        assert rates == pytest.approx([0.5, 1.25, *down])
        assert momenta[:3] == pytest.approx([0.95, 0.9, 0.85])
        assert momenta[-1] == pytest.approx(0.95)

    def test_one_cycle_changes_the_first_beta(self):
        optimizer = optim.Adam([nnlib.zeros(1, requires_grad=True)])
        schedule = schedules.OneCycleLR(optimizer, max_lr=1.0, epochs=5, steps_per_epoch=2)
        assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
        run(schedule, 2)
        assert optimizer.param_groups[0]["betas"] == (0.85, 0.999)

    def test_one_cycle_leaves_momentum_alone_if_told_to(self, optimizer):
        schedules.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, cycle_momentum=False)
        assert optimizer.param_groups[0]["momentum"] == 0.9

    @pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.5, 1.0])
    @pytest.mark.parametrize("three", [False, True])
    @pytest.mark.parametrize("total", [1, 2, 10])
    def test_one_cycle_at_its_edges(self, optimizer, pct_start, three, total):
        schedule = schedules.OneCycleLR(
            optimizer, 1.0, total_steps=total, pct_start=pct_start, three_phase=three
        )
        assert all(0 < rate <= 1 for rate in run(schedule, total))

    def test_warm_up_then_cosine(self, optimizer):
        rates = run(warm_up_then_cosine(optimizer), 8)
        cosine = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
        assert rates == pytest.approx([0.25, 0.5, 0.75, *cosine])

    def test_three_in_sequence(self, optimizer):
        parts = [schedules.LambdaLR(optimizer, lambda t, k=k: 10 * k + t) for k in (1, 2, 3)]
        schedule = schedules.SequentialLR(optimizer, parts, milestones=[2, 3])
        assert run(schedule, 5) == [10, 11, 20, 30, 31]


class TestPlateau:
    def feed(self, optimizer, metrics, **options):
        schedule = schedules.ReduceLROnPlateau(optimizer, factor=0.5, **options)
        rates = []
        for metric in metrics:
            schedule.step(metric)
            rates.append(schedule.get_last_lr()[0])
        return rates

    def test_patience(self, optimizer):
        rates = self.feed(optimizer, [3, 2, 2, 2, 2, 1], patience=2)
        assert rates == [1, 1, 1, 1, 0.5, 0.5]
        assert optimizer.param_groups[1]["lr"] == 0.25

    def test_cooldown(self, optimizer):
        rates = self.feed(optimizer, [1, 2, 2, 2, 2, 2], patience=0, cooldown=2)
        assert rates == [1, 0.5, 0.5, 0.5, 0.25, 0.25]

    def test_maximum(self, optimizer):
        assert self.feed(optimizer, [0.5, 0.6, 0.6], mode="max", patience=0) == [1, 1, 0.5]

    @pytest.mark.parametrize(("mode", "rate"), [("rel", 0.5), ("abs", 1.0)])
    def test_threshold(self, optimizer, mode, rate):
        options = {"patience": 0, "threshold": 0.1, "threshold_mode": mode}
        assert self.feed(optimizer, [10.0, 9.5], **options)[-1] == rate

    def test_nan_is_no_improvement(self, optimizer):
        rates = self.feed(optimizer, [math.nan, 1.0, math.nan, math.nan], patience=1)
        assert rates == [1, 1, 1, 0.5]

    def test_lower_bounds(self, optimizer):
        self.feed(optimizer, [1] * 10, patience=0, min_lr=[0.3, 0.2])
        assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.2]

    def test_tiny_changes_are_not_made(self, optimizer):
        assert self.feed(optimizer, [1, 1], patience=0, eps=0.6) == [1, 1]

    def test_takes_a_tensor(self, optimizer, backend):
        assert self.feed(optimizer, [nnlib.tensor(1.0)] * 2, patience=0) == [1, 0.5]


class TestState:
    @pytest.mark.parametrize("name", MAKE)
    def test_continues_identically(self, name, optimizer):
        schedule = MAKE[name](optimizer)
        run(schedule, 4)
        saved = json.loads(json.dumps(schedule.state_dict()))
        rest = run(schedule, 6)
        a, b = (nnlib.zeros(1, requires_grad=True) for _ in range(2))
        fresh = optim.SGD([{"params": a}, {"params": b}], lr=7.0)
        other = MAKE[name](fresh)
        other.load_state_dict(saved)
        assert run(other, 6) == rest

    def test_plateau_continues_identically(self, optimizer):
        schedule = schedules.ReduceLROnPlateau(optimizer, patience=3, cooldown=1)
        for metric in (3, 2, 2, 2):
            schedule.step(metric)
        other = schedules.ReduceLROnPlateau(optimizer, patience=3, cooldown=1)
        other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
        assert other.state_dict() == schedule.state_dict()
        other.step(2)
        other.step(2)
        assert optimizer.param_groups[0]["lr"] == 0.1

    @pytest.mark.parametrize("name", [*MAKE, "plateau"])
    def test_of_another_schedule(self, name, optimizer):
        make = MAKE | {"plateau": schedules.ReduceLROnPlateau}
        schedule = make[name](optimizer)
        before = schedule.state_dict()
        with pytest.raises(StateError, match=r"must have \[.*\]\. Received: \['epoch'\]"):
            schedule.load_state_dict({"epoch": 3})
        assert schedule.state_dict() == before

    def test_of_another_number_of_groups(self, optimizer):
        schedule = schedules.StepLR(optimizer, 3)
        with pytest.raises(StateError, match="one learning rate for each of 2 groups"):
            schedule.load_state_dict({"last_epoch": 3, "base_lrs": [1.0]})

    def test_of_another_number_of_parts(self, optimizer):
        schedule = warm_up_then_cosine(optimizer)
        saved = schedule.state_dict()
        saved["schedulers"].pop()
        with pytest.raises(StateError, match=r"must be of 2 schedules\. Received: 1"):
            schedule.load_state_dict(saved)


class TestUse:
    @pytest.mark.parametrize("name", MAKE)
    def test_every_group_gets_its_own(self, name, optimizer):
        schedule = MAKE[name](optimizer)
        run(schedule, 2)
        first, second = schedule.get_last_lr()
        assert second == pytest.approx(first * (2 if name == "one-cycle" else 0.5), rel=0.01)

    def test_a_second_schedule_starts_from_the_initial_rate(self, optimizer):
        run(schedules.ExponentialLR(optimizer, 0.1), 3)
        assert run(schedules.ExponentialLR(optimizer, 0.5), 2) == [1.0, 0.5]

    def test_groups_added_later_join(self, optimizer):
        schedule = schedules.ExponentialLR(optimizer, 0.5)
        schedule.step()
        optimizer.add_param_group({"params": nnlib.zeros(1, requires_grad=True), "lr": 4.0})
        schedule.step()
        assert schedule.get_last_lr() == [0.25, 0.125, 1.0]

    def test_what_is_set_by_hand_is_overwritten(self, optimizer):
        schedule = schedules.ExponentialLR(optimizer, 0.5)
        optimizer.param_groups[0]["lr"] = 100.0
        schedule.step()
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_they_are_a_module(self):
        import nnlib.optim.schedules as module

        assert module.StepLR is optim.schedules.StepLR


class TestErrors:
    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda o: schedules.StepLR(o, 0), "step_size must be a positive integer"),
            (lambda o: schedules.ExponentialLR(o, -0.1), "gamma must be"),
            (lambda o: schedules.LinearLR(o, start_factor=2.0), "start_factor must be"),
            (lambda o: schedules.CosineAnnealingLR(o, T_max=2.5), "T_max must be a positive"),
            (lambda o: schedules.LambdaLR(o, [abs]), "one for each of 2 groups. Received: 1"),
            (lambda o: schedules.OneCycleLR(o, 1.0), "total_steps, or epochs and steps_per_epoch"),
            (lambda o: schedules.OneCycleLR(o, [1.0], 10), "one number or one for each of 2"),
            (lambda o: schedules.OneCycleLR(o, 1.0, 10, pct_start=2), "pct_start must be"),
            (lambda o: schedules.OneCycleLR(o, 1.0, 10, anneal_strategy="x"), "'cos' or 'linear'"),
            (lambda o: schedules.ReduceLROnPlateau(o, mode="up"), "mode must be 'min' or 'max'"),
            (lambda o: schedules.ReduceLROnPlateau(o, threshold_mode="x"), "'rel' or 'abs'"),
            (lambda o: schedules.ReduceLROnPlateau(o, factor=1.0), "factor must be"),
            (lambda o: schedules.ReduceLROnPlateau(o, min_lr=[0.1]), "one bound or one for each"),
            (lambda o: schedules.SequentialLR(o, [], []), "at least one. Received: 0 and 0"),
            (
                lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 1)] * 3, [5, 4]),
                "must be positive and increase",
            ),
            (
                lambda o: schedules.SequentialLR(o, [schedules.ReduceLROnPlateau(o)], []),
                "needs a metric cannot be part",
            ),
            (
                lambda o: schedules.SequentialLR(
                    optim.SGD([nnlib.ones(1, requires_grad=True)]), [schedules.StepLR(o, 1)], []
                ),
                "must be of this optimizer",
            ),
        ],
    )
    def test_options(self, optimizer, make, match):
        with pytest.raises(OptionError, match=match):
            make(optimizer)

    @pytest.mark.parametrize("name", [*MAKE, "plateau"])
    def test_no_optimizer(self, name):
        make = MAKE | {"plateau": schedules.ReduceLROnPlateau}
        with pytest.raises(DTypeError, match="needs an optimizer as its first argument"):
            make[name]("sgd")

    def test_one_cycle_without_momentum(self):
        optimizer = optim.Adagrad([nnlib.zeros(1, requires_grad=True)])
        with pytest.raises(OptionError, match="needs an optimizer with momentum or betas"):
            schedules.OneCycleLR(optimizer, 1.0, 10)

    def test_beyond_the_cycle(self, optimizer):
        schedule = schedules.OneCycleLR(optimizer, 1.0, total_steps=3)
        run(schedule, 3)
        with pytest.raises(OptionError, match=r"the cycle has 3 steps\. Received: step 4"):
            schedule.step()


class TestRateSetByHand:
    """A new schedule begins with the rate that was set since the last one."""

    @pytest.mark.parametrize("name", MAKE)
    def test_after_any_schedule(self, optimizer, name):
        first = MAKE[name](optimizer)
        for _ in range(2):
            first.step(*[1.0] if name == "plateau" else [])
        for group in optimizer.param_groups:
            group["lr"] = 1e-3
        schedule = schedules.StepLR(optimizer, step_size=2)
        assert schedule.base_lrs == [1e-3, 1e-3]
        assert run(schedule, 4) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])

    def test_of_one_group(self, optimizer):
        schedules.StepLR(optimizer, step_size=1).step()
        optimizer.param_groups[1]["lr"] = 0.25
        assert schedules.StepLR(optimizer, step_size=1).base_lrs == [1.0, 0.25]

    def test_not_set_by_hand(self, optimizer):
        schedules.StepLR(optimizer, step_size=1).step()
        assert optimizer.param_groups[0]["lr"] == 0.1
        assert schedules.StepLR(optimizer, step_size=1).base_lrs == [1.0, 0.5]

    def test_a_loaded_rate_is_not_set_by_hand(self, optimizer):
        schedule = schedules.StepLR(optimizer, step_size=1)
        schedule.step()
        state = json.loads(json.dumps(optimizer.state_dict()))
        a, b = (nnlib.zeros(1, requires_grad=True) for _ in range(2))
        other = optim.SGD([{"params": a}, {"params": b}], lr=7.0, momentum=0.9)
        schedules.StepLR(other, step_size=3)  # of the rate before the state was loaded
        other.load_state_dict(state)
        again = schedules.StepLR(other, step_size=1)
        again.load_state_dict(schedule.state_dict())
        assert again.base_lrs == [1.0, 0.5]
        assert again.get_last_lr() == schedule.get_last_lr()

    def test_states_without_the_note(self, optimizer):
        """As earlier versions saved them."""
        schedules.StepLR(optimizer, step_size=1).step()
        state = optimizer.state_dict()
        for group in state["param_groups"]:
            del group["scheduled_lr"]
        optimizer.load_state_dict(state)
        assert schedules.StepLR(optimizer, step_size=1).base_lrs == [1.0, 0.5]


class TestEditedGroups:
    """A schedule of groups that were edited by hand goes on, or says what is wrong."""

    def test_one_more(self, optimizer):
        schedule = schedules.StepLR(optimizer, step_size=1)
        optimizer.param_groups.append({"params": [nnlib.ones(1, requires_grad=True)], "lr": 3.0})
        schedule.step()
        assert schedule.base_lrs == [1.0, 0.5, 3.0]
        assert schedule.get_last_lr() == pytest.approx([0.1, 0.05, 0.3])

    def test_one_less(self, optimizer):
        schedule = schedules.StepLR(optimizer, step_size=1)
        del optimizer.param_groups[0]
        with pytest.raises(OptionError, match="made for 2 groups"):
            schedule.step()

    @pytest.mark.parametrize("rate", ["fast", None, -1.0, math.nan, [0.1]])
    def test_no_rate(self, optimizer, rate):
        optimizer.param_groups[0]["lr"] = rate
        with pytest.raises(OptionError, match="lr must be a number"):
            schedules.StepLR(optimizer, step_size=1)
        del optimizer.param_groups[0]["lr"]
        with pytest.raises(OptionError, match="lr must be a number"):
            schedules.StepLR(optimizer, step_size=1)

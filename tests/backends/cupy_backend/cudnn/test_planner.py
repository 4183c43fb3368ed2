import pytest
from fake_cudnn import World, on_device

from nnlib_backends.cupy_backend.cudnn.convolution_graph import Convolution
from nnlib_backends.errors import CaptureError

AUTOTUNE = "NNLIB_CUDNN_AUTOTUNE"
OPTIONS = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
SLOW = {"eng1_k2=0": 3.0, "eng1_k2=7": 1.0, "eng0": 2.0}


def convolve(world, batch=2, **options):
    x, weight = on_device([[[[1.0] * 4] * 5] * 5] * batch), on_device([[[[1.0] * 4] * 3] * 3] * 4)
    return world.kernels["conv2d"].forward(x, weight, None, **{**OPTIONS, **options})[0]


def test_a_plan_is_made_once_for_each_problem(world):
    for _ in range(3):
        convolve(world)
    assert len(world.log) == 1
    convolve(world, batch=1)
    convolve(world, activation="relu")
    convolve(world, padding=(0, 0))
    world.tf32 = True
    convolve(world)
    assert len(world.log) == 5
    assert len(world.executed) == 7


def test_that_there_is_no_plan_is_remembered(world):
    world.unsupported = {"forward"}
    convolve(world)
    world.unsupported = set()
    convolve(world)
    assert world.log == []


def test_the_first_plan_that_can_be_built_is_taken(world):
    world.milliseconds = SLOW
    convolve(world)
    world.excluded = {"eng1_k2=0"}
    convolve(world, batch=1)
    assert world.built == ["eng1_k2=0", "eng1_k2=7"]


def test_a_workspace_has_a_limit(world):
    convolve(world)
    assert world.log[0].limit == Convolution.workspace_limit == 512 << 20


def test_the_fastest_plan_is_found_and_kept_for_the_next_process(world, choices, monkeypatch):
    monkeypatch.setenv(AUTOTUNE, "1")
    world.milliseconds = SLOW
    expected = World(choices)
    expected_y = convolve(world).tolist()
    assert world.executed[-1].chosen == "eng1_k2=7"
    assert choices.path.is_file()
    monkeypatch.delenv(AUTOTUNE)
    assert convolve(expected).tolist() == expected_y
    assert expected.built == ["eng1_k2=7"]


def test_what_was_measured_is_not_measured_again(world, choices, monkeypatch):
    monkeypatch.setenv(AUTOTUNE, "1")
    convolve(world)
    assert len(world.built) == 4  # three candidates, and the fastest of them
    later = World(choices)
    convolve(later)
    assert len(later.built) == 1


def test_candidates_that_are_excluded_or_fail_do_not_win(world, monkeypatch):
    monkeypatch.setenv(AUTOTUNE, "1")
    world.milliseconds = {**SLOW, "eng0": 9.0}
    world.excluded = {"eng1_k2=7"}
    convolve(world)
    assert world.executed[-1].chosen == "eng1_k2=0"


def test_nothing_to_measure_is_no_error(world, monkeypatch):
    monkeypatch.setenv(AUTOTUNE, "1")
    world.unsupported = {"forward"}
    assert convolve(world).shape == (2, 5, 5, 4)


def test_a_choice_of_somebody_elses_that_cannot_be_had_is_passed_over(world, choices):
    problem = Convolution(
        "forward", (2, 5, 5, 4), (4, 3, 3, 4), (2, 5, 5, 4), "float32", False, False, (1, 1),
        (1, 1), (1, 1), False,
    )  # fmt: skip
    choices.store(str(problem), "eng99_k2=1")
    convolve(world)
    assert world.built == ["eng1_k2=0"]
    for nonsense in (7, ["eng0"], {"eng0": 1}):
        choices.store(str(problem), nonsense)
        other = World(choices)
        convolve(other)
        assert other.built == ["eng1_k2=0"]
    choices.store(str(problem), "eng0")
    last = World(choices)
    last.excluded = {"eng0"}
    convolve(last)
    assert last.built == ["eng1_k2=0"]


def test_no_plan_is_made_while_a_graph_is_captured(world):
    convolve(world)
    world.capturing = lambda: True
    convolve(world)
    with pytest.raises(CaptureError, match="before a graph is captured"):
        convolve(world, batch=1)
    world.capturing = lambda: False
    convolve(world, batch=1)

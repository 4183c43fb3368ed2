"""cuDNN itself accepts the graphs: it plans for an H100 that is described, not there."""

import described_gpu
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(described_gpu.missing()), reason=described_gpu.missing() or "none"),
]


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    program = described_gpu.HERE / "problems.py"
    folder = tmp_path_factory.mktemp("driver")
    return described_gpu.plans(program, folder, by_name="batch 64 bf16")


def of(plans, family):
    found = {label: plan for label, plan in plans.items() if label.startswith(f"{family} ")}
    assert found
    return found


@pytest.mark.parametrize(
    ("family", "count"), [("vgg", 9 * 3 * 2 * 2), ("lenet", 2 * 3 * 4), ("shapes", 27)]
)
def test_convolutions_have_a_plan(plans, family, count):
    found = of(plans, family)
    assert len(found) == count
    assert {label: plan.error for label, plan in found.items() if plan.error} == {}
    assert max(plan.workspace for plan in found.values()) <= 512 << 20


def test_plans_can_be_chosen_by_name(plans):
    """Not only the first one: what was measured to be fastest is found again."""
    found = {label: plan for label, plan in of(plans, "vgg").items() if "batch 64 bf16" in label}
    assert {label: plan.by_name for label, plan in found.items()} == dict.fromkeys(found, 3)


def test_attention_of_gpt2_has_a_plan(plans):
    found = of(plans, "gpt2")
    assert len(found) == 5 * 3
    assert {label: plan.error for label, plan in found.items() if plan.error} == {}


def test_other_attention_has_one_or_is_refused(plans):
    found = of(plans, "other_attention")
    refused = {label for label, plan in found.items() if plan.error}
    assert refused == {
        "other_attention features forward", "other_attention features backward",
    }  # fmt: skip

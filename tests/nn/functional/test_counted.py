import threading

import pytest

import nnlib
from nnlib.nn import functional as F
from nnlib.nn.functional.counted import counting

ONES = nnlib.ones(4, 3)
HALVES = nnlib.ones(4, 3, dtype="float16")
LABELS = nnlib.tensor([0, 1, -100, 2])


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        (lambda: F.mse_loss(ONES, ONES), 12),
        (lambda: F.l1_loss(ONES, ONES), 12),
        (lambda: F.huber_loss(ONES, ONES), 12),
        (lambda: F.smooth_l1_loss(ONES, ONES), 12),
        (lambda: F.smooth_l1_loss(ONES, ONES, beta=0), 12),
        (lambda: F.binary_cross_entropy(ONES, ONES, 2 * ONES), 12),
        (lambda: F.binary_cross_entropy_with_logits(ONES, ONES), 12),
        (lambda: F.kl_div(ONES, ONES), 12),
        (lambda: F.kl_div(ONES, ONES, "batchmean"), 4),
        (lambda: F.cross_entropy(ONES, ONES), 4),
        (lambda: F.cross_entropy(ONES, nnlib.tensor([0, 1, 2, 0])), 4),
        (lambda: F.cross_entropy(ONES, LABELS), 3),
        (lambda: F.cross_entropy(ONES, LABELS, [0.5, 2, 4]), 6.5),
        (lambda: F.cross_entropy(ONES, LABELS, [0.5, 2, 4], label_smoothing=0.1), 6.5),
        (lambda: F.nll_loss(ONES, LABELS, [0.5, 2, 4], ignore_index=-100), 6.5),
        (lambda: F.mse_loss(HALVES, HALVES), 12),
        (lambda: F.smooth_l1_loss(HALVES, HALVES), 12),
        (lambda: F.cross_entropy(HALVES, LABELS), 3),
        (lambda: F.cross_entropy(HALVES, LABELS, [0.5, 2, 4]), 6.5),
        (lambda: F.mse_loss(HALVES, HALVES, "sum"), None),
        (lambda: F.mse_loss(ONES, ONES, "sum"), None),
        (lambda: F.smooth_l1_loss(ONES, ONES, "sum"), None),
        (lambda: F.cross_entropy(ONES, LABELS, reduction="sum"), None),
        (lambda: F.mse_loss(ONES, ONES, "none"), "unknown"),
        (lambda: F.smooth_l1_loss(ONES, ONES, "none"), "unknown"),
        (lambda: 2 * F.mse_loss(ONES, ONES), "unknown"),
    ],
)
@pytest.mark.parametrize("compile", [False, True])
def test_by_what_a_loss_was_divided(loss, count, compile):
    def counted():
        with counting() as counts:
            value = loss()
            return counts.of(value, "unknown")

    counted = nnlib.compile(counted) if compile else counted
    for _ in range(3):
        assert counted() == count


def test_each_thread_and_each_block_has_losses_of_its_own():
    with counting() as outer:
        first = F.mse_loss(ONES, ONES)
        with counting() as inner:
            second = F.mse_loss(ONES, ONES)
        thread = threading.Thread(target=F.mse_loss, args=(ONES, ONES))
        thread.start()
        thread.join()
    assert (outer.of(first, 0), outer.of(second, 0)) == (12, 0)
    assert (inner.of(first, 0), inner.of(second, 0)) == (0, 12)
    assert len(outer._noted) == 1

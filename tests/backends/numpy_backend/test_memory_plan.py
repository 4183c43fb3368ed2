import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnlib_backends.common.trace import Buffer
from nnlib_backends.numpy_backend.memory_plan import ALIGNMENT, place_buffers

lives = st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 8), st.booleans())


@given(st.lists(lives, max_size=40))
def test_nothing_overlaps_that_lives_at_the_same_time(rows):
    buffers = [
        Buffer(i, nbytes, None, first=first, last=first + length, kept=kept)
        for i, (nbytes, first, length, kept) in enumerate(rows)
    ]
    offsets, total = place_buffers(buffers)
    last = [30 if s.kept else s.last for s in buffers]
    for i, a in enumerate(buffers):
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] + a.nbytes <= total
        for j, b in enumerate(buffers[:i]):
            together = a.first <= last[j] and b.first <= last[i]
            apart = offsets[i] + a.nbytes <= offsets[j] or offsets[j] + b.nbytes <= offsets[i]
            assert apart or not together
    peak = max((sum(s.nbytes for s, e in zip(buffers, last, strict=True) if s.first <= t <= e)
                for t in range(31)), default=0)  # fmt: skip
    assert total >= peak


def test_unused_memory_takes_no_place():
    assert place_buffers([Buffer(0, 1 << 40, None)]) == ([0], 0)


def test_a_chain_needs_two_places():
    chain = [Buffer(i, 100, None, first=i, last=i + 1) for i in range(50)]
    assert place_buffers(chain)[1] == 2 * 128


def test_the_order_of_sizes_is_no_worse_than_a_tenth_above_the_peak():
    rng = np.random.default_rng(0)
    buffers = []
    for i in range(300):
        first = int(rng.integers(0, 200))
        length = int(rng.integers(1, 30))
        nbytes = int(rng.integers(1, 1000)) * 64
        buffers.append(Buffer(i, nbytes, None, first=first, last=first + length))
    peak = max(sum(s.nbytes for s in buffers if s.first <= t <= s.last) for t in range(231))
    assert place_buffers(buffers)[1] <= 1.1 * peak

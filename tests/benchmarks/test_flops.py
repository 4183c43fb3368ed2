from nnlib_benchmarks import flops


def test_a_training_step_is_three_forwards_without_the_datas_gradient():
    assert flops.training_step([10, 20, 30]) == 3 * 60 - 10


def test_causal_attention_counts_what_is_seen():
    seen = sum(later <= query for query in range(6) for later in range(6))
    # 2 · texts · pairs · width, for the scores and for the sums
    assert flops.causal_attention(3, 6, 8) == 2 * (2 * 3 * seen * 8)


def test_convolution():
    # 2 · images · positions · filters · (window · channels)
    assert flops.conv(2, (5, 7), (3, 4), (3, 2)) == 2 * 2 * 35 * 4 * (6 * 3)

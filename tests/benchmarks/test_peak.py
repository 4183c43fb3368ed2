from nnlib_benchmarks.peak import matmul_sizes, measure_peak


def test_the_best_rate_of_all_sizes_is_the_peak():
    peak = measure_peak("numpy", [16, 64])

    assert set(peak.by_size) == {"16", "64"}
    assert peak.flops == max(peak.by_size.values()) == peak.by_size[str(peak.size)]
    assert peak.flops > 1e6


def test_it_is_the_backends_own_peak():
    from strict_backend.counts import counting

    with counting() as counted:
        measure_peak("strict", [8])
    assert counted.transfers == 0  # made where they are used


def test_a_gpu_gets_larger_products():
    assert max(matmul_sizes("gpu", quick=False)) > max(matmul_sizes("cpu", quick=False))
    assert set(matmul_sizes("gpu", quick=True)) <= set(matmul_sizes("gpu", quick=False))

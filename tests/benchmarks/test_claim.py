import pytest

from nnlib_benchmarks.claim import claimed_speedup, make_claim, project


def test_55_days_against_23_hours_is_57_times():
    assert claimed_speedup() == pytest.approx(57.39, abs=0.005)


def test_projection_is_images_times_epochs_times_seconds():
    projection = project("numpy", "cpu", seconds_per_image=1.0, epochs=74)

    assert projection.days == pytest.approx(1_280_000 * 74 / 86400)
    assert projection.hours == pytest.approx(24 * projection.days)


def test_the_claim_itself_comes_back():
    """55 days over 74 epochs are 50.2 ms an image; and 23 hours are 0.874 ms."""
    assert project("xeon", "cpu", 55 * 86400 / (1.28e6 * 74), 74).days == pytest.approx(55)
    assert project("dgx", "gpu", 23 * 3600 / (1.28e6 * 74), 74).hours == pytest.approx(23)


def test_epochs_scale_the_projection():
    assert project("a", "cpu", 0.1, 70).hours == pytest.approx(
        project("a", "cpu", 0.1, 140).hours / 2
    )


def test_the_claim_is_told_with_its_numbers_and_its_eight_gpus():
    claim = make_claim([], epochs=74)

    assert (claim.images, claim.epochs, claim.claimed_gpus) == (1_280_000, 74, 8)
    assert (claim.claimed_cpu_days, claim.claimed_gpu_hours) == (55, 23)
    assert (claim.claimed_cpu, claim.claimed_gpu) == ("2× Xeon E5-2699 v4", "DGX-1")
    assert claim.claimed_range == "30–60×"
    assert any("eight GPUs" in note and "7.2×" in note for note in claim.notes)

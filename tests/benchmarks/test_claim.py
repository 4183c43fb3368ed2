from dataclasses import replace

import pytest

from nnlib_benchmarks.claim import claim_of, claimed_speedup, make_claim, project


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


def test_everybodys_fastest_vgg16_counts(make):
    def vgg(name, steps, batch, losses=None):
        curves = dict.fromkeys(steps, make.curve) | (losses or {})
        return make.training(name, steps, curves, batch=batch)

    training = [
        vgg("vgg16-b8", {"numpy": 4.0, "cupy": 0.08}, 8),
        vgg("vgg16-b64@bf16", {"cupy": 0.32, "torch-cuda": 0.64}, 64),
        vgg("vgg16-b256@bf16", {"cupy": 1.2, "torch-cuda": 1.0}, 256,
            {"torch-cuda": [2 * x for x in make.curve]}),
        vgg("vgg16-32", {"numpy": 0.01}, 32),  # another network: its images are of 32×32
    ]  # fmt: skip
    kinds = {"numpy": "cpu", "cupy": "gpu", "torch-cuda": "peer"}
    base = make.run(gpu=False).contestants[0]
    contestants = {name: replace(base, name=name, kind=kind) for name, kind in kinds.items()}

    numpy, cupy, torch = claim_of(training, contestants, 74).projections

    assert (numpy.workload, cupy.workload) == ("vgg16-b8", "vgg16-b256@bf16")
    assert torch.workload == "vgg16-b64@bf16"  # where it computed the same as the reference
    assert numpy.seconds_per_image == pytest.approx(1.2 * 4.0 / 8)  # end to end
    assert cupy.kind == "gpu"
    assert claim_of(training[3:], contestants, 74) is None

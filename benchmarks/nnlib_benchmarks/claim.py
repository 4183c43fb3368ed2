"""The course's claim, and a projection from a measured VGG-16 step on this machine.

"Training is 30–60× faster on a GPU": VGG on 1.28 million images takes 55 days on two Xeon
E5-2699 v4 and 23 hours on a DGX-1.  The published figures fit about 70 epochs; the VGG paper
(Simonyan and Zisserman, 2014, §3.1) trained for 74.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnlib_benchmarks.records import Claim, Contestant, Projection, Training, TrainingResult

IMAGES = 1_280_000  #: ILSVRC-2012's training set, rounded as in the claim
EPOCHS = 74  #: Simonyan and Zisserman 2014
CLAIMED_CPU = "2× Xeon E5-2699 v4"
CLAIMED_CPU_DAYS = 55.0
CLAIMED_GPU = "DGX-1"
CLAIMED_GPU_HOURS = 23.0
CLAIMED_GPUS = 8  #: GPUs of a DGX-1
CLAIMED_RANGE = "30–60×"


def claimed_speedup() -> float:
    """55 days over 23 hours.

    Examples
    --------
    >>> round(claimed_speedup(), 1)
    57.4
    """
    return CLAIMED_CPU_DAYS * 24 / CLAIMED_GPU_HOURS


VGG16 = ("vgg16", "vgg16-b")
"""A workload of this name, or whose name begins so, is VGG-16 on images of 224×224."""


def claim_of(
    training: Sequence[Training], contestants: Mapping[str, Contestant], epochs: int
) -> Claim | None:
    """Project from the fastest VGG-16 of each contestant, if it was measured.

    A CPU and a GPU are fastest with different batches and precisions, and a training may choose
    them, so the best of each is taken.
    """
    best: dict[str, tuple[float, Training, TrainingResult]] = {}
    for measured in training:
        if measured.workload.partition("@")[0] == VGG16[0] or measured.workload.startswith(
            VGG16[1]
        ):
            for result in measured.results:
                seconds = result.end_to_end.median / measured.batch
                if _agrees(measured, result) and (
                    result.contestant not in best or seconds < best[result.contestant][0]
                ):
                    best[result.contestant] = (seconds, measured, result)
    if not best:
        return None
    chosen = [(name, *best[name]) for name in contestants if name in best]
    projections = [
        project(name, contestants[name].kind, seconds, epochs, measured.workload)
        for name, seconds, measured, _ in chosen
    ]
    return make_claim(projections, epochs)


def _agrees(measured: Training, result: TrainingResult) -> bool:
    return all(a.agree for a in measured.agreements if a.contestant == result.contestant)


def project(
    contestant: str, kind: str, seconds_per_image: float, epochs: int, workload: str = "vgg16"
) -> Projection:
    """Project a measured time per image to the whole training.

    Parameters
    ----------
    contestant, kind : str
        Its name; ``"cpu"``, ``"gpu"`` or ``"peer"``.
    seconds_per_image : float
        Median step time divided by the batch size.
    epochs : int
        Passes over the 1.28 million images.
    workload : str
        The measured one.

    Examples
    --------
    >>> project("numpy", "cpu", 0.05, epochs=74).days
    54.81481481481482
    """
    hours = seconds_per_image * IMAGES * epochs / 3600
    return Projection(contestant, kind, seconds_per_image, hours, hours / 24, workload)


def make_claim(projections: Sequence[Projection], epochs: int) -> Claim:
    """Compare the projections with the claim, and add notes on their limits."""
    per_gpu = claimed_speedup() / CLAIMED_GPUS
    notes = [
        f"A {CLAIMED_GPU} is eight GPUs: its {claimed_speedup():.0f}× is {per_gpu:.1f}× for one "
        "GPU over two CPUs, if the work divides evenly.",
        "A projection multiplies a measured training step; it leaves out reading and decoding "
        "images from disk, evaluation and checkpoints.",
        "The fastest VGG-16 of each contestant in this run counts, named with its batch and "
        "precision: with a small batch the update of 138 million weights weighs more in each step "
        "than it would at the paper's batch of 256, and a GPU would be busier there.",
    ]
    return Claim(
        images=IMAGES,
        epochs=epochs,
        claimed_cpu=CLAIMED_CPU,
        claimed_cpu_days=CLAIMED_CPU_DAYS,
        claimed_gpu=CLAIMED_GPU,
        claimed_gpu_hours=CLAIMED_GPU_HOURS,
        claimed_gpus=CLAIMED_GPUS,
        claimed_speedup=claimed_speedup(),
        claimed_range=CLAIMED_RANGE,
        projections=list(projections),
        notes=notes,
    )

"""L2: "GPU computing is essential": the course's claim, and a projection for this machine.

"Training is 30–60× faster on a GPU": VGG on 1.28 million images takes

    55 days     on two Xeon E5-2699 v4, 44 cores together
    23 hours    on a DGX-1 with eight GPUs, 57 times faster

Here a few steps of the same training are run – VGG-16, 224×224 images, forward, backward and update
– on every available backend, and the time of an image is multiplied by 1.28 million images and 74
epochs (Simonyan and Zisserman, 2014, trained for 74).  `nnlib bench` does the same with more steps.
"""

import textwrap
from pathlib import Path
from typing import Any

from course import output_folder, picture, table

from nnlib_benchmarks.claim import EPOCHS, IMAGES, make_claim, project
from nnlib_benchmarks.contestants import describe_backend
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.records import Claim
from nnlib_benchmarks.runner import Request, check
from nnlib_benchmarks.training import run_training
from nnlib_benchmarks.workloads import TRAINING


def main(
    out: Path, workload: str = "vgg16", backends: tuple[str, ...] | None = None
) -> tuple[Claim, Any]:
    """Measure and compare; another workload than VGG-16 is for testing only."""
    names, missing = check(Request(backends=backends))
    contestants = [describe_backend(name) for name in names]
    chosen = TRAINING[workload](True, 0)
    training = run_training(chosen, contestants, {}, 0, SilentProgress())
    projections = [
        project(result.contestant, who.kind, result.compute.median / training.batch, EPOCHS)
        for who, result in zip(contestants, training.results, strict=True)
    ]
    claim = make_claim(projections, EPOCHS)
    gpu_days = claim.claimed_gpu_hours / 24
    bars = [
        (f"published: {claim.claimed_cpu}", claim.claimed_cpu_days, "published"),
        (f"published: {claim.claimed_gpu}, {claim.claimed_gpus} GPUs", gpu_days, "published"),
        *((f"{who.name}: {who.device}, {who.cores} cores", p.days, who.kind)
          for who, p in zip(contestants, projections, strict=True)),
    ]  # fmt: skip
    operations = chosen.flops(1) * IMAGES * EPOCHS
    table(
        ("VGG-16 on 1.28 M images", "days", "times faster than 55 days", "TFLOP/s"),
        [
            (name, f"{days:,.2f}", f"{claim.claimed_cpu_days / days:.3g}",
             f"{operations / days / 86400 / 1e12:.3g}")
            for name, days, _ in bars
        ],
    )  # fmt: skip
    for absent in missing:
        print(f"{absent.name}: not measured. {absent.detail}")
    cpus, gpus = ([p for p in projections if p.kind == kind] for kind in ("cpu", "gpu"))
    if not gpus:
        print("No GPU here: what it would make of the claim is not measured.\n")
    for gpu in gpus:
        print(f"{gpu.contestant} is {cpus[0].days / gpu.days:.1f}× as fast as {cpus[0].contestant}")
    for result in training.results:
        print(f"Measured: {training.compute_steps} steps of {training.batch} images on "
              f"{result.contestant}, {result.compute.median:.3g} s each (median).")  # fmt: skip
    print(*(textwrap.fill(note, 100) for note in claim.notes), sep="\n", end="\n\n")
    picture(out / "l02_gpu_claim.png", (9, 1.8 + 0.5 * len(bars)), lambda f: draw(f, bars, gpus))
    return claim, training


def draw(figure: Any, bars: list[tuple[str, float, str]], gpus: list[Any]) -> None:
    axes = figure.subplots()
    colours = {"published": "0.7", "cpu": "C0", "gpu": "C2"}
    names = [name for name, _, _ in bars]
    days = [days for _, days, _ in bars]
    axes.barh(names, days, height=0.6, color=[colours[kind] for _, _, kind in bars])
    for row, value in enumerate(days):
        text = f" {value:.0f} days" if value >= 10 else f" {value * 24:.3g} h"
        axes.text(value, row, text, va="center")
    if not gpus:
        axes.text(0.1, len(bars), " no GPU here: not measured", va="center", color="0.4")
        axes.set_yticks(range(len(bars) + 1), [*names, "a GPU"])
    axes.set(xscale="log", xlim=(0.1, 10 * max(days)), xlabel="days (logarithmic)")
    axes.set_ylim(len(bars) + (0.5 if not gpus else -0.5), -0.5)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_title("VGG-16, 1.28 million images × 74 epochs")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    main(output_folder(__doc__))

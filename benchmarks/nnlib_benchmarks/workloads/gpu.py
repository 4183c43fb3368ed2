"""The networks of the GPU comparison ``compare-gpu``.

A name that ends in ``@tf32`` or ``@bf16`` is a workload in that precision.  Small networks, limited
by the time to start launches, come first, then large ones, so that an aborted run has measured the
small ones.
"""

from __future__ import annotations

from dataclasses import replace

from nnlib_benchmarks.workloads import compare, layers, sequences
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Workload
from nnlib_benchmarks.workloads.compare import MakeWorkload, plan

WIDE = (784, 8192, 8192, 8192, 10)
WIDE_BATCH = 4096

VOCABULARY = 50257  #: tokens of GPT-2
PADDED = 50304  #: rows of its embedding, a multiple of 128, in all libraries, as in llm.c
CONTEXT, GPT_BATCH = 1024, 16
GPT_EXAMPLES = 64

ALONE = (24, 12)  #: steps with the batch on the device, and with loading, if `Plan.alone`


def plan_alone(batch: int, quick: bool) -> Plan:
    """Make the plan of models that together would not fit into a GPU.

    Examples
    --------
    >>> plan_alone(256, quick=False).compute.least
    24
    """
    computed, loaded = (steps // 2 for steps in ALONE) if quick else ALONE
    compute, loading = (Budget(0.0, steps, steps) for steps in (computed, loaded))
    return Plan(
        batch, 4, compute, loading, block=4, breakdown=1, epochs=0, alone=True, energy=not quick
    )


def mlp_8192(quick: bool, seed: int) -> Workload:
    """Make an MLP dominated by large GEMMs: 141 million weights."""
    calm = Optimizer("sgd", 0.005, momentum=compare.MOMENTUM)
    made = compare.mlp(WIDE, WIDE_BATCH, quick, seed, name="mlp-8192", optimizer=calm)
    return replace(made, plan=plan(WIDE_BATCH, 8.0, 5, quick), for_gpu=True)


def vgg16(batch: int, quick: bool, seed: int, *, alone: bool) -> Workload:
    """Make VGG-16 on images of 224×224, with a batch for a GPU."""
    name = f"vgg16-b{batch}"
    made = compare.vgg(
        16, 224, 1000, batch, quick, seed, name=name, rate=0.001, seconds=10.0, block=2
    )
    return replace(made, plan=plan_alone(batch, quick) if alone else made.plan, for_gpu=True)


def gpt2_124m(quick: bool, seed: int) -> Workload:
    """Make the smallest GPT-2, with a label at every position."""
    described = layers.gpt(PADDED, CONTEXT, blocks=12, heads=12, width=768)
    tokens = sequences.markov_chain(GPT_EXAMPLES * CONTEXT + 1, seed, VOCABULARY)
    return Workload(
        name="gpt2-124m",
        title=f"GPT-2 of 124 million weights, context {CONTEXT}, batch {GPT_BATCH}",
        data_text=f"synthetic text, {sequences.SUCCESSORS} successors of each of {VOCABULARY:,} "
        "tokens",
        model_text=f"GPT-2: 12 layers, 12 heads, width 768, {VOCABULARY:,} tokens padded to "
        f"{PADDED:,}, tied embeddings, dropout off",
        layers=[described],
        build=lambda: layers.build([described]),
        train=sequences.windows(tokens, CONTEXT, "uint16"),
        test=None,
        target=0.0,
        optimizer=Optimizer("adamw", 0.0003, weight_decay=0.1),
        plan=plan_alone(GPT_BATCH, quick),
        for_gpu=True,
    )


WORKLOADS: dict[str, MakeWorkload] = {
    "mlp-8192": mlp_8192,
    "vgg16-b64": lambda quick, seed: vgg16(64, quick, seed, alone=False),
    "vgg16-b256": lambda quick, seed: vgg16(256, quick, seed, alone=True),
    "gpt2-124m": gpt2_124m,
}
"""Name → function of (quick, seed)."""

COMPARE_GPU = (
    "mlp-tiny", "mlp-digits", "mlp-mnist", "lenet-64", "lstm", "gpt2-124m@bf16", "vgg16-b256@bf16",
    "mlp-wide", "mlp-8192", "mlp-8192@bf16", "lenet-512", "vgg16-b64@bf16", "vgg16-b64@tf32",
    "vgg16-b256@tf32",
)  # fmt: skip

"""``nnlib bench``: the same models on every available backend, timed and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nnlib.cli import CHECK_FAILED
from nnlib.errors import OptionError

DEFAULT_FOLDER = "nnlib-bench"


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    return [name.strip() for name in (value or "").split(",") if name.strip()]


@click.group(invoke_without_command=True, short_help="Time the same training on every backend.")
@click.option(
    "--workloads",
    callback=_names,
    default="mlp,lenet,vgg16,ops",
    show_default=True,
    help="Comma-separated; also: mlp-mnist, scaling, and the lists compare, compare-odd and "
    "compare-gpu. NAME@bf16 or NAME@tf32 is a workload in that precision.",
)
@click.option(
    "--backends",
    callback=_names,
    default="auto",
    show_default=True,
    help="auto (NumPy, and CuPy if it works), or names: numpy,cupy. The first is the reference.",
)
@click.option(
    "--peers",
    callback=_names,
    help="Other libraries to compare with: torch,torch-compile,jax,sklearn on the CPU, "
    "torch-cuda,torch-compile-cuda,jax-cuda on the GPU.",
)
@click.option(
    "--precision",
    "precisions",
    callback=_names,
    default="fp32",
    show_default=True,
    help="Of workloads that name none: fp32,tf32,bf16. Where a GPU takes part, the last two are "
    "its own.",
)
@click.option("--eager", is_flag=True, help="Measure each backend also without nnlib.compile.")
@click.option("--quick", is_flag=True, help="Smaller sizes and fewer samples: under 40 s.")
@click.option(
    "--epochs",
    default=74,
    show_default=True,
    type=click.IntRange(min=1),
    help="Epochs of the projection to 1.28 million images.",
)
@click.option(
    "--out",
    default=DEFAULT_FOLDER,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the JSON, HTML and PNG files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of tables.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.pass_context
def bench(context: click.Context, /, **options: Any) -> None:
    """Train the same models on every available backend, and compare the times.

    Models start from the same weights and use the same batches; a speed-up is printed only if the
    losses agree. Progress goes to stderr, tables (or JSON) to stdout, files to --out.

    Exit codes: 0 done, 1 error, 3 results disagree, 4 a backend or package is missing.
    """
    if context.invoked_subcommand is None:
        context.exit(_run(**options))


def _run(
    workloads: list[str],
    backends: list[str],
    peers: list[str],
    precisions: list[str],
    eager: bool,
    quick: bool,
    epochs: int,
    out: Path,
    as_json: bool,
    seed: int,
) -> int:
    from nnlib_benchmarks import runner
    from nnlib_benchmarks.output import prepare_folder
    from nnlib_benchmarks.progress import show_progress
    from nnlib_benchmarks.report_text import render_text
    from nnlib_benchmarks.reports import Reports
    from nnlib_benchmarks.schema import to_json

    if "auto" in backends and len(backends) > 1:
        raise OptionError(f"--backends must be 'auto' or names. Received: {','.join(backends)}")
    chosen = None if backends in ([], ["auto"]) else backends
    request = runner.Request(workloads, chosen, peers, eager, quick, epochs, seed, precisions)
    runner.check(request)
    reports = Reports(prepare_folder(out))
    with show_progress() as progress:
        result = runner.run(request, progress, reports.write_json)
    paths = reports.write(result, lambda text: click.echo(text, err=True))
    click.echo(to_json(result) if as_json else render_text(result), nl=False)
    for path in paths:
        click.echo(f"written: {path}", err=True)
    return CHECK_FAILED if result.failures else 0


@bench.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the page and the picture; that of RUN if not given.",
)
def report(run: Path, out: Path | None) -> None:
    """Print the tables of RUN.json or RUN.json.gz, and write its page and picture beside it.

    Exit codes: 0 done, 1 error.
    """
    from nnlib_benchmarks.output import prepare_folder
    from nnlib_benchmarks.report_text import render_text
    from nnlib_benchmarks.reports import write_page_and_picture
    from nnlib_benchmarks.schema import load_run

    result = load_run(run)
    name = run.name.removesuffix(".gz").removesuffix(".json")
    stem = (prepare_folder(out) if out else run.parent) / name
    for path in write_page_and_picture(result, stem, lambda text: click.echo(text, err=True)):
        click.echo(f"written: {path}", err=True)
    click.echo(render_text(result), nl=False)


@bench.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Compare runs of different machines nevertheless.")
@click.option(
    "--min-effect",
    default=0.05,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Relative change of the median that counts at all.",
)
@click.option(
    "--alpha",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Significance level of the Mann-Whitney test, one-sided.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def compare(context: click.Context, /, **options: Any) -> None:
    """List measurements slower in AFTER.json than in BEFORE.json; either may be packed with gzip.

    Exit codes: 0 nothing got slower, 1 error (also: different machines), 3 something got slower.
    """
    context.exit(_compare(**options))


def _compare(
    before: Path, after: Path, force: bool, min_effect: float, alpha: float, as_json: bool
) -> int:
    from nnlib_benchmarks.compare import compare_runs
    from nnlib_benchmarks.report_compare import comparison_json, comparison_text
    from nnlib_benchmarks.schema import load_run

    comparison = compare_runs(
        load_run(before), load_run(after), alpha=alpha, min_effect=min_effect, force=force
    )
    write: Callable[[Any], str] = comparison_json if as_json else comparison_text
    click.echo(write(comparison), nl=False)
    return CHECK_FAILED if comparison.with_verdict("slower") else 0

"""The harness of ``nnlib bench``.

It trains the same models, from the same weights, on the same batches, on every available backend,
and writes one JSON file a run, from which every table, plot and page is made.

Read it in this order: `nnlib_benchmarks.runner` (a run), `nnlib_benchmarks.contestants` (backends
and peers), `nnlib_benchmarks.timing` (clocks), `nnlib_benchmarks.records` (the results).  The JSON
is described in ``docs/benchmarks.md``.
"""

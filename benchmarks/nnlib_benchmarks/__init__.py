"""How much faster is the GPU, really?  The harness behind ``nnlib bench``.

It trains the same models, from the same weights, on the same batches, on every backend that works
here, and writes one JSON file a run, from which every table, plot and page is made.

Read it in this order: `nnlib_benchmarks.runner` (what a run is), `nnlib_benchmarks.contestants`
(who runs), `nnlib_benchmarks.timing` (how a clock is read), `nnlib_benchmarks.records` (what is
written down).  The JSON is described in ``docs/benchmarks.md``.
"""

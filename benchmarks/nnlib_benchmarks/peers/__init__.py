"""Other libraries that train the same models from the same weights on the same batches.

Each runs in a separate process, so that its thread pools and its memory are not nnlib's, and
takes turns like a backend.  A peer is a module that serves the commands listed in
`nnlib_benchmarks.peers.process`.
"""

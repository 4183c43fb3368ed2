"""Kernels in terms of ``xp`` and traces: what every backend can use."""

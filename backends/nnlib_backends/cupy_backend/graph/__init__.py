"""Programs of the CuPy backend: a trace is captured as one CUDA graph, which replays launch.

Nothing here imports CuPy: the driver is behind `device.GraphDevice`.
"""

from nnlib_backends.cupy_backend.graph.device import GraphDevice
from nnlib_backends.cupy_backend.graph.program import GraphProgram
from nnlib_backends.cupy_backend.graph.tracer import GraphTracer

__all__ = ["GraphDevice", "GraphProgram", "GraphTracer"]

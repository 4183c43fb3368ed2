"""A compiled step as one CUDA graph: what was recorded is captured once, and launched from then on.

Nothing here imports CuPy: everything that touches the driver is behind `device.GraphDevice`.
"""

from nnlib_backends.cupy_backend.graph.device import GraphDevice
from nnlib_backends.cupy_backend.graph.program import GraphProgram
from nnlib_backends.cupy_backend.graph.tracer import GraphTracer

__all__ = ["GraphDevice", "GraphProgram", "GraphTracer"]

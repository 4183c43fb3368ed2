"""A compiled step as one CUDA graph: what was recorded is captured once, and launched from then on.

Nothing here imports CuPy: everything that touches the driver is behind `device.GraphDevice`.
"""

from nnlib_backends.cupy_backend.graph.device import GraphDevice
from nnlib_backends.cupy_backend.graph.recorder import GraphRecorder
from nnlib_backends.cupy_backend.graph.recording import GraphRecording

__all__ = ["GraphDevice", "GraphRecorder", "GraphRecording"]

"""Convolutions as graphs of the cuDNN frontend: forward, and its gradients.

cuDNN's dimensions are (N, C, H, W); the strides describe our memory, (N, H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from nnlib_backends.cupy_backend.cudnn.graphs import DTYPES

__all__ = ["BIAS", "FILTERS", "IMAGE", "RESULT", "Convolution"]

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]

#: Identifiers of a graph's tensors.
IMAGE, FILTERS, RESULT, BIAS = 1, 2, 3, 4


@dataclass(frozen=True)
class Convolution:
    """A problem of convolution to plan; all arrays are contiguous.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"image"`` (gradient by the image) or ``"filters"`` (by the filters).
    image, filters, result : tuple of int
        Shapes (N, H, W, C), (O, kh, kw, C / groups) and (N, H', W', O).
    dtype : str
        Of all arrays; sums are in float32.
    bias, relu : bool
        Whether the forward direction adds one, and ends in a ReLU.
    stride, padding, dilation : pairs of int
    tf32 : bool
        Whether float32 products may be rounded to TF32's 10-bit mantissa.
    """

    direction: str
    image: Shape
    filters: Shape
    result: Shape
    dtype: str
    bias: bool
    relu: bool
    stride: Pair
    padding: Pair
    dilation: Pair
    tf32: bool

    #: Some kernels copy all arrays to another layout in gigabytes, but are hardly faster.
    workspace_limit: ClassVar[int | None] = 512 << 20

    def add_to(self, graph: Any, cudnn: Any) -> None:
        """Add its tensors and operations to an empty graph."""
        geometry = {
            "padding": list(self.padding),
            "stride": list(self.stride),
            "dilation": list(self.dilation),
        }
        io = getattr(cudnn.data_type, DTYPES[self.dtype])

        def tensor(uid: int, shape: Shape) -> Any:
            dim, stride = _layout(shape)
            return graph.tensor(dim=dim, stride=stride, data_type=io, uid=uid, name=f"tensor{uid}")

        image, filters, result = self.image, self.filters, self.result
        if self.direction == "forward":
            output = graph.conv_fprop(tensor(IMAGE, image), tensor(FILTERS, filters), **geometry)
            if self.bias:
                output = graph.bias(input=output, bias=tensor(BIAS, (1, 1, 1, result[3])))
            if self.relu:
                output = graph.relu(input=output)
            uid, shape = RESULT, result
        elif self.direction == "image":
            output = graph.conv_dgrad(tensor(RESULT, result), tensor(FILTERS, filters), **geometry)
            uid, shape = IMAGE, image
        else:
            output = graph.conv_wgrad(tensor(IMAGE, image), tensor(RESULT, result), **geometry)
            uid, shape = FILTERS, filters
        dim, stride = _layout(shape)  # the gradients' sizes do not follow from the inputs'
        output.set_output(True).set_dim(dim).set_stride(stride).set_data_type(io).set_uid(uid)

    def excluded(self, cudnn: Any) -> list[Any]:
        """Return the notes of kernels that are less precise, or whose results vary between runs."""
        note = cudnn.numerical_note
        notes = [note.DOWN_CONVERT_INPUTS, note.REDUCED_PRECISION_REDUCTION, note.NONDETERMINISTIC]
        if self.dtype == "float32" and not self.tf32:
            notes.append(note.TENSOR_CORE)  # for float32 that means TF32
        return notes


def _layout(shape: Shape) -> tuple[list[int], list[int]]:
    """Return dimensions and strides of contiguous NHWC memory in cuDNN's order, NCHW."""
    n, h, w, c = shape
    return [n, c, h, w], [h * w * c, 1, w * c, c]

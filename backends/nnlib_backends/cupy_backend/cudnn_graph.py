"""Convolutions as graphs of the cuDNN frontend: forward, and its gradients.

cuDNN's dimensions are always (N, C, H, W); that our memory is (N, H, W, C) is said by strides.
Nothing here needs CuPy, nor a GPU: cuDNN also plans for a GPU that is only described.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]

#: Names of a graph's tensors when it is executed.
IMAGE, FILTERS, RESULT, BIAS = 1, 2, 3, 4

#: NumPy's name of a dtype → cuDNN's.  cuDNN has no float64 convolution of images in this order.
DTYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}


@dataclass(frozen=True)
class Problem:
    """One convolution to plan; the key of the plan cache.

    All arrays are contiguous, so that their strides follow from the shapes.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"image"`` (gradient by the image) or ``"filters"`` (by the filters).
    image, filters, result : tuple of int
        Shapes (N, H, W, C), (O, kh, kw, C / groups) and (N, H', W', O).
    dtype : str
        Of all arrays; sums are in float32.
    bias : bool
        Whether the forward direction adds one.
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
    stride: Pair
    padding: Pair
    dilation: Pair
    tf32: bool


def build(cudnn: Any, problem: Problem, **where: Any) -> Any:
    """Plan a problem.

    Parameters
    ----------
    cudnn : module
        The frontend.
    problem : Problem
    **where
        ``handle=…`` of a GPU, or ``device_property=…, sm_version=…`` to plan without one.

    Returns
    -------
    cudnn.pygraph
        Ready to execute with the buffers `IMAGE`, `FILTERS`, `RESULT` and, if any, `BIAS`.

    Raises
    ------
    cudnn.cudnnGraphNotSupportedError
        If cuDNN has no kernel for it.
    """
    float32 = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        io_data_type=getattr(cudnn.data_type, DTYPES[problem.dtype]),
        intermediate_data_type=float32,
        compute_data_type=float32,
        **where,
    )
    _add_operations(graph, problem)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes(_excluded(cudnn, problem))
    graph.check_support()
    graph.build_plans()
    return graph


def _add_operations(graph: Any, problem: Problem) -> None:
    geometry = {
        "padding": list(problem.padding),
        "stride": list(problem.stride),
        "dilation": list(problem.dilation),
    }
    io = graph.context.io_data_type

    def tensor(uid: int, shape: Shape) -> Any:
        dim, stride = _layout(shape)
        return graph.tensor(dim=dim, stride=stride, data_type=io, uid=uid, name=f"tensor{uid}")

    image, filters, result = problem.image, problem.filters, problem.result
    if problem.direction == "forward":
        output = graph.conv_fprop(tensor(IMAGE, image), tensor(FILTERS, filters), **geometry)
        if problem.bias:
            output = graph.bias(input=output, bias=tensor(BIAS, (1, 1, 1, result[3])))
        uid, shape = RESULT, result
    elif problem.direction == "image":
        output = graph.conv_dgrad(tensor(RESULT, result), tensor(FILTERS, filters), **geometry)
        uid, shape = IMAGE, image
    else:
        output = graph.conv_wgrad(tensor(IMAGE, image), tensor(RESULT, result), **geometry)
        uid, shape = FILTERS, filters
    dim, stride = _layout(shape)  # the gradients' sizes do not follow from the inputs'
    output.set_output(True).set_dim(dim).set_stride(stride).set_data_type(io).set_uid(uid)


def _layout(shape: Shape) -> tuple[list[int], list[int]]:
    """Dimensions in cuDNN's order, and the strides that contiguous NHWC memory has there."""
    n, h, w, c = shape
    return [n, c, h, w], [h * w * c, 1, w * c, c]


def _excluded(cudnn: Any, problem: Problem) -> list[Any]:
    """Kernels that are less precise than was asked for."""
    note = cudnn.numerical_note
    excluded = [note.DOWN_CONVERT_INPUTS, note.REDUCED_PRECISION_REDUCTION]
    if problem.dtype == "float32" and not problem.tf32:
        excluded.append(note.TENSOR_CORE)  # for float32 that means TF32
    return excluded

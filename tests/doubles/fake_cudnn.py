"""A test double of cuDNN's frontend, of CuPy, and of the arrays of a GPU.

Graphs are executed in the host's memory by their dimensions and strides, in float64, and rounded to
the dtypes of their results.
"""

import ctypes
from types import SimpleNamespace

import ml_dtypes
import numpy as np
from strict_backend.backend import StrictBackend
from strict_backend.kernels import is_capturing, run

from nnlib_backends.base import anywhere
from nnlib_backends.common import attention, im2col
from nnlib_backends.cupy_backend.cudnn.attention import make_attention
from nnlib_backends.cupy_backend.cudnn.convolution import Epilogue, make_convolution
from nnlib_backends.cupy_backend.cudnn.planner import Planner
from nnlib_backends.numpy_backend import namespace

STREAM = 77
GENERAL = im2col.make_kernels(namespace) | attention.make_kernels(namespace)


class NotSupportedError(RuntimeError):
    pass


class DeviceArray(np.ndarray):
    """An array with its address in ``data.ptr``, like CuPy's."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


class Namespace:
    """NumPy's functions, returning device arrays."""

    def __getattr__(self, name):
        function = getattr(namespace, name)
        if isinstance(function, type):
            return function

        def call(*args, **options):
            result = function(*args, **options)
            if result is args[0]:
                return result
            return result.view(DeviceArray) if isinstance(result, np.ndarray) else result

        return call

    def ascontiguousarray(self, array, dtype=None):
        if array.flags.c_contiguous and dtype in (None, array.dtype):
            return array
        return np.ascontiguousarray(array, dtype=dtype).view(DeviceArray)


class Tensor:
    def __init__(self, uid=None, dim=None, stride=None, data_type=None, name=""):
        self.uid, self.dim, self.stride, self.data_type = uid, dim, stride, data_type

    def __getattr__(self, name):  # set_dim, set_stride, …
        def setter(value):
            setattr(self, name.removeprefix("set_"), value)
            return self

        return setter

    def memory(self, pointers):
        """Return the memory of the tensor as cuDNN addresses it."""
        address = pointers[self.uid]
        assert address % 16 == 0, "the address is not aligned for cuDNN"
        assert all(stride > 0 for stride in self.stride), "elements overlap in memory"
        dtype = np.dtype(self.data_type)
        count = 1 + sum((d - 1) * s for d, s in zip(self.dim, self.stride, strict=True))
        memory = np.frombuffer(
            (ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype
        )
        strides = [s * dtype.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(memory, self.dim, strides)

    def read(self, pointers):
        return self.memory(pointers).astype(np.float64)


class Graph:
    """A graph with three plans, of which some may be excluded."""

    plans = ("eng1_k2=0", "eng1_k2=7", "eng0")

    def __init__(self, world, io_data_type, intermediate_data_type, compute_data_type, handle):
        assert intermediate_data_type == compute_data_type == "float32"
        self.world, self.handle = world, handle
        self.notes, self.limit, self.relu_tensor, self.bias_tensor = [], None, None, None
        self.options, self.chosen = {}, None

    tensor = staticmethod(Tensor)

    def tensor_scalar(self, value, scalar_type):
        assert scalar_type == "constant"
        return value

    # Convolution

    def conv_fprop(self, image, weight, **geometry):
        return self._convolution("forward", image, weight, geometry)

    def conv_dgrad(self, loss, filter, **geometry):
        return self._convolution("image", loss, filter, geometry)

    def conv_wgrad(self, image, loss, **geometry):
        return self._convolution("filters", image, loss, geometry)

    def _convolution(self, kind, first, second, geometry):
        self.kind, self.inputs, self.geometry = kind, (first, second), geometry
        self.outputs = [Tensor()]
        return self.outputs[0]

    def bias(self, input, bias):
        self.bias_tensor = bias
        return input

    def relu(self, input):
        self.relu_tensor = input
        return input

    def _convolve(self, pointers):
        (output,) = self.outputs
        first, second = (t.read(pointers).transpose(0, 2, 3, 1) for t in self.inputs)
        target = output.memory(pointers).transpose(0, 2, 3, 1)
        image = target if self.kind == "image" else first
        filters = target if self.kind == "filters" else second
        options = {key: tuple(value) for key, value in self.geometry.items()}
        options["groups"] = image.shape[3] // filters.shape[3]
        kernel = GENERAL["conv2d"]
        if self.kind == "forward":
            bias = None if self.bias_tensor is None else self.bias_tensor.read(pointers).reshape(-1)
            y = kernel.forward(first, second, bias, **options)[0]
            target[...] = y if self.relu_tensor is None else np.maximum(y, 0)
            return
        g = second if self.kind == "filters" else first
        needed = (self.kind == "image", self.kind == "filters", False)
        shapes = (np.zeros(image.shape), np.zeros(filters.shape))
        operands = (
            shapes[0] if self.kind == "image" else image,
            shapes[1] if self.kind == "filters" else filters,
        )
        gradients = kernel.backward(g, None, anywhere(needed), *operands, None, **options)
        target[...] = gradients[0 if self.kind == "image" else 1]

    # Attention

    def sdpa(self, q, k, v, generate_stats, **options):
        assert generate_stats
        self._attention("attend", (q, k, v), options, outputs=2)
        return self.outputs

    def sdpa_backward(self, q, k, v, o, dO, stats, use_deterministic_algorithm, **options):
        self.deterministic = use_deterministic_algorithm
        self._attention("attend back", (q, k, v, o, dO, stats), options, outputs=3)
        return self.outputs

    def _attention(self, kind, inputs, options, outputs):
        features = [t.dim[3] for t in inputs[:3]]
        if any(n % 8 for n in features):
            raise NotSupportedError("hidden_dim should be multiple of 8")
        if options.get("diagonal_alignment") == "bottom right" and options.keys() & {
            "bias", "dropout"
        }:  # fmt: skip
            raise NotSupportedError("only supported with is_bias=False, is_dropout=False")
        self.kind, self.inputs, self.options = kind, inputs, options
        self.outputs = [Tensor() for _ in range(outputs)]

    def _scores(self, q, k, pointers):
        scores = q @ k.swapaxes(2, 3) * self.options["attn_scale"]
        if "bias" in self.options:
            bias = self.options["bias"].read(pointers)
            assert np.isfinite(bias).all(), "cuDNN would compute ∞ − ∞"
            scores = scores + bias
        if "diagonal_alignment" in self.options:
            queries, keys = scores.shape[2:]
            shift = keys - queries if self.options["diagonal_alignment"] == "bottom right" else 0
            last = np.arange(queries)[:, None] + shift + self.options["diagonal_band_right_bound"]
            scores = np.where(np.arange(keys) > last, -np.inf, scores)
        return scores

    def _factor(self, pointers):
        if "dropout" not in self.options:
            return 1.0
        mask, *numbers = self.options["dropout"]
        assert numbers == [1.0] * (1 if self.kind == "attend" else 2)
        return mask.read(pointers)

    def _attend(self, pointers):
        q, k, v = (t.read(pointers) for t in self.inputs)
        scores = self._scores(q, k, pointers)
        top = scores.max(axis=-1, keepdims=True)
        total = np.exp(scores - top).sum(axis=-1, keepdims=True)
        weights = np.exp(scores - top) / total * self._factor(pointers)
        y, statistics = (t.memory(pointers) for t in self.outputs)
        y[...], statistics[...] = weights @ v, top + np.log(total)

    def _attend_back(self, pointers):
        q, k, v, y, g, statistics = (t.read(pointers) for t in self.inputs)
        scores, factor = self._scores(q, k, pointers), self._factor(pointers)
        weights = np.exp(scores - statistics)
        by_weights = g @ v.swapaxes(2, 3) * factor
        by_scores = weights * (by_weights - (g * y).sum(axis=-1, keepdims=True))
        dq, dk, dv = (t.memory(pointers) for t in self.outputs)
        dq[...] = by_scores @ k * self.options["attn_scale"]
        dk[...] = by_scores.swapaxes(2, 3) @ q * self.options["attn_scale"]
        dv[...] = (weights * factor).swapaxes(2, 3) @ g

    # Plans

    def validate(self):
        pass

    def build_operation_graph(self):
        pass

    def create_execution_plans(self, modes):
        assert modes == ["A", "FALLBACK"]

    def deselect_numeric_notes(self, notes):
        self.notes = notes

    def deselect_workspace_greater_than(self, limit):
        self.limit = limit

    def check_support(self):
        if self.kind in self.world.unsupported:
            raise NotSupportedError(self.kind)

    def get_execution_plan_count(self):
        return len(self.plans)

    def get_plan_name_at_index(self, index):
        return self.plans[index]

    def build_plan_at_index(self, index):
        if self.plans[index] in self.world.excluded:
            raise NotSupportedError("Deselecting execution plan")
        self.world.built.append(self.plans[index])
        self.chosen = self.plans[index]
        return self

    def build_plans(self):
        self.build_plan_at_index(
            next(i for i, name in enumerate(self.plans) if name not in self.world.excluded)
        )
        self.world.log.append(self)

    def get_workspace_size(self):
        return 24

    def execute(self, pointers, workspace, handle):
        assert handle is self.handle
        assert handle.stream == STREAM
        self.world.clock += self.world.milliseconds.get(self.chosen, 1.0)
        self.world.executed.append(self)
        kinds = {"attend": self._attend, "attend back": self._attend_back}
        compute = kinds.get(self.kind, self._convolve)
        run(lambda pointers, arrays: compute(pointers), pointers, self.world.arrays)


class Event:
    def __init__(self, world):
        self.world = world

    def record(self):
        self.time = self.world.clock

    def synchronize(self):
        pass


class Device:
    id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class World:
    """Test doubles of cuDNN and CuPy, a planner, and a log of their calls."""

    def __init__(self, choices, deterministic=True, xp=None, general=GENERAL):
        self.log, self.built, self.executed = [], [], []  # graphs; names of plans; graphs
        self.unsupported, self.excluded, self.milliseconds = set(), set(), {}
        self.clock, self.capturing, self.tf32 = 0.0, is_capturing, False
        self.xp, self.general = xp or Namespace(), general
        self.cudnn = SimpleNamespace(
            pygraph=lambda **options: Graph(self, **options),
            data_type=SimpleNamespace(FLOAT="float32", HALF="float16", BFLOAT16="bfloat16"),
            heur_mode=SimpleNamespace(A="A", FALLBACK="FALLBACK"),
            numerical_note=SimpleNamespace(
                DOWN_CONVERT_INPUTS="down", REDUCED_PRECISION_REDUCTION="reduced",
                TENSOR_CORE="tensor", NONDETERMINISTIC="chance",
            ),
            scalar_type=SimpleNamespace(COMPILE_TIME_CONST="constant"),
            diagonal_alignment=SimpleNamespace(TOP_LEFT="top left", BOTTOM_RIGHT="bottom right"),
            cudnnGraphNotSupportedError=NotSupportedError,
            create_handle=lambda: SimpleNamespace(stream=None),
            set_stream=lambda handle, stream: setattr(handle, "stream", stream),
        )  # fmt: skip
        stream = SimpleNamespace(ptr=STREAM, is_capturing=lambda: self.capturing())
        self.cupy = SimpleNamespace(
            empty=self.xp.empty,
            cuda=SimpleNamespace(
                get_current_stream=lambda: stream,
                Event=lambda: Event(self),
                get_elapsed_time=lambda begin, end: end.time - begin.time,
            ),
        )
        self.planner = Planner(self.cudnn, self.cupy, Device(), choices)
        self.arrays = []  # of the present computation
        asked = self.planner.run
        self.planner.run = lambda problem, buffers: self._noted(asked, problem, buffers)
        self.kernels = self.make(deterministic=deterministic)

    def _noted(self, run, problem, buffers):
        """Keep the buffers, of which a captured graph has only the addresses."""
        self.arrays = [getattr(array, "_array", array) for array in buffers.values()]
        return run(problem, buffers)

    def make(self, epilogue=None, deterministic=True):
        """Return the kernel pairs."""
        return {
            "conv2d": make_convolution(
                self.planner,
                self.xp,
                self.general["conv2d"],
                lambda: self.tf32,
                epilogue or Epilogue(),
            ),
            **make_attention(self.planner, self.xp, self.general, deterministic),
        }


class CudnnBackend(StrictBackend):
    """The strict backend with kernel pairs by the test double of cuDNN."""

    name = "strict with cuDNN"

    def __init__(self, choices):
        self.world = World(choices, xp=StrictBackend.xp, general=StrictBackend.kernels)
        self.kernels = {**StrictBackend.kernels, **self.world.make()}


def on_device(array, dtype=np.float32):
    """Return an aligned device array."""
    array = np.asarray(array)
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    memory = np.empty(array.size * dtype.itemsize + 256, np.uint8)
    start = -memory.ctypes.data % 256
    result = memory[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    result[...] = array
    return result.view(DeviceArray)

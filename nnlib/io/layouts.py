"""Convert weights of PyTorch and Keras to nnlib's layouts.

The layers with weights are paired with those of a module, for any architecture, and converted by
their type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.autograd import Tensor, no_grad, zeros
from nnlib.errors import OptionError, StateError
from nnlib.io.pairing import Layer, in_order, layers_of, pairs
from nnlib.nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Embedding,
    GroupNorm,
    LayerNorm,
    Linear,
    Module,
    PReLU,
    RMSNorm,
)
from nnlib.nn.inference import inference
from nnlib.reading import parsing

__all__ = ["from_keras", "from_torch"]

Values = npt.NDArray[Any]
State = dict[str, Values]
Image = tuple[int, int, int]

_BatchNorm = (BatchNorm1d, BatchNorm2d)
_PER_FEATURE = (*_BatchNorm, LayerNorm, RMSNorm, GroupNorm, PReLU)
_KERAS_LAYERS = (Conv1d, Conv2d, Linear, *_BatchNorm, LayerNorm, Embedding)
_COUNT = "num_batches_tracked"


# PyTorch -------------------------------------------------------------------------------------


def from_torch(
    state: Mapping[str, Any], module: Module, *, input_shape: Sequence[int] | None = None
) -> State:
    """Convert a state dict of PyTorch to one of an nnlib module of the same architecture.

    Names are matched from the top: children with equal names are paired (``features`` and
    ``classifier`` of VGG), else the layers with weights in their order, so that ``classifier.0``
    here may be ``classifier.1`` there.  Filters are transposed from (out, in, kh, kw) to
    (out, kh, kw, in).  After a flattened image PyTorch's features have the order (C, H, W),
    nnlib's (H, W, C): the module is run once to find these layers.  All other values, also those of
    LSTM and attention layers, are the same in both.

    Parameters
    ----------
    state : mapping of str to array
        Such as ``torch.load("vgg16.pth")``, or ``nnlib.load("vgg16.safetensors")``.  Values may be
        tensors of PyTorch or nnlib, or arrays.
    module : Module
        Module for the weights, which is not changed.
    input_shape : sequence of int, optional
        Shape of one input, without the batch; the module's own attribute ``input_shape`` if not
        given.  Needed if there are convolutions and linear layers.

    Returns
    -------
    dict of str to numpy.ndarray
        State for ``module.load_state_dict``, which checks the shapes; its ``skip_mismatch=True``
        leaves out a head for other classes.

    Raises
    ------
    StateError
        If the layers cannot be paired.
    OptionError
        If the input's shape is needed and not given.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> theirs = {"conv.weight": np.ones((8, 3, 3, 3)), "conv.bias": np.ones(8)}
    >>> model.load_state_dict(from_torch(theirs, model))
    2 of 2 values of Sequential were loaded
    """
    if not isinstance(state, Mapping):
        raise StateError(
            "the state must be a mapping of names to arrays, such as model.state_dict(). "
            f"Received: {type(state).__name__}"
        )
    flattened = _flattened_images(module, input_shape)
    result: State = {}
    with parsing("the state", "one of PyTorch, names and arrays", StateError):
        for their, own in pairs(layers_of(state), module):
            layer, image = module.get_submodule(own.path), flattened.get(own.path)
            for role, value in their.values.items():
                result[own.name(role)] = _torch_value(layer, role, _on_host(value), image)
            if isinstance(layer, _BatchNorm) and _COUNT in own.values:
                result.setdefault(own.name(_COUNT), np.zeros((), np.int64))  # before PyTorch 0.4.1
    return result


def _torch_value(module: Module, role: str, value: Values, image: Image | None) -> Values:
    if isinstance(module, Conv1d | Conv2d) and role == "weight" and value.ndim > 2:
        return np.ascontiguousarray(np.moveaxis(value, 1, -1))  # (out, in, …) → (out, …, in)
    if image is None or value.shape[-1:] != (math.prod(image),):
        return value
    height, width, channels = image
    if isinstance(module, Linear) and role == "weight":
        return value.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(value.shape)
    if isinstance(module, _PER_FEATURE):
        return value.reshape(channels, height, width).transpose(1, 2, 0).reshape(value.shape)
    return value


def _flattened_images(module: Module, input_shape: Sequence[int] | None) -> dict[str, Image]:
    """Return path → (H, W, C) for each layer whose features are a flattened image."""
    kinds = {type(m) for m in module.modules()}
    if not kinds & {Linear, *_BatchNorm, LayerNorm}:
        return {}
    shape = getattr(module, "input_shape", None) if input_shape is None else input_shape
    if shape is None:
        if kinds & {Conv2d}:
            raise OptionError(
                "input_shape must be given, such as (224, 224, 3): the order of features behind a "
                "flattened image depends on its size. Received: none, and "
                f"{type(module).__name__} has no attribute input_shape"
            )
        return {}
    return _trace_shapes(module, tuple(shape)) if len(shape) == 3 else {}


def _trace_shapes(module: Module, shape: tuple[int, ...]) -> dict[str, Image]:
    """Run a module and inspect the inputs and outputs of its layers."""
    images: dict[str, Image] = {}
    last: list[tuple[int, ...]] = [(0, *shape)]  # shape of the last image

    def inspect(path: str) -> Callable[[Module, tuple[Any, ...], Any], None]:
        def hook(layer: Module, inputs: tuple[Any, ...], output: Any) -> None:
            taken = inputs[0] if inputs else None
            if not (isinstance(taken, Tensor) and isinstance(output, Tensor)):
                return
            image = last[0][1:]
            by_feature = taken.ndim == 2 and isinstance(layer, (Linear, *_PER_FEATURE))
            if by_feature and len(image) == 3 and math.prod(image) == taken.shape[1]:
                images[path] = (image[0], image[1], image[2])
            for value in (taken, output):
                if value.ndim == 4 or (value.ndim == 2 and isinstance(layer, Linear)):
                    last[0] = value.shape

        return hook

    parts = [(path, m) for path, m in module.named_modules() if not m._modules]
    handles = [m.register_forward_hook(inspect(path)) for path, m in parts]
    first = next(module.parameters())
    try:
        with inference(module), no_grad():
            module(zeros(1, *shape, dtype=first.dtype, backend=first.backend))
    finally:
        for handle in handles:
            handle.remove()
    return images


# Keras ---------------------------------------------------------------------------------------

_ROLES = {
    "kernel": "weight",
    "gamma": "weight",
    "embeddings": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def from_keras(weights: Mapping[str, Any] | Sequence[Any], module: Module) -> State:
    """Convert weights of Keras (channels last) to a state dict of an nnlib module.

    Layers with weights are paired in their order.  Filters are transposed from (kh, kw, in, out) to
    (out, kh, kw, in), and the weights of dense layers from (in, out) to (out, in).  The order of
    features after a flattened image is the same in both.

    Two options of Keras are not among the weights: batch normalisation adds 0.001 to the variance
    (``nn.BatchNorm2d(…, eps=1e-3)``), and ``padding="same"`` with a stride pads other sides than in
    nnlib.

    Parameters
    ----------
    weights : sequence of array, or mapping
        ``model.get_weights()``; or layer → its list of arrays, ``{layer.name: layer.get_weights()
        for layer in model.layers}``; or path → array, with paths such as
        ``"block1_conv1/kernel"``, in the order of the layers.
    module : Module
        Module for the weights, which is not changed.

    Returns
    -------
    dict of str to numpy.ndarray
        State for ``module.load_state_dict``, which checks the shapes; its ``skip_mismatch=True``
        leaves out a head for other classes.

    Raises
    ------
    StateError
        If the layers cannot be paired, or a type of layer is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(32, 10))
    >>> theirs = [np.ones((5, 5, 3, 8)), np.ones(8), np.ones((32, 10)), np.ones(10)]
    >>> model.load_state_dict(from_keras(theirs, model))
    4 of 4 values of Sequential were loaded
    """
    ours = layers_of(module.state_dict())
    modules = [module.get_submodule(own.path) for own in ours]
    for own, layer in zip(ours, modules, strict=True):
        if not isinstance(layer, _KERAS_LAYERS):
            known = ", ".join(kind.__name__ for kind in _KERAS_LAYERS)
            raise StateError(
                f"weights of Keras can be converted for {known}. "
                f"Received: {type(layer).__name__} at {own.path!r}"
            )
    result: State = {}
    with parsing("the weights", "those of Keras, arrays layer by layer", StateError):
        matched = in_order(_group_by_layers(weights, ours), ours)
        for (their, own), layer in zip(matched, modules, strict=True):
            for role, value in _with_roles(their, own).items():
                result[own.name(role)] = _keras_value(layer, role, _on_host(value))
            if _COUNT in own.values:
                result[own.name(_COUNT)] = np.zeros((), np.int64)  # Keras does not count batches
    return result


def _group_by_layers(weights: Any, ours: Sequence[Layer]) -> list[Layer]:
    """Group weights by layers, each with a list of values or a dict by roles."""
    if isinstance(weights, Mapping):
        layers: dict[str, Any] = {}
        for path, value in weights.items():
            if isinstance(value, list | tuple):
                layers[path] = list(value)
            else:
                parent, _, kind = path.split(":")[0].rpartition("/")
                layers.setdefault(parent, {})[_ROLES.get(kind, kind)] = value
        return [Layer(path, values) for path, values in layers.items() if len(values)]
    if not isinstance(weights, Sequence) or isinstance(weights, str):
        raise StateError(
            "the weights must be a list, such as model.get_weights(), or a mapping. "
            f"Received: {type(weights).__name__}"
        )
    counts = [len(_roles(own)) for own in ours]
    if sum(counts) != len(weights):
        raise StateError(
            f"the module has {sum(counts)} values in {len(ours)} layers, and as many arrays are "
            f"needed. Received: {len(weights)}. Make layers without bias with bias=False"
        )
    values = iter(weights)
    return [
        Layer(own.path, [next(values) for _ in range(count)])
        for own, count in zip(ours, counts, strict=True)
    ]


def _roles(own: Layer) -> list[str]:
    return [role for role in own.values if role != _COUNT]


def _with_roles(their: Layer, own: Layer) -> dict[str, Any]:
    if isinstance(their.values, dict):
        return their.values
    roles = _roles(own)
    if len(their.values) != len(roles):
        raise StateError(
            f"{own.path} has {', '.join(roles)}, and as many arrays are needed. Received: "
            f"{len(their.values)} of {their.path}"
        )
    return dict(zip(roles, their.values, strict=True))


def _keras_value(module: Module, role: str, value: Values) -> Values:
    if role == "weight" and isinstance(module, Conv1d | Conv2d | Linear):
        return np.ascontiguousarray(np.moveaxis(value, -1, 0))  # (…, in, out) → (out, …, in)
    return value


def _on_host(value: Any) -> Values:
    """Convert an array of nnlib, PyTorch, Keras or JAX to a NumPy array."""
    if isinstance(value, Tensor):
        return value.numpy()
    if type(value).__module__.partition(".")[0] == "torch":
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value  # NumPy has none
        return np.asarray(value.numpy())
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)

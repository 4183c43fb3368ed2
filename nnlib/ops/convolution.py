"""Two-dimensional convolution, which in deep learning is a correlation, and im2col.

Images are (N, H, W, C), filters (O, kh, kw, C / groups).
"""

from nnlib.errors import ShapeError, describe
from nnlib.ops.linalg import matmul
from nnlib.ops.linear import FUSED_ACTIVATIONS
from nnlib.ops.operation import Policy, fused, primitive
from nnlib.ops.shaping import concatenate, pad, reshape, transpose

__all__ = ["conv2d", "extract_patches", "fold_patches"]


@primitive
def extract_patches(xp, x, *, size, stride=(1, 1), dilation=(1, 1)):
    """im2col: return every window of an image, (N, H, W, C) → (N, H', W', kh, kw, C).

    Parameters
    ----------
    x : (N, H, W, C)
    size, stride, dilation : pairs of int
        Of a window, between windows, between the pixels of a window; each (height, width).

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> ops.extract_patches(nnlib.ones(1, 5, 6, 3), size=(3, 3)).shape
    (1, 3, 4, 3, 3, 3)
    """
    reach = tuple((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True))
    windows = xp.sliding_window_view(x, reach, axis=(1, 2))  # (N, H', W', C, reach, reach)
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return xp.transpose(windows, (0, 1, 2, 4, 5, 3))


@extract_patches.vjp("x")
def _(g, x_shape, size, stride, dilation):
    return fold_patches(g, shape=x_shape, size=size, stride=stride, dilation=dilation)


@primitive(exact=False)
def fold_patches(xp, windows, *, shape, size, stride=(1, 1), dilation=(1, 1)):
    """col2im, the adjoint of `extract_patches`: add every window to the image.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> ops.fold_patches(nnlib.ones(1, 1, 2, 1, 2, 1), shape=(1, 1, 3, 1), size=(1, 2)).flatten()
    tensor([1., 2., 1.])
    """
    image = xp.zeros(shape, dtype=windows.dtype)
    rows, columns = windows.shape[1], windows.shape[2]
    for i in range(size[0]):
        for j in range(size[1]):
            top, left = i * dilation[0], j * dilation[1]
            image[
                :,
                top : top + rows * stride[0] : stride[0],
                left : left + columns * stride[1] : stride[1],
            ] += windows[:, :, :, i, j]
    return image


@fold_patches.vjp("windows")
def _(g, size, stride, dilation):
    return extract_patches(g, size=size, stride=stride, dilation=dilation)


def check_window(x, size, padding=(0, 0), dilation=(1, 1)):
    """Check that an array is an image (N, H, W, C) and not smaller than a window.

    Examples
    --------
    >>> import nnlib
    >>> check_window(nnlib.ones(1, 5, 5, 2), (3, 3))
    """
    if len(x.shape) != 4:
        raise ShapeError(f"images must be (N, H, W, C). Received: {describe(x)}")
    for length, k, p, d in zip(x.shape[1:3], size, padding, dilation, strict=True):
        if not 1 <= k <= (length + 2 * p - 1) // d + 1:
            raise ShapeError(
                "a window must have at least 1 pixel and fit into the padded image. Received: "
                f"{describe(x)}, window {tuple(size)}, padding {padding}, dilation {dilation}"
            )


def _check_filters(x, weight, bias, *, padding, dilation, groups, **_):
    if (
        len(x.shape) != 4
        or len(weight.shape) != 4
        or groups < 1
        or not 1 <= x.shape[3] == weight.shape[3] * groups
        or weight.shape[0] % groups
        or (bias is not None and bias.shape != weight.shape[:1])
    ):
        raise ShapeError(
            "conv2d needs x (N, H, W, C ≥ 1), weight (O, kh, kw, C / groups), O divisible by "
            f"groups, bias (O,). Received: {describe(x, weight, bias)}, groups={groups}"
        )
    check_window(x, weight.shape[1:3], padding, dilation)


@fused(
    samples=[
        ([(2, 5, 6, 3), (4, 3, 3, 3), (4,)], {"padding": (1, 1)}),
        ([(1, 7, 5, 2), (3, 3, 2, 2), None], {"stride": (2, 1)}),
        ([(2, 9, 9, 4), (6, 3, 3, 2), (6,)], {"dilation": (2, 2), "groups": 2}),
        ([(1, 8, 8, 1), (2, 5, 5, 1), (2,)], {"stride": (2, 2), "padding": (2, 2)}),
        ([(2, 6, 5, 3), (4, 1, 1, 3), (4,)], {}),
        ([(1, 7, 9, 17), (18, 3, 3, 17), (18,)], {"padding": (1, 1), "activation": "relu"}),
        ([(2, 8, 9, 1), (6, 5, 5, 1), (6,)], {"padding": (2, 2), "activation": "tanh"}),
        ([(2, 5, 6, 4), (4, 3, 3, 1), (4,)], {"groups": 4, "activation": "sigmoid"}),
    ],
    check=_check_filters,
    autocast=Policy(("x",), parameters=True, result="half"),
)
def conv2d(
    x,
    weight,
    bias=None,
    *,
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    activation=None,
):
    """Two-dimensional convolution (correlation), defined by im2col and a GEMM per group.

    Parameters
    ----------
    x : (N, H, W, C)
    weight : (O, kh, kw, C / groups)
    bias : (O,), optional
    stride, padding, dilation : pairs of int
        Each (height, width); the padding is zeros on both sides.
    groups : int
        Number of independent convolutions among which the channels are divided.
    activation : {None, "relu", "tanh", "sigmoid"}
        Activation of the result.

    Returns
    -------
    (N, H', W', O)
        H' = floor((H + 2 padding − dilation (kh − 1) − 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> ops.conv2d(nnlib.ones(1, 5, 5, 2), nnlib.ones(3, 3, 3, 2)).shape
    (1, 3, 3, 3)
    """
    kh, kw = weight.shape[1:3]
    x = pad(x, pad_width=((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = extract_patches(x, size=(kh, kw), stride=stride, dilation=dilation)
    n, rows, columns = windows.shape[:3]
    c_in, c_out = weight.shape[3], weight.shape[0] // groups
    parts = []
    for i in range(groups):
        part = windows[..., i * c_in : (i + 1) * c_in]
        part = reshape(part, shape=(n * rows * columns, kh * kw * c_in))
        filters = reshape(weight[i * c_out : (i + 1) * c_out], shape=(c_out, kh * kw * c_in))
        parts.append(matmul(part, transpose(filters)))
    y = parts[0] if groups == 1 else concatenate(*parts, axis=1)
    y = reshape(y, shape=(n, rows, columns, groups * c_out))
    y = y if bias is None else y + bias
    return y if activation is None else FUSED_ACTIVATIONS[activation](y)

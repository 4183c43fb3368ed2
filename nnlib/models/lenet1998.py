"""The layers of LeNet-5 as published in 1998.

Source of all: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
document recognition", Proc. IEEE 86 (1998), section II.B and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnlib import nn, ops
from nnlib.autograd import Tensor, tensor
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn import init

__all__ = [
    "CONNECTIONS",
    "DRAWINGS",
    "DistanceToDrawings",
    "Pixels",
    "ScaledTanh",
    "TableConv2d",
    "TrainablePool",
    "features",
    "initialise",
]

#: Table I of the paper: the maps of S2 that are inputs of each map of C3.
CONNECTIONS: tuple[tuple[int, ...], ...] = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

#: Digits of 7 × 12 cells, our own drawings: the paper shows its own as a picture only (figure 3).
DRAWINGS = """
.#####.  ...#...  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
##...##  ..##...  ##...##  ##...##  ...###.  #......  .##....  .....##  ##...##  ##...##
#.....#  .###...  #.....#  .....##  ..#.##.  #......  ##.....  .....##  #.....#  #.....#
#.....#  ...#...  .....##  .....##  ..#.##.  #......  #......  ....##.  #.....#  #.....#
#.....#  ...#...  .....##  ....##.  .#..##.  ######.  #......  ....##.  ##...##  ##...##
#.....#  ...#...  ....##.  ..###..  .#..##.  .....##  #.####.  ...##..  .#####.  .######
#.....#  ...#...  ...##..  ....##.  #...##.  ......#  ###..##  ...##..  ##...##  ......#
#.....#  ...#...  ..##...  .....##  #######  ......#  #.....#  ..##...  #.....#  ......#
#.....#  ...#...  .##....  ......#  ....##.  ......#  #.....#  ..##...  #.....#  .....##
#.....#  ...#...  ##.....  #.....#  ....##.  #.....#  #.....#  .##....  #.....#  ....##.
##...##  ...#...  ##.....  ##...##  ....##.  ##...##  ##...##  .##....  ##...##  ..###..
.#####.  .#####.  #######  .#####.  ....##.  .#####.  .#####.  .##....  .#####.  .###...
"""


class Pixels(nn.Module):
    """Scale pixels of 0 (background) … 1 to the paper's −0.1 … 1.175, and pad with background.

    Parameters
    ----------
    frame : int
        Pixels to add on each side.

    Examples
    --------
    >>> import nnlib
    >>> Pixels(1)(nnlib.ones(1, 1, 1, 1)).reshape(3, 3)
    tensor([[-0.1  , -0.1  , -0.1  ],
            [-0.1  ,  1.175, -0.1  ],
            [-0.1  , -0.1  , -0.1  ]])
    """

    def __init__(self, frame: int) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) → (N, H + 2 frame, W + 2 frame, C)."""
        sides = (self.frame, self.frame)
        if self.frame:
            x = ops.pad(x, pad_width=((0, 0), sides, sides, (0, 0)))
        return x * 1.275 - 0.1


class ScaledTanh(nn.Module):
    """``1.7159 tanh(2x / 3)``: f(±1) = ±1, where its curvature is largest (appendix A).

    Examples
    --------
    >>> import nnlib
    >>> ScaledTanh()(nnlib.tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-1.,  0.,  1.], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        return ops.tanh(x * (2 / 3)) * 1.7159


class TrainablePool(nn.Module):
    """Sum of each 2×2 window times a learned coefficient, plus a learned bias, for each map.

    Parameters
    ----------
    channels : int
        Maps.

    Attributes
    ----------
    weight, bias : Parameter, (channels,)
        Initially 1/2, which preserves the variance of four independent values, and 0.

    Examples
    --------
    >>> import nnlib
    >>> TrainablePool(6)(nnlib.ones(1, 28, 28, 6)).shape
    (1, 14, 14, 6)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(init.constant_(init.empty(channels), 0.5))
        self.bias = nn.Parameter(init.zeros_(init.empty(channels)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, channels) → (N, H / 2, W / 2, channels)."""
        return F.avg_pool2d(x, 2) * (4 * self.weight) + self.bias


class TableConv2d(nn.Module):
    """Convolution with a table of the input maps of each output map.

    Parameters
    ----------
    table : sequence of sequence of int
        For each output map the input maps that it is connected to.
    in_channels : int
    kernel_size : int

    Attributes
    ----------
    weight : Parameter, (connections, kernel_size, kernel_size)
        A filter for each connection, in the order of the table; only these exist.
    bias : Parameter, (len(table),)

    Raises
    ------
    OptionError
        If the table names a missing map, or one twice for an output map.

    Examples
    --------
    >>> sum(p.size for p in TableConv2d(CONNECTIONS, 6, 5).parameters())
    1516
    """

    placement: Tensor

    def __init__(self, table: Sequence[Sequence[int]], in_channels: int, kernel_size: int) -> None:
        super().__init__()
        table = [list(row) for row in table]
        for row in table:
            if len(set(row)) < len(row) or not all(0 <= m < in_channels for m in row):
                raise OptionError(
                    f"a row of the table must have different maps of 0 … {in_channels - 1}. "
                    f"Received: {row}"
                )
        self.in_channels, self.kernel_size = in_channels, kernel_size
        positions = [in_channels * k + m for k, row in enumerate(table) for m in row]
        self.weight = nn.Parameter(init.empty(len(positions), kernel_size, kernel_size))
        self.bias = nn.Parameter(init.empty(len(table)))
        rows = [[0.0] * len(positions) for _ in range(in_channels * len(table))]
        for connection, position in enumerate(positions):
            rows[position][connection] = 1.0
        self.register_buffer("placement", tensor(rows), persistent=False)  # (out · in, connections)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values, uniform with variance 1 / fan_in; biases become 0."""
        fan_in = (
            self.kernel_size**2 * len(self.weight) / len(self.bias)
        )  # the mean over output maps
        init.uniform_(self.weight, -((3 / fan_in) ** 0.5), (3 / fan_in) ** 0.5)
        init.zeros_(self.bias)

    def filters(self) -> Tensor:
        """Return an ordinary convolution's filters, (out, kh, kw, in), 0 where not connected."""
        size = self.kernel_size
        flat = self.placement @ self.weight.reshape(-1, size * size)  # (out · in, kh · kw)
        return flat.reshape(-1, self.in_channels, size, size).transpose(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, in_channels) → (N, H', W', len(table))."""
        return F.conv2d(x, self.filters(), self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"{self.in_channels}, {len(self.bias)}, kernel_size={self.kernel_size}, "
            f"connections={len(self.weight)}"
        )


class DistanceToDrawings(nn.Module):
    """Minus the squared distance between the last features and a drawing of each digit.

    The paper's output units compute yᵢ = Σⱼ (xⱼ − wᵢⱼ)² with fixed wᵢⱼ = ±1, and the class with the
    smallest wins.  As logits, −yᵢ make the softmax cross-entropy the paper's criterion (equation 9)
    without its constant for "none of the classes".

    Parameters
    ----------
    num_classes : int
        1 … 10.

    Raises
    ------
    OptionError
        If there is no drawing for a class.
    ShapeError
        When called, if there are not 84 features.

    Examples
    --------
    >>> import nnlib
    >>> output = DistanceToDrawings()
    >>> int(output(output.drawings[7:8]).argmax())
    7
    """

    drawings: Tensor

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        lines = [line.split() for line in DRAWINGS.split("\n") if line]
        digits = ["".join(parts) for parts in zip(*lines, strict=True)]
        if not 1 <= num_classes <= len(digits):
            raise OptionError(
                f"there are drawings of {len(digits)} digits, so num_classes must be in "
                f"1 … {len(digits)}. Received: {num_classes}"
            )
        values = [[1.0 if cell == "#" else -1.0 for cell in d] for d in digits[:num_classes]]
        self.register_buffer("drawings", tensor(values), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 84) → (N, num_classes)."""
        features = self.drawings.shape[1]
        if x.ndim != 2 or x.shape[1] != features:
            raise ShapeError(f"the input must be (N, {features}). Received: {x.dtype} {x.shape}")
        squares = (x * x).sum(axis=1, keepdims=True)
        return 2 * (x @ self.drawings.T) - squares - float(features)


def features(
    in_channels: int, frame: int, activation: Callable[[], nn.Module]
) -> dict[str, nn.Module]:
    """Make the layers up to S4, by name."""
    return {
        "pixels": Pixels(frame),
        "c1": nn.Conv2d(in_channels, 6, 5),
        "act1": activation(),
        "s2": TrainablePool(6),
        "act2": activation(),
        "c3": TableConv2d(CONNECTIONS, 6, 5),
        "act3": activation(),
        "s4": TrainablePool(16),
        "act4": activation(),
    }


def initialise(model: nn.Module) -> None:
    """Draw initial values for the scaled tanh: variance 1 / fan_in, biases 0.

    Source: Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient backprop" (1998), section 4.6.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            init.lecun_uniform_(layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)

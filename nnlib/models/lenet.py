"""LeNet-5, the convolutional network for handwritten digits (LeCun et al., 1998)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.errors import OptionError
from nnlib.models import lenet1998
from nnlib.models.mlp import activation_maker

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """LeNet-5 as it is commonly rebuilt, with **61,706** parameters.

    =====  =================================  ============  ==========
    layer                                     output        parameters
    =====  =================================  ============  ==========
    input  28×28, padded by 2, or 32×32       32×32×1
    C1     6 filters 5×5, tanh                28×28×6            156
    S2     means of 2×2                       14×14×6
    C3     16 filters 5×5, tanh               10×10×16         2,416
    S4     means of 2×2                       5×5×16
    C5     120 filters 5×5 (all of S4)        120             48,120
    F6     84 neurons, tanh                   84              10,164
    out    10 logits, for softmax             10                 850
    =====  =================================  ============  ==========

    The paper's own network, ``variant="1998"``, has **60,000** parameters.  There are four
    differences: S2 and S4 multiply every sum by a learned coefficient, add a learned bias (12 + 32
    parameters) and squash the result, too; C3 connects each filter to 3, 4 or all 6 of the maps
    below, by a table (1,516 parameters instead of 2,416); the output is the distance to fixed 7×12
    drawings of the digits (no parameters instead of 850), see
    `nnlib.models.lenet1998.DistanceToDrawings`; and its tanh is scaled, 1.7159 tanh(2x/3).  Its
    first layer scales pixels of 0 … 1 to the paper's −0.1 … 1.175.  Its logits are large and need
    small learning rates: 0.002 for SGD with momentum 0.9 and batches of 64, where 0.05 suits the
    common network.  Three things differ from the paper: our own drawings, because it has them as a
    picture only; initial weights of variance 1 / fan_in; no diagonal Levenberg-Marquardt method.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86 (1998), section II.B.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_channels : int
        1 for grey images, 3 for colour ones.
    image_size : {28, 32}
        Height and width of the images; those of 28 are padded with zeros, as the paper does.
    activation : str or callable, optional
        See `nnlib.models.MLP`; tanh if not given, in the variant of 1998 the scaled one.
    variant : {"common", "1998"}
        The network of the table, or the paper's.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels).

    Raises
    ------
    OptionError
        For another image size, an unknown activation or variant, or more than 10 classes in the
        variant of 1998.

    Examples
    --------
    >>> import nnlib
    >>> model = LeNet5()
    >>> model(nnlib.zeros(2, 28, 28, 1)).shape
    (2, 10)
    >>> sum(p.size for p in model.parameters())
    61706
    >>> sum(p.size for p in LeNet5(variant="1998").parameters())
    60000
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        activation: str | Callable[[], nn.Module] | None = None,
        variant: str = "common",
    ) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise OptionError(
                f"LeNet-5 takes images of 28×28 or 32×32. Received: image_size={image_size!r}"
            )
        if variant not in ("common", "1998"):
            raise OptionError(f"variant must be 'common' or '1998'. Received: {variant!r}")
        old = variant == "1998"
        act = activation_maker(activation or (lenet1998.ScaledTanh if old else "tanh"))
        self.input_shape = (image_size, image_size, in_channels)
        frame = (32 - image_size) // 2
        if old:
            layers = lenet1998.features(in_channels, frame, act)
        else:
            layers = {
                "c1": nn.Conv2d(in_channels, 6, 5, padding=frame),
                "act1": act(),
                "s2": nn.AvgPool2d(2),
                "c3": nn.Conv2d(6, 16, 5),
                "act3": act(),
                "s4": nn.AvgPool2d(2),
            }
        self.features = nn.Sequential(layers)
        output = lenet1998.DistanceToDrawings if old else partial(nn.Linear, 84)
        self.classifier = nn.Sequential(
            {
                "flatten": nn.Flatten(),  # C5's filters see all of S4: a convolution to 1×1
                "c5": nn.Linear(16 * 5 * 5, 120),
                "act5": act(),
                "f6": nn.Linear(120, 84),
                "act6": act(),
                "output": output(num_classes),
            }
        )
        if old:
            lenet1998.initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 28, 28, 1) → (N, num_classes) logits."""
        return self.classifier(self.features(x))  # type: ignore[no-any-return]

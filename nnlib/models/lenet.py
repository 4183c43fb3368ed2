"""LeNet-5, the convolutional network for handwritten digits (LeCun et al., 1998)."""

from __future__ import annotations

from collections.abc import Callable

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.errors import OptionError
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
    C5     120 filters 5×5 (all it sees)      120             48,120
    F6     84 neurons, tanh                   84              10,164
    out    10 logits, for softmax             10                 850
    =====  =================================  ============  ==========

    The paper's own network has 60,000 trainable parameters.  It differs in four places: S2 and S4
    multiply every mean by a learned coefficient and add a learned bias (12 + 32 parameters); C3
    connects each filter to 3, 4 or all 6 of the maps below, by a table (1,516 parameters instead of
    2,416); the output is the distance to fixed 7×12 drawings of the digits (no trained parameters
    instead of 850); and its tanh is scaled, 1.7159 tanh(2x/3).

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
    activation : str or callable
        See `nnlib.models.MLP`.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels).

    Raises
    ------
    OptionError
        For another image size or an unknown activation.

    Examples
    --------
    >>> import nnlib
    >>> model = LeNet5()
    >>> model(nnlib.zeros(2, 28, 28, 1)).shape
    (2, 10)
    >>> sum(p.size for p in model.parameters())
    61706
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        activation: str | Callable[[], nn.Module] = "tanh",
    ) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise OptionError(
                f"LeNet-5 takes images of 28×28 or 32×32. Received: image_size={image_size!r}"
            )
        act = activation_maker(activation)
        self.input_shape = (image_size, image_size, in_channels)
        self.features = nn.Sequential(
            {
                "c1": nn.Conv2d(in_channels, 6, 5, padding=(32 - image_size) // 2),
                "act1": act(),
                "s2": nn.AvgPool2d(2),
                "c3": nn.Conv2d(6, 16, 5),
                "act3": act(),
                "s4": nn.AvgPool2d(2),
            }
        )
        self.classifier = nn.Sequential(
            {
                "flatten": nn.Flatten(),  # C5's filters see all of S4: a convolution to 1×1
                "c5": nn.Linear(16 * 5 * 5, 120),
                "act5": act(),
                "f6": nn.Linear(120, 84),
                "act6": act(),
                "output": nn.Linear(84, num_classes),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 28, 28, 1) → (N, num_classes) logits."""
        return self.classifier(self.features(x))  # type: ignore[no-any-return]

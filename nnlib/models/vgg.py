"""VGG, the deep stack of 3×3 convolutions (Simonyan & Zisserman, 2014)."""

from __future__ import annotations

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.errors import OptionError
from nnlib.nn import init

__all__ = ["VGG"]

WIDTH = (64, 128, 256, 512, 512)  # filters of each convolution in the five stages
CONVOLUTIONS = {  # in each stage, by depth; the paper's configurations A, B, D, E
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
HIDDEN = 4096


class VGG(nn.Module):
    """VGG-11, -13, -16 or -19: the depth counts the layers that have weights.

    Five stages of 3×3 convolutions, each followed by ReLU and each stage by 2×2 max pooling, then
    three fully connected layers.  For 1000 classes at 224×224 the parameters are

    ======  ===========
    VGG-11  132,863,336
    VGG-13  133,047,848
    VGG-16  138,357,544
    VGG-19  143,667,240
    ======  ===========

    Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", arXiv:1409.1556, table 1.  As elsewhere, convolutions start from He et al.'s
    normal distribution (fan_out) and fully connected layers from N(0, 0.01²), both with biases 0;
    the paper grew its deep networks from trained shallow ones.

    Parameters
    ----------
    depth : {11, 13, 16, 19}
    num_classes : int
        Outputs.
    batch_norm : bool
        Normalise after every convolution (not in the paper; trains without its tricks).
    in_channels : int
        Channels of the images.
    dropout : float
        Probability of dropping a neuron of the two hidden fully connected layers in training.
    image_size : int
        Height and width that the classifier is made for, 32 or more: its first layer sees the last
        stage as image_size // 32 squared cells.  Images of other sizes are pooled to as many.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels).

    Raises
    ------
    OptionError
        For another depth, or an image size under 32.

    Examples
    --------
    For the 32×32 images of CIFAR-10:

    >>> import nnlib
    >>> model = VGG(11, num_classes=10, image_size=32)
    >>> model(nnlib.zeros(1, 32, 32, 3)).shape
    (1, 10)
    >>> sum(p.size for p in model.parameters())
    28144010
    """

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        batch_norm: bool = False,
        in_channels: int = 3,
        dropout: float = 0.5,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            known = ", ".join(map(str, CONVOLUTIONS))
            raise OptionError(f"depth must be one of {known}. Received: {depth!r}")
        if image_size < 32:
            raise OptionError(
                f"image_size must be 32 or more: it is halved five times. Received: {image_size!r}"
            )
        self.depth = depth
        self.input_shape = (image_size, image_size, in_channels)
        cells = image_size // 32
        with init.skip():  # the layers' own values would be overwritten below
            self.features = _features(CONVOLUTIONS[depth], in_channels, batch_norm)
            self.pool = nn.AdaptiveAvgPool2d(cells)
            self.classifier = nn.Sequential(
                nn.Flatten(),
                nn.Linear(cells * cells * WIDTH[-1], HIDDEN),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(HIDDEN, HIDDEN),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(HIDDEN, num_classes),
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values of all weights; biases become 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                init.normal_(module.weight, std=0.01)
            else:
                continue
            if module.bias is not None:
                init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, in_channels) → (N, num_classes) logits."""
        return self.classifier(self.pool(self.features(x)))  # type: ignore[no-any-return]


def _features(convolutions: tuple[int, ...], channels: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, count in zip(WIDTH, convolutions, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)

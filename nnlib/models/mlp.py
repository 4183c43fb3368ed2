"""The multi-layer network of fully connected layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.errors import OptionError, did_you_mean

__all__ = ["ACTIVATIONS", "MLP"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Fully connected layers with an activation between them: the course's n[0], n[1], …, n[L].

    The last layer returns logits, or values of a regression: the loss or the caller applies the
    sigmoid or softmax.

    Parameters
    ----------
    sizes : sequence of int
        ``(n[0], n[1], …, n[L])``: the number of input features, then of every layer's neurons.
    activation : str or callable
        One of `ACTIVATIONS`, or a function that makes a module, such as a layer's class.
    dropout : float
        Probability of dropping a hidden neuron in training.
    bias : bool
        Whether the layers add b[l].

    Attributes
    ----------
    layers : nn.Sequential
        ``linear1``, ``activation1``, ``linear2``, …: W[l] is ``layers.linear{l}.weight``, of the
        course's shape n[l] × n[l−1].
    input_shape : tuple of int
        ``(n[0],)``: the shape of one instance.

    Raises
    ------
    OptionError
        If there are fewer than two sizes, one is not positive, or the activation is unknown.

    Examples
    --------
    >>> import nnlib
    >>> model = MLP((784, 300, 10))
    >>> model(nnlib.zeros(32, 28, 28, 1)).shape  # images are flattened
    (32, 10)
    >>> sum(p.size for p in MLP((2, 3, 1), "sigmoid").parameters())  # the course's 2-3-1 network
    13
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Callable[[], nn.Module] = "relu",
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        if len(self.sizes) < 2 or not all(isinstance(n, int) and n > 0 for n in self.sizes):
            raise OptionError(
                "sizes must be two or more positive integers: the input features, then the neurons "
                f"of every layer. Received: {sizes!r}"
            )
        make_activation = activation_maker(activation)
        self.input_shape = self.sizes[:1]
        self.flatten = nn.Flatten()
        layers: dict[str, nn.Module] = {}
        last = len(self.sizes) - 1
        for i in range(1, last + 1):
            layers[f"linear{i}"] = nn.Linear(self.sizes[i - 1], self.sizes[i], bias)
            if i < last:
                layers[f"activation{i}"] = make_activation()
                if dropout:
                    layers[f"dropout{i}"] = nn.Dropout(dropout)
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) with n[0] values an instance → (N, n[L])."""
        return self.layers(self.flatten(x))  # type: ignore[no-any-return]


def activation_maker(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return the function that makes an activation's module.

    Raises
    ------
    OptionError
        For an unknown name.

    Examples
    --------
    >>> activation_maker("tanh")()
    Tanh()
    """
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise OptionError(
            f"activation must be one of {', '.join(ACTIVATIONS)}, or a callable that makes a "
            f"module. Received: {activation!r}.{did_you_mean(activation, ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]

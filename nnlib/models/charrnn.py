"""The character-level recurrent language model."""

from __future__ import annotations

from typing import Any

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.errors import ShapeError
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_choice
from nnlib.text.generation import LanguageModel

__all__ = ["CELLS", "CharRNN", "detached"]

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class CharRNN(LanguageModel):
    """Embedding, recurrent layers, logits of the next character.

    Parameters
    ----------
    vocab_size : int
        Number of characters.
    width : int
        Features of a character and of a state.
    layers : int
        Recurrent layers.
    cell : {"lstm", "gru", "rnn"}
    dropout : float
        Between layers and before the output, in training.

    Attributes
    ----------
    embedding : nn.Embedding
    recurrent : nn.LSTM, nn.GRU or nn.RNN
    output : nn.Linear

    Examples
    --------
    >>> model = CharRNN(65, width=16)
    >>> model([[1, 2, 3]]).shape
    (1, 3, 65)
    >>> model.generate([[1, 2, 3]], 5, temperature=0).shape
    (1, 8)
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 128,
        layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice(cell, tuple(CELLS), "cell")
        self.options = {  # to make such a model again
            "vocab_size": vocab_size,
            "width": width,
            "layers": layers,
            "cell": cell,
            "dropout": dropout,
        }
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrent = CELLS[cell](width, width, num_layers=layers, dropout=dropout)
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(width, vocab_size)

    def forward(self, tokens: TensorLike) -> Tensor:
        """(B, T) integers → (B, T, vocab_size) logits of the next character."""
        return self.advance(tokens)[0]

    def advance(self, tokens: TensorLike, state: Any = None) -> tuple[Tensor, Any]:
        """Compute logits and the final state, given the final state of the text before.

        For truncated back-propagation through a long text, pass `detached` states.

        Examples
        --------
        >>> model = CharRNN(65, width=16, cell="gru")
        >>> logits, state = model.advance([[1, 2]])
        >>> model.advance([[3, 4]], detached(state))[0].shape
        (1, 2, 65)
        """
        tokens = as_tensor(tokens, self.embedding.weight)
        if tokens.ndim != 2:
            raise ShapeError(f"tokens must be (batch, time). Received: {tokens.shape}")
        y, state = self.recurrent(self.embedding(tokens), state)
        return self.output(self.drop(y)), state

    def continued(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Compute the logits after some more characters; the state is the recurrent layers'."""
        logits, state = self.advance(tokens, state)
        return logits[:, -1], state


def detached(state: Any) -> Any:
    """Return a recurrent layer's state, detached from the tape.

    Examples
    --------
    >>> import nnlib
    >>> detached((nnlib.ones(1, requires_grad=True), None))
    (tensor([1.]), None)
    """
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return None if state is None else state.detach()

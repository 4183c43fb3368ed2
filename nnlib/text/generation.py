"""Generation of text: the base class of language models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnlib import nn, ops
from nnlib.autograd import Tensor, no_grad, tensor
from nnlib.errors import OptionError
from nnlib.nn.functional.checks import TensorLike, as_tensor
from nnlib.nn.inference import inference
from nnlib.random import Generator
from nnlib.text.sampling import sample

if TYPE_CHECKING:
    from nnlib.text.tokenizers import Tokenizer

__all__ = ["LanguageModel", "stream_text"]

_HALF = "\N{REPLACEMENT CHARACTER}"  # stands for incomplete characters in decoded text
_LONGEST = 4  # bytes of a character in UTF-8


class LanguageModel(nn.Module):
    """Base class of models that predict the next token of a text.

    A subclass maps (B, T) tokens to (B, T, vocab_size) logits, and writes `continued`.

    Examples
    --------
    >>> from nnlib.models import CharRNN
    >>> model = CharRNN(5, width=8)
    >>> isinstance(model, LanguageModel)
    True
    >>> len(list(model.stream([[1, 2]], 3)))
    3
    """

    def continued(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Compute the logits (B, vocab_size) of the token after some more tokens (B, T).

        Parameters
        ----------
        tokens : Tensor
            They follow the tokens of the state.
        state
            Returned by the last call; ``None`` at the beginning of a text.
        """
        raise NotImplementedError  # abstract

    def stream(
        self,
        tokens: TensorLike,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Generator | None = None,
    ) -> Iterator[Tensor]:
        """Continue a text, one token (B,) after the other; see `generate`."""
        known, state = as_tensor(tokens, next(self.parameters())), None
        for _ in range(max_new_tokens):
            with no_grad():
                logits, state = self.continued(known, state)
                chosen = sample(logits, temperature, top_k, top_p, generator)
                known = chosen.reshape(-1, 1)
            yield chosen

    def generate(
        self,
        tokens: TensorLike,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Continue a text.  Call ``eval()`` before, or dropout is applied.

        Parameters
        ----------
        tokens : Tensor of integers, (B, T)
            At least one token of every text.
        max_new_tokens : int
            Number of tokens to add.
        temperature, top_k, top_p, generator
            See `nnlib.models.sample`; a temperature of 0 takes the likeliest token.

        Returns
        -------
        Tensor of integers, (B, T + max_new_tokens)
        """
        tokens = as_tensor(tokens, next(self.parameters()))
        new = self.stream(tokens, max_new_tokens, temperature, top_k, top_p, generator)
        return ops.concatenate([tokens, *(chosen.reshape(-1, 1) for chosen in new)], axis=1)


def stream_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
    stop: str | None = None,
) -> Iterator[str]:
    """Continue a prompt, without dropout; yield pieces as they are generated.

    Parameters
    ----------
    model : LanguageModel
        `GPT` or `CharRNN`.
    tokenizer : CharTokenizer or BPETokenizer
        The one that the model was trained with.
    prompt : str
        At least one token long.
    max_new_tokens : int
    temperature, top_k, top_p, generator
        See `nnlib.models.sample`.
    stop : str, optional
        A token at which the text ends, such as ``"<|endoftext|>"``.

    Yields
    ------
    str
        New text, without the prompt.  A token that ends within a character is held back until
        the character is complete.

    Raises
    ------
    OptionError
        If the prompt is empty, ``stop`` is no token, or an option of `sample` is out of range.
    DataError
        If a character of the prompt is not in the vocabulary.

    Examples
    --------
    >>> from nnlib import models, data
    >>> letters = data.CharTokenizer("abc")
    >>> model = models.CharRNN(letters.vocab_size, width=8)
    >>> len("".join(stream_text(model, letters, "ab", 5)))
    5
    """
    ids = tokenizer.encode(prompt).tolist()
    if not ids:
        raise OptionError("a prompt must have at least one token. Received: an empty one")
    last = None if stop is None else tokenizer.token_id(stop)
    backend = next(model.parameters()).backend
    options = (max_new_tokens, temperature, top_k, top_p, generator)
    tokens = model.stream(tensor([ids], backend=backend), *options)
    return _pieces(model, tokenizer, tokens, last)


def _pieces(
    model: LanguageModel, tokenizer: Tokenizer, tokens: Iterator[Tensor], stop: int | None
) -> Iterator[str]:
    ids: list[int] = []  # all tokens: the text of a token may depend on those before
    yielded, held = "", 0
    while True:
        with inference(model):  # not between the pieces, when the caller may train the model
            chosen = next(tokens, None)
        token = None if chosen is None else int(chosen.tolist()[0])
        if token is None or token == stop:
            break
        ids.append(token)
        text, held = tokenizer.decode(ids), held + 1
        if text != yielded and (not text.endswith(_HALF) or held >= _LONGEST):
            yield text[len(yielded) :]
            yielded, held = text, 0
    rest = tokenizer.decode(ids)[len(yielded) :]
    if rest:
        yield rest

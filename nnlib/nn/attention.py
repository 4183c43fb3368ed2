"""Multi-head attention."""

from __future__ import annotations

from nnlib import ops
from nnlib.autograd import Tensor, eye
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.attention import dropout_factor
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_fraction,
    check_numbers,
    floating,
)
from nnlib.nn.linear import Linear
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter
from nnlib.ops.attention import INFINITY

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of several heads, each on a part of the features.

    Source: Vaswani et al. (2017), section 3.2.2.

    Parameters
    ----------
    embed_dim : int
        Features of queries, keys, values and output.
    num_heads : int
        Number of heads.
    dropout : float
        Probability of dropping an attention weight, in training.
    bias : bool
        Whether the projections add a bias.
    batch_first : bool
        Must be true: the first axis is the batch.  (In PyTorch it is false by default.)

    Attributes
    ----------
    in_proj_weight : Parameter, (3 · embed_dim, embed_dim)
        For queries, keys and values; Xavier-uniform initially, as in PyTorch.
    in_proj_bias : Parameter, (3 · embed_dim,), or None
        Initially 0.
    out_proj : Linear

    Raises
    ------
    OptionError
        If ``num_heads`` does not divide ``embed_dim``.
    ShapeError, DTypeError
        When called, if shapes or dtypes do not fit.

    Examples
    --------
    >>> import nnlib
    >>> x = nnlib.ones(2, 5, 8)
    >>> y, _ = MultiheadAttention(8, 2)(x, x, x)
    >>> y.shape
    (2, 5, 8)
    """

    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        if not batch_first:
            raise OptionError("sequences are (batch, time, features). Received: batch_first=False")
        check_numbers(num_heads=num_heads, embed_dim=embed_dim)
        if num_heads < 1 or embed_dim % num_heads:
            raise OptionError(
                f"num_heads must divide embed_dim. Received: {num_heads} and {embed_dim}"
            )
        check_fraction(dropout, "dropout")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.in_proj_weight = Parameter(init.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = Parameter(init.empty(3 * embed_dim)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.xavier_uniform_(self.in_proj_weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        self.out_proj.reset_parameters()
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: TensorLike,
        key: TensorLike,
        value: TensorLike,
        key_padding_mask: TensorLike | None = None,
        need_weights: bool = False,
        attn_mask: TensorLike | None = None,
        *,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the attention of every query to all keys.

        Parameters
        ----------
        query : Tensor, (B, T, embed_dim)
        key, value : Tensor, (B, S, embed_dim)
            Fastest where all three are one tensor.
        key_padding_mask : boolean Tensor, (B, S), optional
            Keys to *ignore*, as in PyTorch, whatever their values, NaN included.  (Queries at
            these positions are computed as any other.)
        need_weights : bool
            Whether to return the weights, too, which doubles the time.  (The default in PyTorch
            is true.)
        attn_mask : Tensor, (T, S) or (B · num_heads, T, S), optional
            Boolean: where a query must *not* see a key, as in PyTorch.  Floating-point: added to
            the scores.
        is_causal : bool
            Whether a query must not see later keys (needs T = S); no mask is needed then.

        Returns
        -------
        y : Tensor, (B, T, embed_dim)
        weights : Tensor, (B, T, S), or None
            Mean of all heads.
        """
        same = query is key and key is value
        q, k, v = (floating(x, "MultiheadAttention") for x in (query, key, value))
        self._check(q, k, v, is_causal)
        shape = (q.shape[0], self.num_heads, q.shape[1], k.shape[1])
        mask = self._mask(key_padding_mask, attn_mask, shape, q)
        p = self.dropout if self.training else 0.0
        factor = dropout_factor(shape, p, q) if p else None
        if same and not need_weights:
            qkv = F.linear(q, self.in_proj_weight, self.in_proj_bias)
            qkv = qkv.reshape(*q.shape[:2], 3, self.num_heads, self.embed_dim // self.num_heads)
            y = ops.self_attention(qkv, mask, factor, causal=is_causal)
            return self.out_proj(y.reshape(q.shape)), None
        if key_padding_mask is not None and not same:
            padding = as_tensor(key_padding_mask, k)
            ignored = padding if padding.dtype.kind == "b" else padding == -INFINITY
            k, v = (ops.where(ops.expand_dims(ignored, axis=-1), 0.0, x) for x in (k, v))
        q, k, v = (self._project(x, part) for part, x in enumerate((q, k, v)))
        y = ops.attention(q, k, v, mask, factor, causal=is_causal)
        y = self.out_proj(y.reshape(*y.shape[:2], self.embed_dim))
        if not need_weights:
            return y, None
        answers = eye(shape[3], dtype=k.dtype, backend=k.backend).reshape(1, shape[3], 1, shape[3])
        answers = ops.broadcast_to(answers, shape=(*k.shape[:3], shape[3]))  # each key its number
        weights = ops.attention(q, k, answers, mask, factor, causal=is_causal)
        return y, weights.mean(axis=2)

    def _project(self, x: Tensor, part: int) -> Tensor:
        """(B, T, embed_dim) → (B, T, heads, features of a head)."""
        rows = slice(part * self.embed_dim, (part + 1) * self.embed_dim)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        y = F.linear(x, self.in_proj_weight[rows], bias)
        return y.reshape(*x.shape[:2], self.num_heads, self.embed_dim // self.num_heads)

    def _check(self, q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> None:
        for x in (q, k, v):
            if x.ndim != 3 or x.shape[2] != self.embed_dim:
                raise ShapeError(
                    "queries, keys and values must be (batch, time, embed_dim = "
                    f"{self.embed_dim}). Received: {x.dtype} {x.shape}"
                )
        if k.shape != v.shape or q.shape[0] != k.shape[0]:
            raise ShapeError(
                "there must be a value for every key, in as many batches as of queries. "
                f"Received: {q.shape}, {k.shape} and {v.shape}"
            )
        if is_causal and q.shape[1] != k.shape[1]:
            raise ShapeError(
                "is_causal needs as many keys as queries. Received: "
                f"{q.shape[1]} queries, {k.shape[1]} keys. Pass a mask instead"
            )

    def _mask(
        self, padding: TensorLike | None, mask: TensorLike | None, shape: tuple[int, ...], q: Tensor
    ) -> Tensor | None:
        """Combine both masks into one for `ops.attention`."""
        B, H, T, S = shape
        parts = []
        for value, wanted, full in (
            (padding, [(B, S)], (B, 1, 1, S)),
            (mask, [(T, S), (B * H, T, S)], None),
        ):
            if value is None:
                continue
            tensor = as_tensor(value, q)
            if tensor.shape not in wanted:
                raise ShapeError(f"the mask must be {wanted}. Received: {tensor.shape}")
            if tensor.ndim == 3:
                full = (B, H, T, S)
            parts.append(tensor if full is None else tensor.reshape(full))
        if not parts:
            return None
        if all(part.dtype.kind == "b" for part in parts):
            hidden = parts[0] if len(parts) == 1 else parts[0] | parts[1]
            return ~hidden
        added = [ops.where(p, -INFINITY, 0.0) if p.dtype.kind == "b" else p for p in parts]
        both = added[0] if len(added) == 1 else added[0] + added[1]
        return both.astype(q.dtype)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}"

"""The run of ``char_gpt.py`` in PyTorch: the same initial weights, batches, recipe and validation.

    python benchmarks/learning/char_gpt_torch.py DATA/tinyshakespeare.txt initial.safetensors

and the same with ``--compile``.  It uses PyTorch's fast implementations:
`scaled_dot_product_attention` and the fused AdamW.  Batches are made before the clock starts.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from char_gpt import EVALUATION_BATCH, EVALUATIONS, SIZES, STEPS, command
from torch.nn import functional as F

import nnlib
from nnlib import data
from nnlib.train.recipes import Recipe, recipe_for

LAYERS, HEADS, CONTEXT = SIZES["layers"], SIZES["heads"], SIZES["context"]


class GPT(torch.nn.Module):
    """nnlib's GPT without biases, its parameters by nnlib's names."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.names = {name: name.replace(".", "_") for name in state}
        for name, value in state.items():
            self.register_parameter(
                self.names[name], torch.nn.Parameter(torch.from_numpy(value.copy()))
            )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) tokens → (B, T, vocabulary) logits."""
        w = {name: getattr(self, attribute) for name, attribute in self.names.items()}
        x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"][: tokens.shape[1]]
        for i in range(LAYERS):
            y = F.layer_norm(x, x.shape[-1:], w[f"h.{i}.ln_1.weight"])
            qkv = F.linear(y, w[f"h.{i}.attn.c_attn.weight"]).unflatten(-1, (3, HEADS, -1))
            q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (B, heads, T, D)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + F.linear(y, w[f"h.{i}.attn.c_proj.weight"])
            y = F.layer_norm(x, x.shape[-1:], w[f"h.{i}.ln_2.weight"])
            y = F.gelu(F.linear(y, w[f"h.{i}.mlp.c_fc.weight"]), approximate="tanh")
            x = x + F.linear(y, w[f"h.{i}.mlp.c_proj.weight"])
        return F.linear(F.layer_norm(x, x.shape[-1:], w["ln_f.weight"]), w["wte.weight"])


def make_optimizer(model: GPT, recipe: Recipe) -> tuple[torch.optim.Optimizer, object]:
    """Return AdamW that decays matrices only, and the schedule "warmup-tenth"."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)
    up = STEPS // 20

    def factor(step: int) -> float:
        if step < up:
            return 0.01 + 0.99 * step / up
        return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - up) / (STEPS - up))) / 2

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def batches(text: data.CharacterText, recipe: Recipe, seed: int) -> list[list[tuple]]:
    """Return the training batches of every part of the run, the same as in nnlib."""
    loader = data.DataLoader(
        data.TextWindows(text.train, CONTEXT),
        recipe.batch_size,
        shuffle=True,
        batches_per_epoch=STEPS // EVALUATIONS,
    )
    loader.load_state_dict({"seed": seed, "epoch": 0, "batch": 0})
    return [
        [tuple(torch.from_numpy(part.numpy()) for part in batch) for batch in loader]
        for _ in range(EVALUATIONS)
    ]


def main() -> None:
    """Train, and print a log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path, help="a UTF-8 file")
    parser.add_argument("weights", type=Path, help="what char_gpt.py --weights wrote")
    parser.add_argument("--compile", action="store_true", help="compile forward pass and loss")
    given = parser.parse_args()

    text, recipe = data.text(given.text), recipe_for("char-gpt")
    state, notes = nnlib.load(given.weights, "numpy", with_metadata=True)
    model = GPT({name: value.numpy() for name, value in state.items()})
    optimizer, schedule = make_optimizer(model, recipe)
    held = data.TextWindows(text.validation, CONTEXT, stride=CONTEXT)
    held = list(data.DataLoader(held, EVALUATION_BATCH))

    def mean_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    loss_of = torch.compile(mean_loss, dynamic=False) if given.compile else mean_loss
    print(f"$ {command()}")
    print(f"PyTorch {torch.__version__}, {'torch.compile' if given.compile else 'eager'}, ", end="")
    print(
        f"{torch.get_num_threads()} threads; {sum(p.numel() for p in model.parameters()):,} ",
        end="",
    )
    print("parameters", flush=True)
    total = 0.0
    for number, part in enumerate(batches(text, recipe, int(notes["loader seed"])), 1):
        begin, losses = time.perf_counter(), []
        for x, y in part:
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        seconds = time.perf_counter() - begin
        total += seconds
        with torch.no_grad():
            found = [
                (mean_loss(*(torch.from_numpy(a.numpy()) for a in batch)).item(), len(batch[0]))
                for batch in held
            ]
        value = sum(loss * n for loss, n in found) / sum(n for _, n in found)
        print(f"epoch {number}/{EVALUATIONS}  loss {torch.stack(losses).mean():.4f}  ", end="")
        print(f"val_loss {value:.4f}  {seconds:.1f} s", flush=True)
    print(f"validation loss  {value:.4f}")
    print(f"training time    {total:.1f} s{', compiling included' if given.compile else ''}")


if __name__ == "__main__":
    main()

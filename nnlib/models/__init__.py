"""Whole networks, one file each, and a table of them by name."""

from nnlib.models.charrnn import CharRNN
from nnlib.models.files import (
    language_model_notes,
    load_language_model,
    save_language_model,
)
from nnlib.models.gpt import GPT, GPTConfig
from nnlib.models.hopfield import Hopfield, ModernHopfield
from nnlib.models.lenet import LeNet5
from nnlib.models.mlp import MLP
from nnlib.models.registry import available, create
from nnlib.models.sequence import SequenceRegressor
from nnlib.models.transformer import Transformer, TransformerConfig
from nnlib.models.translation import translate
from nnlib.models.vgg import VGG
from nnlib.text.generation import LanguageModel, stream_text
from nnlib.text.sampling import sample

__all__ = [
    "GPT",
    "MLP",
    "VGG",
    "CharRNN",
    "GPTConfig",
    "Hopfield",
    "LanguageModel",
    "LeNet5",
    "ModernHopfield",
    "SequenceRegressor",
    "Transformer",
    "TransformerConfig",
    "available",
    "create",
    "language_model_notes",
    "load_language_model",
    "sample",
    "save_language_model",
    "stream_text",
    "translate",
]

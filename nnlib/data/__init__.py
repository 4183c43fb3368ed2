"""Data sets, loaders and transforms.

Images are NHWC, float32 in [0, 1]; labels are int64.
"""

from nnlib.data import transforms
from nnlib.data.adding import adding_problem
from nnlib.data.cifar import cifar10
from nnlib.data.dataset import ArrayDataset
from nnlib.data.digits import digits
from nnlib.data.loader import DataLoader, Dataset
from nnlib.data.mnist import fashion_mnist, mnist, read_idx
from nnlib.data.pairs import PairDataset, PairLoader
from nnlib.data.parallel_text import ParallelSplit, ParallelText, near_duplicates, parallel_text
from nnlib.data.reber import REBER_SYMBOLS, embedded_reber, reber_dataset, reber_successors
from nnlib.data.text import CharacterText, text
from nnlib.data.windows import TextWindows
from nnlib.text.tokenizers import BPETokenizer, CharTokenizer, tokenizer_from_json

__all__ = [
    "REBER_SYMBOLS",
    "ArrayDataset",
    "BPETokenizer",
    "CharTokenizer",
    "CharacterText",
    "DataLoader",
    "Dataset",
    "PairDataset",
    "PairLoader",
    "ParallelSplit",
    "ParallelText",
    "TextWindows",
    "adding_problem",
    "cifar10",
    "digits",
    "embedded_reber",
    "fashion_mnist",
    "mnist",
    "near_duplicates",
    "parallel_text",
    "read_idx",
    "reber_dataset",
    "reber_successors",
    "text",
    "tokenizer_from_json",
    "transforms",
]

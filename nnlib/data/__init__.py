"""Data sets, loaders and transforms.

Images are NHWC, float32 in [0, 1]; labels are int64.
"""

from nnlib.data import transforms
from nnlib.data.cifar import cifar10
from nnlib.data.dataset import ArrayDataset
from nnlib.data.digits import digits
from nnlib.data.idx import fashion_mnist, mnist, read_idx
from nnlib.data.loader import DataLoader, Dataset
from nnlib.data.pairs import PairDataset, PairLoader
from nnlib.data.parallel import ParallelSplit, ParallelText, near_duplicates, parallel_text
from nnlib.data.text import CharacterText, text
from nnlib.data.tokenizers import BPETokenizer, CharTokenizer, tokenizer_from_json
from nnlib.data.windows import TextWindows

__all__ = [
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
    "cifar10",
    "digits",
    "fashion_mnist",
    "mnist",
    "near_duplicates",
    "parallel_text",
    "read_idx",
    "text",
    "tokenizer_from_json",
    "transforms",
]

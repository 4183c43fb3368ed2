"""Data sets, loaders and transforms.

Images are NHWC, float32 in [0, 1]; labels are int64.
"""

from nnlib.data import transforms
from nnlib.data.cifar import cifar10
from nnlib.data.dataset import ArrayDataset
from nnlib.data.digits import digits
from nnlib.data.idx import fashion_mnist, mnist, read_idx
from nnlib.data.loader import DataLoader, Dataset
from nnlib.data.text import CharacterText, text

__all__ = [
    "ArrayDataset",
    "CharacterText",
    "DataLoader",
    "Dataset",
    "cifar10",
    "digits",
    "fashion_mnist",
    "mnist",
    "read_idx",
    "text",
    "transforms",
]

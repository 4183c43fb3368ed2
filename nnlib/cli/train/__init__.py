"""``nnlib train``: train a model of the library on data; one file for each kind of task."""

from nnlib.cli.train.command import train

__all__ = ["train"]

"""The data loader: batches of a dataset, shuffled, transformed, prefetched, on the backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Generator as PythonGenerator
from contextlib import closing
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from nnlib.autograd import Tensor, tensor
from nnlib.data.dataset import ArrayDataset
from nnlib.data.examples import gives_examples, rows_of, stacked
from nnlib.data.transforms import Transform, apply
from nnlib.errors import DataError, OptionError, StateError
from nnlib.random import Generator, default_generator
from nnlib_backends import Backend, get_backend, load_backend
from nnlib_backends.base import Array
from nnlib_backends.common.philox import philox4x32

__all__ = ["DataLoader", "Dataset"]

_Arrays: TypeAlias = tuple[Array, ...]
_Batch = TypeVar("_Batch")
_STATE_KEYS = {"seed", "epoch", "batch"}


class Dataset(Protocol):
    """Interface of data sets: a length, and a sample by its index or rows by an array of indices.

    Rows of many samples at once are faster.  The first epoch determines which of the two
    ``__getitem__`` supports.

    Examples
    --------
    >>> class Squares:
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index.astype("float32"), index**2
    >>> for x, y in DataLoader(Squares(), batch_size=2):
    ...     print(x.numpy(), y.numpy())
    [0. 1.] [0 1]
    [2. 3.] [4 9]
    >>> class Examples(Squares):
    ...     def __getitem__(self, index):
    ...         return float(index), index**2
    >>> for x, y in DataLoader(Examples(), batch_size=2):
    ...     print(x.numpy(), y.numpy())
    [0. 1.] [0 1]
    [2. 3.] [4 9]
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return one sample, such as ``(x, y)``, for an integer.

        Or return the rows ``index`` (int64 host array) of every array, stacked.
        """


class DataLoader:
    """Batches of a dataset, as tuples of tensors.

    Each ``for`` loop over a loader is an epoch.  The order of epoch ``e`` and the random numbers
    of transforms depend only on the loader's seed and on ``e``.  So a resumed run gets the same
    batches (`state_dict`), with or without prefetching, whatever other code draws random numbers.
    A pickled or copied loader has the same batches and the same position.

    Parameters
    ----------
    dataset : ArrayDataset, Dataset or list of samples
        Your own object must have ``len(dataset)``, and ``dataset[i]`` for an integer: a sample,
        a tuple of numbers and arrays such as ``(x, y)``, as in PyTorch.  Or, which is faster, for
        an int64 array of indices: a tuple of arrays with those rows.
    batch_size : int
        Samples in a batch.
    shuffle : bool
        Use a new random order in each epoch.
    drop_last : bool
        Leave out the last batch if it is smaller than the others.
    batches_per_epoch : int, optional
        End an epoch after so many batches: each epoch then sees another random part of a large
        set, such as all windows of a text (without shuffling, the same first part).
    prefetch : int
        Number of batches that a background thread prepares ahead (indexing and transforms; the
        caller's thread and stream move them to the backend).  0: none.  A dataset on a device is
        indexed there, without a thread.
    transform, target_transform : callable, optional
        Applied to the first and to the second array of each batch; see `nnlib.data.transforms`.
    backend : str or Backend, optional
        Of the tensors; by default the current backend at the start of the epoch.  A `Trainer`
        uses its model's backend.
    generator : Generator, optional
        The random stream from which the seed is drawn at its first use; by default the
        process-wide stream that `nnlib.manual_seed` starts.

    Raises
    ------
    OptionError
        If ``batch_size`` or ``batches_per_epoch`` is not at least 1, ``prefetch`` not at least 0.
    DataError
        If there would be no batch, or ``dataset`` is not a dataset; in an epoch, if the shapes of
        samples differ.
    UnknownBackendError, BackendUnavailableError
        If ``backend`` cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> data = ArrayDataset(np.arange(5, dtype=np.float32), np.arange(5))
    >>> for x, y in DataLoader(data, batch_size=2):
    ...     print(x.shape, y.numpy())
    (2,) [0 1]
    (2,) [2 3]
    (1,) [4]
    >>> len(DataLoader(data, batch_size=2, drop_last=True))
    2
    """

    def __init__(
        self,
        dataset: ArrayDataset | Dataset | list[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        batches_per_epoch: int | None = None,
        prefetch: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        backend: Backend | str | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = _integer("batch_size", batch_size, minimum=1)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.batches_per_epoch = (
            None
            if batches_per_epoch is None
            else _integer("batches_per_epoch", batches_per_epoch, minimum=1)
        )
        self.prefetch = _integer("prefetch", prefetch, minimum=0)
        self.transform = transform
        self.target_transform = target_transform
        self.backend = None if backend is None else load_backend(backend)
        self._generator = generator  # None: the process-wide one
        self._seed: int | None = None
        # The next batch to hand out.  An epoch that was begun is not continued by the next loop,
        # unless `load_state_dict` said so.
        self._epoch, self._batch, self._begun = 0, 0, False
        # Whether the dataset must be indexed by one integer at a time; None: not determined yet.
        self._one_by_one = True if isinstance(dataset, list) else None
        self._check_dataset()

    def _check_dataset(self) -> None:
        data: Any = self.dataset
        examples = isinstance(data, list) and all(isinstance(e, tuple | list) for e in data)
        if isinstance(data, list | tuple | np.ndarray | Tensor) and not examples:
            raise DataError(
                "dataset must be an ArrayDataset, a list of examples (x, y), or have a length and "
                f"examples by their index. Received: {type(data).__name__}. "
                "Wrap the arrays: ArrayDataset(x, y)"
            )
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise DataError(
                "dataset must have a length and examples by their index. "
                f"Received: {type(data).__name__}, without {_missing(data)}. Of a stream of "
                "examples make a list: DataLoader(list(data)); what gives whole batches needs no "
                "loader"
            )
        if len(self) == 0:
            raise DataError(
                "a loader must have at least one batch. "
                f"Received: {len(self.dataset)} examples, batch_size={self.batch_size}, "
                f"drop_last={self.drop_last}. Give more examples, or a smaller batch_size"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        count = full + (rest > 0 and not self.drop_last)
        return count if self.batches_per_epoch is None else min(count, self.batches_per_epoch)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Begin an epoch."""
        # The backend is looked up here: a thread would not see the caller's `use_backend`.
        backend = self.backend or get_backend()
        return self.epoch(lambda arrays: tuple([tensor(x, backend=backend) for x in arrays]))

    def epoch(self, place: Callable[[_Arrays], _Batch]) -> Iterator[_Batch]:
        """Begin an epoch whose batches ``place`` makes of arrays on the dataset's backend.

        Parameters
        ----------
        place : callable
            Tuple of arrays → batch; called in the caller's thread.

        Examples
        --------
        >>> import numpy as np
        >>> loader = DataLoader(ArrayDataset(np.arange(4)), 2)
        >>> [int(total) for total in loader.epoch(lambda arrays: arrays[0].sum())]
        [1, 5]
        """
        if self._begun:
            self._epoch, self._batch = self._epoch + 1, 0
        self._begun = True
        return self._batches(self._epoch, self._batch, place)

    def _batches(
        self, epoch: int, first: int, place: Callable[[_Arrays], _Batch]
    ) -> Iterator[_Batch]:
        backend = self.dataset.backend if isinstance(self.dataset, ArrayDataset) else _host()
        order = backend.asarray(self._order(epoch))
        self._detect_indexing(order)
        jobs = (partial(self._arrays, order, epoch, k) for k in range(first, len(self)))
        ahead = self.prefetch if backend is _host() else 0
        with closing(_results(jobs, ahead)) as results:
            for k, arrays in enumerate(results, first):
                if epoch == self._epoch:  # not while a later loop is under way
                    self._batch = k + 1
                yield place(arrays)

    def _order(self, epoch: int) -> Array:
        """Return the indices of all samples in the order of an epoch, int64, on the host."""
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        return self._stream(epoch, 0).permutation(count)

    def _detect_indexing(self, order: Array) -> None:
        """Detect the dataset's kind of indexing, outside the thread of `prefetch`."""
        if self._one_by_one is None and not isinstance(self.dataset, ArrayDataset):
            self._one_by_one = gives_examples(self.dataset, order[:2])

    def _rows(self, index: Array) -> _Arrays:
        if isinstance(self.dataset, ArrayDataset):
            return self.dataset[index]
        if self._one_by_one:
            return stacked((self.dataset[i] for i in index.tolist()), index)
        return rows_of(self.dataset, index)

    def _arrays(self, order: Array, epoch: int, k: int) -> _Arrays:
        """Return batch ``k``: its rows, transformed."""
        start = k * self.batch_size
        arrays = list(self._rows(order[start : start + self.batch_size]))
        if self.transform is not None:
            arrays[0] = apply(self.transform, arrays[0], self._stream(epoch, k + 1))
        if self.target_transform is not None:
            if len(arrays) < 2:
                raise DataError(
                    "target_transform needs a dataset of at least two arrays. "
                    f"Received: {len(arrays)}"
                )
            arrays[1] = apply(self.target_transform, arrays[1], self._stream(epoch, ~k))
        return tuple(arrays)

    def _stream(self, epoch: int, k: int) -> Generator:
        """Return a generator for (epoch, k) alone: its seed is read from the loader's stream."""
        counter = (epoch << 32) | (k & 0xFFFFFFFF)
        low, high = philox4x32(np, self.seed, counter, 2).tolist()
        return Generator(high << 32 | low)

    @property
    def seed(self) -> int:
        """The seed of the order of every epoch, 64 bits; drawn at its first use."""
        if self._seed is None:
            source = default_generator if self._generator is None else self._generator
            low, high = source.bits(2, "numpy").tolist()
            self._seed = high << 32 | low
        return self._seed

    def __getstate__(self) -> dict[str, Any]:
        if self.shuffle or self.transform is not None or self.target_transform is not None:
            _ = self.seed  # drawn before the loader is copied: the copy gives the same batches
        return vars(self).copy()

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the position of the next batch: epoch and number in it.

        Examples
        --------
        >>> import numpy as np
        >>> loader = DataLoader(ArrayDataset(np.arange(6)), 2, shuffle=True)
        >>> first, *rest = iter(loader)
        >>> loader.state_dict()["epoch"]
        1
        """
        epoch, batch = self._epoch, self._batch
        if batch == len(self):
            epoch, batch = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next loop at the position that `state_dict` returned.

        Raises
        ------
        StateError
            If it is not such a state, or its position is beyond the last batch.
        """
        valid = set(state) == _STATE_KEYS and all(isinstance(v, int) for v in state.values())
        within = {"seed": 2**64, "epoch": 2**31, "batch": len(self)}
        if not valid or not all(0 <= n < within[name] for name, n in state.items()):
            raise StateError(
                f"the state of a loader of {len(self)} batches must be whole numbers: seed, epoch, "
                f"batch < {len(self)}. Received: {state!r:.200}. "
                "Use the dataset and batch_size it had"
            )
        self._seed = state["seed"]
        self._epoch, self._batch, self._begun = state["epoch"], state["batch"], False

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, "
            f"{len(self)} batches)"
        )


def _results(
    jobs: Iterator[Callable[[], _Arrays]], ahead: int
) -> PythonGenerator[_Arrays, None, None]:
    """Yield the results of jobs in order; a thread runs up to ``ahead`` of them beforehand.

    An exception in a job is raised here.  Closing or dropping this generator ends the thread.
    """
    if not ahead:
        for job in jobs:
            yield job()
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pending: deque[Future[_Arrays]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="nnlib-loader") as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(job))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _missing(data: Any) -> str:
    return " and ".join(name for name in ("__len__", "__getitem__") if not hasattr(data, name))


def _host() -> Backend:
    return load_backend("numpy")


def _integer(name: str, value: int, minimum: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise OptionError(f"{name} must be a whole number ≥ {minimum}. Received: {value!r}")
    return int(value)

"""Finding the files of a published data set: in a folder, in the cache, or on the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnlib.errors import DataNotFoundError, OutputError
from nnlib_backends.config import DATA

__all__ = ["Published", "find_files"]

_TIMEOUT = 30  # seconds without an answer before the next mirror is tried
_CHUNK = 1 << 16  # bytes between two updates of the progress bar


@dataclass(frozen=True)
class Published:
    """A data set as its authors published it.

    Attributes
    ----------
    name : str
        For messages.
    folders : tuple of str
        Names of its own folder inside a folder of data sets; a download goes to the first.
    layouts : tuple of tuple of str
        Alternative sets of file names: packed, unpacked, …
    hashes : dict
        File of the download → its hash, as ``"sha256:…"`` or ``"md5:…"``.
    mirrors : tuple of str
        Addresses to which a file's name is appended, tried in turn.
    """

    name: str
    folders: tuple[str, ...]
    layouts: tuple[tuple[str, ...], ...]
    hashes: dict[str, str]
    mirrors: tuple[str, ...]


def find_files(
    data: Published, root: str | os.PathLike[str] | None, download: bool
) -> tuple[Path, ...]:
    """Return the paths of a data set's files, in the order of the layout that was found.

    The search covers ``root`` if given, otherwise the folder ``NNLIB_DATA`` and the cache; each
    directly and with a folder of the data set's name.  Missing files are downloaded to ``root`` or
    the cache, and their hashes compared.

    Raises
    ------
    DataNotFoundError
        If the files are not found and cannot be downloaded.
    OutputError
        If the folder for the download cannot be written.
    """
    bases = [_existing(root, "root")] if root is not None else list(_default_bases())
    folders = [base / name for base in bases for name in ("", *data.folders)]
    for folder in folders:
        for layout in data.layouts:
            paths = tuple(folder / name for name in layout)
            if all(map(os.path.isfile, paths)):
                return paths
    failures = ["download=False"]
    if download:
        try:
            return _download(data, bases[-1] / data.folders[0])
        except _DownloadError as error:
            failures = list(error.args)
    alternatives = "\n    or: ".join(", ".join(layout) for layout in data.layouts)
    raise DataNotFoundError(
        f"the files of {data.name} must be in a folder or downloadable.\n"
        f"  Looked for: {alternatives}\n"
        f"  In: {', '.join(map(str, folders))}\n"
        f"  Not downloaded: {'; '.join(failures)}\n"
        f"  To fix it: get the files from {' or '.join(data.mirrors)}, put them into a folder, "
        f"and give it as root= or set {DATA.name} to it"
    )


def _default_bases() -> Iterator[Path]:
    given = DATA.get()
    if given:
        yield _existing(given, DATA.name)
    import pooch

    yield Path(pooch.os_cache("nnlib"))


def _existing(folder: str | os.PathLike[str], origin: str) -> Path:
    path = Path(os.path.expanduser(folder))
    if not os.path.isdir(path):
        raise DataNotFoundError(f"{origin} must be an existing folder. Received: {path}")
    return path


class _DownloadError(Exception):
    """No mirror gave a file; one argument for each attempt."""


def _download(data: Published, folder: Path) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder for the download of {data.name} must be writable. "
            f"Received: {folder} ({error.strerror}). Give another one as root="
        ) from error
    return tuple(_download_file(data, name, folder) for name in data.hashes)


def _download_file(data: Published, name: str, folder: Path) -> Path:
    import pooch

    failures = []
    for mirror in data.mirrors:
        try:
            with _progress_bar(f"{data.name}: {name}") as bar:
                fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=_TIMEOUT)
                return Path(
                    pooch.retrieve(mirror + name, data.hashes[name], name, folder, downloader=fetch)
                )
        # requests' errors are OSErrors; a hash that differs is a ValueError
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}{name}: {error}")
    raise _DownloadError(*failures)


class _Bar:
    """A progress bar by rich with pooch's interface."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task
        self.total = 0

    def update(self, count: int) -> None:
        self._progress.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        pass


@contextmanager
def _progress_bar(title: str) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, progress.add_task(title, total=None))

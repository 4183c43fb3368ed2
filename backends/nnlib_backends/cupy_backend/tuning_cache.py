"""The fastest algorithm of each problem on a GPU, kept on disk for later runs.

Algorithms differ in their order of addition, and timing chooses by chance among equally fast ones;
taking over the choice makes results the same in every run.  A missing or damaged file counts as
empty, and a folder that cannot be written is no error.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["TuningCache"]


class TuningCache:
    """Problem → choice, for one version of a library on one type of GPU.

    Several processes may use the same file, because it is replaced as a whole; of two choices
    stored at the same moment one may be lost.

    Parameters
    ----------
    library, version, device : str
        The name of the file.
    folder : path, optional
        By default the user's cache folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> TuningCache("cublaslt", "12.9.1", "NVIDIA H100", folder.name).store("8x8x8", "an algorithm")
    'an algorithm'
    >>> later = TuningCache("cublaslt", "12.9.1", "NVIDIA H100", folder.name)
    >>> later.load("8x8x8"), later.load("9x9x9")
    ('an algorithm', None)
    >>> later.path.name
    'cublaslt-12.9.1-NVIDIA_H100.json'
    >>> folder.cleanup()
    """

    def __init__(
        self,
        library: str,
        version: str,
        device: str,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        name = re.sub(r"[^\w.-]+", "_", f"{library}-{version}-{device}.json")
        self.path = (_default_folder() if folder is None else Path(folder)) / name
        self._known: dict[str, Any] | None = None

    def load(self, problem: str) -> Any:
        """Return the choice for a problem (a JSON value), ``None`` if there is none."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(problem)

    def store(self, problem: str, choice: Any) -> Any:
        """Keep a choice in this process and on disk.

        Returns
        -------
        value
            The choice on disk, which another process may have stored before; ``None`` if the file
            cannot be written.
        """
        before, now = self._known or {}, self._read()
        theirs = now.get(problem)
        if theirs is not None and theirs != before.get(problem):
            choice = theirs
        self._known = {**before, **now, problem: choice}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(json.dumps(self._known, indent=0, sort_keys=True))
        except OSError:
            return None
        return choice

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):  # no file, or not JSON
            return {}
        return found if isinstance(found, dict) else {}

    def _replace(self, text: str) -> None:
        """Write the whole file, or nothing."""
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.stem)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(self.path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def _default_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("nnlib")) / "choices"

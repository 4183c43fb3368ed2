"""What was found fastest on a GPU, kept on disk: measured once, the same in every later run.

A measurement decides by chance between algorithms that are about as fast, and another algorithm
adds up in another order.  So what one run has chosen the next one takes over.

A file that is missing, unreadable or damaged is an empty one, and a folder that cannot be written
is none: then everybody measures for himself.  Nothing here is an error.
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
    """Problem → choice, for one library on one kind of GPU.

    Several processes may use the same file.  It is replaced as a whole, so nobody reads half of it;
    of two choices that are stored at the same moment one may be lost, and is made again one day.

    Parameters
    ----------
    library, version, device : str
        For which the choices hold; another version or GPU has another file.
    folder : path, optional
        Where the file is; in the user's folder for caches if not given.

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
        """Return what was chosen (any value of JSON), ``None`` if nothing was."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(problem)

    def store(self, problem: str, choice: Any) -> Any:
        """Keep a choice, in this process and, if it can be written, on disk.

        Returns
        -------
        value
            The choice that the next run will find: another one, if another process was quicker;
            ``None`` if nothing could be written.
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
        except (OSError, ValueError, RecursionError):  # no file; no JSON, or no UTF-8
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

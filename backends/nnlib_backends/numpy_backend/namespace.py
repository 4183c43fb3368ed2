"""NumPy's names, and the few that NumPy lacks."""

from typing import Any

from numpy import *  # noqa: F403
from numpy import abs, all, any, max, min, pow, round, sum  # noqa: F401 - hidden from "import *"
from numpy.lib.stride_tricks import sliding_window_view  # noqa: F401


def erf(x: Any) -> Any:
    """Error function, elementwise; scipy's, since NumPy has none."""
    from scipy import special

    return special.erf(x)

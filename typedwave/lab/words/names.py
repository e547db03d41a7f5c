"""The names that come with typedwave."""

from importlib.resources import files
from pathlib import Path

__all__ = ["names_path"]


def names_path() -> Path:
    """The list of names that is in the package, or in ``data/`` of a checkout.

    U.S. Social Security names of 2018; the README beside them in the repository has the source.
    """
    installed = Path(str(files("typedwave.lab") / "names.txt"))
    return installed if installed.exists() else Path(__file__).parents[3] / "data" / "names.txt"

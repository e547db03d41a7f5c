"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["appending", "is_leftover", "remove_leftovers", "removed_if_empty", "replacing"]

_NEW = ".new-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; what is there takes its place when all went well."""
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f"{_NEW}{path.name}-", suffix=path.suffix
        )
    except OSError as error:
        _name(error, path)
        raise
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o666 & ~_umask())
        with beside.open("rb") as file:
            os.fsync(file.fileno())  # a power cut must not leave the new name with nothing in it
        beside.replace(path)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether `replacing` writes to it, or left it where it was killed."""
    return path.name.startswith(_NEW) and path.is_file()


def remove_leftovers(folder: Path) -> None:
    """Takes away what `replacing` left in a folder, in which no other process may be writing."""
    for path in folder.iterdir():
        if is_leftover(path):
            path.unlink(missing_ok=True)


def appending(path: Path, text: str) -> None:
    """Adds to the end of a file, which is made if it is not there, all of the text or nothing.

    Raises:
        OSError: It cannot be written.
    """
    data = text.encode("utf-8")
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                while data:  # a disk that is nearly full takes a part
                    data = data[file.write(data) :]
            except BaseException:
                file.truncate(size)
                raise
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: Path) -> None:
    # A full disk names no file, and what is written beside the path is a name that nobody knows.
    unknown = error.filename is None or Path(error.filename).name.startswith(_NEW)
    if error.errno is not None and unknown:
        error.filename, error.filename2 = str(path), None


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Takes away the folders that are made on the way to ``folder``, if nothing comes of them."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # the first that holds something ends it
            for path in made:
                path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

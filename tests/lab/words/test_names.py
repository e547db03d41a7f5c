from pathlib import Path

from typedwave.lab.words import names
from typedwave.lab.words.corpus import read_words
from typedwave.lab.words.names import names_path

CHECKOUT = Path(__file__).resolve().parents[3]


def test_the_names_are_there_and_are_those_of_the_repository():
    assert names_path().read_bytes() == (CHECKOUT / "data" / "names.txt").read_bytes()
    words = read_words(names_path())
    assert len(words) > 30_000
    assert set("".join(words)) == set("abcdefghijklmnopqrstuvwxyz")


def test_the_list_in_an_installed_package_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "files", lambda package: tmp_path)
    assert names_path() == CHECKOUT / "data" / "names.txt"
    (tmp_path / "names.txt").write_text("anna\n")
    assert names_path() == tmp_path / "names.txt"


def test_it_is_looked_for_in_the_lab(monkeypatch):
    asked = []
    monkeypatch.setattr(names, "files", lambda package: asked.append(package) or CHECKOUT)
    names_path()
    assert asked == ["typedwave.lab"]

import os
from pathlib import Path

import pytest


def lecture_names_path() -> Path:
    """Where the list used in the lecture is looked for; it is not part of this repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "names_lecture.txt"
    return Path(os.environ.get("TYPEDWAVE_LECTURE_NAMES") or beside)


@pytest.fixture
def lecture_names() -> list[str]:
    path = lecture_names_path()
    if not path.is_file():
        pytest.skip(f"the lecture's list is not at {path}; set TYPEDWAVE_LECTURE_NAMES to its path")
    return path.read_text(encoding="ascii").split()

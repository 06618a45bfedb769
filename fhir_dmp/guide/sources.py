"""Where the guide comes from and where it is kept: one folder for each state of the sources, named by their digest.

https://hl7.org/fhir/R4/implementationguide.html
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES, CONVERSATIONS, DECISIONS = ROOT / "ig" / "pages", ROOT / "ig" / "conversations", ROOT / "ig" / "decisions"
PROFILES = ROOT / "profiles"
TEMPLATES, ASSETS = Path(__file__).parent / "templates", Path(__file__).parent / "assets"
# Everything that decides what a page says: prose, artefacts, and the server that answers in the examples.
INPUTS = ("ig", "profiles", "fhir_dmp", "capability_statement.json", "CHANGELOG.md", "requirements.lock", "tests/cases/access/table-3.json")
KEPT = 3
DONE = "built.json"


@lru_cache(maxsize=1)
def digest() -> str:
    """Of all sources, sixteen hexadecimal digits; taken once in the life of a process."""
    made = hashlib.sha256()
    for name in INPUTS:
        top = ROOT / name
        files = sorted(path for path in top.rglob("*") if path.is_file() and path.suffix != ".pyc") if top.is_dir() else [top]
        for path in files:
            content = path.read_bytes()
            made.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
            made.update(content)
    return made.hexdigest()[:16]


def shelf(data: Path) -> Path:
    """The folder that holds built guides: beside the sources when they may be written to, else in the data folder."""
    beside = ROOT / "build"
    return beside / "ig" if os.access(beside if beside.is_dir() else ROOT, os.W_OK) else data / "ig"


def place(data: Path) -> Path:
    """The folder of the guide of these sources, built or not."""
    return shelf(data) / digest()


def is_built(folder: Path) -> bool:
    """Whether a whole guide stands there: its last file is written at the end, and the folder appears at once by its name."""
    return (folder / DONE).is_file()

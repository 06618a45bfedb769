"""A copy of the sources whose guide is small: one word a page, one exchange, so that a build takes seconds and is a build all the same.

https://hl7.org/fhir/R4/implementationguide.html
"""

import shutil
from pathlib import Path

from fhir_dmp.guide import sources

LINKED = ("profiles", "tests", "capability_statement.json", "requirements.lock")
FIRST = "### first\nGET /metadata\n"
# Asked again and again for longer than any test takes.
ENDLESS = "### first\n# @patience 3600\n# @check nothing present\nGET /metadata?_elements=software\n"


def small(folder: Path, conversation: str = FIRST) -> None:
    """Write one to this folder. conversation: the only one that its guide holds."""
    shutil.copytree(sources.ROOT / "fhir_dmp", folder / "fhir_dmp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sources.ROOT / "ig", folder / "ig")
    for name in LINKED:
        (folder / name).symlink_to(sources.ROOT / name)
    (folder / "CHANGELOG.md").write_text("# Changelog\n\nA copy.\n", "utf-8")
    for page in (folder / "ig" / "pages").rglob("*.md"):
        page.write_text(page.read_text("utf-8").partition("\n")[0] + "\n", "utf-8")
    for path in (folder / "ig" / "conversations").glob("*.http"):
        path.unlink()
    (folder / "ig" / "conversations" / "only.http").write_text(conversation, "utf-8")

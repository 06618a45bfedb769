"""The guide of these sources, built once a session; a browser, if this machine has one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fhir_dmp.guide import sources

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
# Where there is no browser, the pages are still read as text by test_pages.py; what was left out is printed at the end.
collect_ignore = [] if BROWSER else ["test_browser.py"]


def pytest_terminal_summary(terminalreporter):
    if not BROWSER:
        terminalreporter.section("no browser")
        terminalreporter.line(
            "The guide was not opened in a browser: none is installed (Debian: apt-get install chromium, or set CHROMIUM)."
        )


@pytest.fixture(scope="session")
def guide() -> Path:
    """The folder of the guide, where `serve` looks for it."""
    command = [sys.executable, "-m", "fhir_dmp", "ig", "--if-missing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=sources.ROOT)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def pages(guide) -> list[str]:
    """Names of all pages, French and English."""
    return sorted(path.relative_to(guide).as_posix() for path in guide.rglob("*.html"))

"""Installs the exact versions of requirements.lock and this package into .venv when that was not done yet, then serves or tests.

Standard library only. The second start costs one file read: a stamp in .venv holds the digest of what was installed.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
LOG = ROOT / ".venv.log"
INPUTS = ("pyproject.toml", "requirements.lock")


def main(what: str, *arguments: str) -> int:
    install()
    if what == "serve":
        os.execv(PYTHON, [str(PYTHON), "-m", "fhir_dmp", "serve", *arguments])
    lint = subprocess.run([PYTHON, "-m", "ruff", "check", "--quiet", "."], cwd=ROOT, check=False).returncode
    # The whole suite in processes, each with a MongoDB of its own; a file stays in one. One more than there are processors, since tests
    # wait for servers, disks and clocks.
    some = any(not one.startswith("-") or one.startswith("-n") for one in arguments)
    spread = () if some else ("-n", str(min((os.cpu_count() or 1) + 1, 5)), "--dist", "loadfile")
    tests = subprocess.run([PYTHON, "-m", "pytest", *spread, *arguments], cwd=ROOT, check=False).returncode
    if lint:
        say("ruff found faults, see above the tests")
    return tests or lint


def install() -> None:
    """Make .venv what the lock says, alone on this checkout while doing so."""
    if fresh():
        return
    with alone():
        if fresh():
            return
        begun = time.monotonic()
        say("installing into .venv, about a minute, this once ...")
        make_venv()
        pip("install", "--requirement", str(ROOT / "requirements.lock"))
        pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        STAMP.write_text(digest())
        LOG.unlink(missing_ok=True)
        say(f"installed in {time.monotonic() - begun:.0f} s")


def fresh() -> bool:
    """Whether .venv holds what the lock says now."""
    try:
        return STAMP.read_text() == digest() and PYTHON.exists()
    except OSError:
        return False


def digest() -> str:
    """Of everything that decides what is installed and where."""
    parts = [str(ROOT).encode(), *((ROOT / name).read_bytes() for name in INPUTS)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One installation at a time; the others wait, then find it done."""
    with open(ROOT / ".venv.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is installing, waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv() -> None:
    """A virtual environment that works; one that broke, because the folder moved or its Python went, is made anew."""
    if works():
        return
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stop(f"this Python {version} comes without venv: install it (Debian, Ubuntu: apt-get install python{version}-venv)")
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(VENV))


def works() -> bool:
    """Whether the Python of .venv runs, is recent enough, lives here and has pip."""
    test = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([PYTHON, "-c", test], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def pip(*arguments: str) -> None:
    """pip of .venv, quiet; what it said is shown only when it failed."""
    run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def run(*command: str) -> None:
    """Run a command with its output in a file; stop with the end of it when it fails."""
    with LOG.open("ab") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, check=False).returncode
    if code:
        last = "\n".join(LOG.read_text("utf-8", "replace").splitlines()[-8:])
        stop(f"installing failed:\n{last}\nThe whole of it is in {LOG}")


def say(message: str) -> None:
    """A line for people; standard output stays free for the server and the tests."""
    print(f"fhir-dmp: {message}", file=sys.stderr, flush=True)


def stop(message: str) -> None:
    """Say why and end."""
    say(message)
    sys.exit(1)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

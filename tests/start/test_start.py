"""`scripts/serve` and `scripts/test`: what they install, and what they say when they cannot."""

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent


def locked():
    """Canonical name -> requirement, of requirements.lock for this machine."""
    listed = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()]
    return {canonical(one.name): one for one in listed if one.marker is None or one.marker.evaluate()}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def load(root):
    """scripts/start.py of a checkout, as a module."""
    spec = importlib.util.spec_from_file_location("start", root / "scripts" / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    """A checkout with nothing but what starting needs."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_lock_names_one_exact_version_of_everything_that_is_needed():
    lock = locked()
    for requirement in lock.values():
        (only,) = requirement.specifier
        assert only.operator == "==" and "*" not in only.version, requirement
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    queue = [Requirement(one) for one in [*project["dependencies"], *project["optional-dependencies"]["test"]]]
    seen = set()
    while queue:
        requirement = queue.pop()
        name = canonical(requirement.name)
        if (requirement.marker and not requirement.marker.evaluate({"extra": ""})) or name in seen:
            continue
        seen.add(name)
        assert name in lock, f"{name} is needed but not in requirements.lock"
        assert lock[name].specifier.contains(metadata.version(name), prereleases=True), f"{name} is not the version of the lock here"
        queue += [Requirement(one) for one in metadata.requires(name) or ()]


def test_second_start_costs_less_than_a_second(checkout):
    start = load(checkout)
    start.PYTHON.parent.mkdir(parents=True)
    start.PYTHON.write_text('#!/bin/sh\nexec echo started "$@"\n')
    start.PYTHON.chmod(0o755)
    start.STAMP.write_text(start.digest())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([checkout / "scripts" / "serve", "--port", "9"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started -m fhir_dmp serve --port 9\n", "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: the clock on the wall also tells how busy the machine is with other things.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_changed_requirements_are_installed_again(checkout, name):
    start = load(checkout)
    start.PYTHON.parent.mkdir(parents=True)
    start.PYTHON.touch()
    start.STAMP.write_text(start.digest())
    assert start.fresh()
    with (checkout / name).open("a") as file:
        file.write("\n")
    assert not start.fresh()


def test_python_without_venv_is_told_what_to_install(checkout, monkeypatch, capsys):
    start = load(checkout)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        start.install()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert stopped.value.code == 1 and f"apt-get install python{version}-venv" in capsys.readouterr().err


def test_failed_installation_shows_the_end_of_its_log_and_leaves_no_stamp(checkout, monkeypatch, capsys):
    start = load(checkout)
    monkeypatch.setattr(start, "make_venv", lambda: start.run(sys.executable, "-c", "print('no such package'); raise SystemExit(1)"))
    with pytest.raises(SystemExit):
        start.install()
    said = capsys.readouterr().err
    assert "no such package" in said and str(start.LOG) in said and not start.STAMP.exists()


def test_machine_without_python_is_told_what_to_install(checkout):
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("dirname", "sh"):
        os.symlink(shutil.which(name), tools / name)
    for script in ("serve", "test"):
        done = subprocess.run([checkout / "scripts" / script], env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "needs Python 3.11 or later" in done.stderr and script in done.stderr


def test_continuous_integration_runs_the_test_script_and_nothing_else():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith('exec scripts/test "$@"')

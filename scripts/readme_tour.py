#!/usr/bin/env python3
"""Run the console blocks of README.md against a fresh store; with --write, put what they print into it.

.venv/bin/python scripts/readme_tour.py --write
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
ADDRESS = "http://127.0.0.1:8080"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
MARK = "\x1e"
# What differs from run to run: ids, versions, instants, dates of headers.
CHANGING = (
    (re.compile(r"\b[a-z2-7]{26}\b"), "ID"),
    (re.compile(r"\b[a-z2-7]{13}\b"), "VERSION"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "INSTANT"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "DATE"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "INSTANT"),
    (re.compile(r"\d\d/\d\d/\d{4}( à)? \d\d:\d\d(:\d\d)?"), "WHEN"),
    (re.compile(r"urn:oid:2\.25\.\d+"), "OID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "HEX"),
    (re.compile(r"\d+ (traces|unmerged|heads|rows)"), "COUNT"),
    (re.compile(r"\d+\.\d s"), "SECONDS"),
    (re.compile(r"report: \S+"), "REPORT"),
)


def commands(block: str) -> list[tuple[str, str]]:
    """(command, output) pairs of a console block; a command goes on while its lines end with a backslash or stand inside quotes."""
    pairs: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            pairs.append((line[2:], ""))
        elif pairs and (line.startswith("> ")) and not pairs[-1][1]:
            pairs[-1] = (pairs[-1][0] + line[2:], "")
        elif pairs:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + line)
    return pairs


def run(url: str, data: Path) -> list[list[tuple[str, str]]]:
    """What each command of each block prints, in one shell. url: of a running server. data: its folder."""
    blocks = [commands(found[1]) for found in BLOCK.finditer(README.read_text("utf-8"))]
    script = "\n".join(f"{command.rstrip()}\nprintf '{MARK}'" for block in blocks for command, _ in block)
    environment = {**os.environ, "FHIR_DMP_DATA": str(data), "LC_ALL": "C.UTF-8"}
    script = script.replace(ADDRESS, url)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    printed = iter(done.stdout.replace(url, ADDRESS).replace(str(data), "data").split(MARK))
    return [[(command, next(printed, "")) for command, _ in block] for block in blocks]


def normal(text: str) -> str:
    """Text without what changes from run to run."""
    for pattern, name in CHANGING:
        text = pattern.sub(name, text)
    return text.strip()


def written(blocks: list[list[tuple[str, str]]]) -> str:
    """README.md with these outputs."""
    fresh = iter(blocks)

    def block(_: re.Match) -> str:
        parts = []
        for command, output in next(fresh):
            lines = command.rstrip("\n").split("\n")
            parts.append("$ " + "\n> ".join(lines) + "\n")
            parts.append(output if not output or output.endswith("\n") else output + "\n")
        return "```console\n" + "".join(parts) + "```"

    return BLOCK.sub(block, README.read_text("utf-8"))


def main() -> None:
    """Run, then compare or write."""
    sys.path.insert(0, str(ROOT))
    from tests.serving import serving

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), sandbox=False) as server:
        blocks = run(server.url, server.data)
    text = written(blocks)
    if "--write" in sys.argv:
        README.write_text(text, "utf-8")
    elif normal(text) != normal(README.read_text("utf-8")):
        sys.exit("README.md shows other outputs than its commands print; see --write")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write capability_statement.json from the tables the server runs on.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fhir_dmp.interactions.capabilities import statement  # noqa: E402

# Of the statement, not of the moment it is asked for: the file changes when the server does.
DATE = "2026-11-23"


def text() -> str:
    """The file, byte for byte."""
    return json.dumps(statement(DATE, sandbox=False, base_url=""), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    (ROOT / "capability_statement.json").write_text(text(), "utf-8")

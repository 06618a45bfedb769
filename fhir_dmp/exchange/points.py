"""Places where a test ends this process as a power cut would: the proof that an import survives its end anywhere.

Nothing happens unless the environment says FHIR_DMP_IMPORT_ENDS_AT=NAME:COUNT, which only tests do.
"""

import os
import signal

VARIABLE = "FHIR_DMP_IMPORT_ENDS_AT"
NAMES = ("item-read", "chunk-prepared", "before-commit", "in-commit", "after-commit", "chunk-done", "report-written", "job-done")

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count) if _count.isdigit() else 0


def reached(name: str) -> None:
    """Say that a place is reached; the process dies there when it is the one, for the time that was asked."""
    global _left
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

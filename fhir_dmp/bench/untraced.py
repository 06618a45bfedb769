"""`python -m fhir_dmp.bench.untraced serve ...`: the same server, which shows and writes without tracing.

So that what traces cost is measured beside it, and never for use: see fhir_dmp/bench/host.py.
"""

from fhir_dmp.cli import main
from fhir_dmp.interactions import tracing


async def untraced(*_: object) -> None:
    """In place of tracing.shown."""


def unwritten(*_: object) -> list:
    """In place of tracing.of_writes."""
    return []


if __name__ == "__main__":
    tracing.shown, tracing.of_writes = untraced, unwritten
    main()

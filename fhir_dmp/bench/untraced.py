"""`python -m fhir_dmp.bench.untraced serve ...`: the same server, which shows without tracing.

So that what traces cost is measured beside it, and never for use: see fhir_dmp/bench/traces.py.
"""

from fhir_dmp.cli import main
from fhir_dmp.interactions import tracing


async def untraced(*_: object) -> None:
    """In place of tracing.shown."""


if __name__ == "__main__":
    tracing.shown = untraced
    main()

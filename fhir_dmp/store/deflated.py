"""Bodies of traces, deflated before they are sealed: an AuditEvent of 2.7 KB repeats all but 0.3 of a text that is known beforehand.

https://www.rfc-editor.org/rfc/rfc1951

The text may never change: what was deflated against it opens with nothing else. Another one gets another mark.
"""

import zlib
from pathlib import Path

# First byte of a deflated body. No resource begins with it: JSON begins with a brace.
MARK = b"\x01"
# The text fits into the smallest window that holds it; more would be copied for each body and push everything else out of the caches.
_LEVEL, _WINDOW, _MEMORY = 3, -12, 3
_TEXT = (Path(__file__).parent / "data" / "traces-1.txt").read_bytes()
_begun = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _TEXT)


def deflate(body: bytes) -> bytes:
    """A body as it is stored.

    >>> inflate(deflate(b'{"resourceType":"AuditEvent"}'))
    b'{"resourceType":"AuditEvent"}'
    """
    # A copy of what has read the text already: reading it anew takes longer than the body.
    state = _begun.copy()
    return MARK + state.compress(body) + state.flush()


def inflate(stored: bytes) -> bytes:
    """The body again; one that is not deflated as it is."""
    if stored[:1] != MARK:
        return stored
    return zlib.decompressobj(-zlib.MAX_WBITS, _TEXT).decompress(memoryview(stored)[1:])

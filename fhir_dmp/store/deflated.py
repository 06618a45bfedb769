"""Traces as they are sealed: a salt, then the body, deflated: of 2.7 KB all but 0.3 repeat a text that is known beforehand.

https://www.rfc-editor.org/rfc/rfc1951

The text may never change: what was deflated against it opens with nothing else. Another one gets another mark.
"""

import zlib
from pathlib import Path

# First byte of what is deflated. No resource begins with it: JSON begins with a brace. The first form had its salt apart.
MARK, SALTED = b"\x01", b"\x02"
SALT_BYTES = 16
# The text fits into the smallest window that holds it; more would be copied for each body and push everything else out of the caches.
_LEVEL, _WINDOW, _MEMORY = 3, -12, 3
_TEXT = (Path(__file__).parent / "data" / "traces-1.txt").read_bytes()
_STARTS = {MARK: 1, SALTED: 1 + SALT_BYTES}
_begun = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _TEXT)


def deflate(body: bytes, salt: bytes) -> bytes:
    """What is sealed of a trace. salt: of its commitment, 16 bytes; it is as secret as the body, and goes with it.

    >>> stored = deflate(b'{"resourceType":"AuditEvent"}', b"0123456789abcdef")
    >>> inflate(stored), salt_in(stored)
    (b'{"resourceType":"AuditEvent"}', b'0123456789abcdef')
    """
    # A copy of what has read the text already: reading it anew takes longer than the body.
    state = _begun.copy()
    return SALTED + salt + state.compress(body) + state.flush()


def inflate(stored: bytes) -> bytes:
    """The body again; one that is not deflated as it is."""
    start = _STARTS.get(stored[:1])
    if start is None:
        return stored
    return zlib.decompressobj(-zlib.MAX_WBITS, _TEXT).decompress(memoryview(stored)[start:])


def salt_in(stored: bytes) -> bytes | None:
    """The salt beside a body, None where it is kept apart."""
    return stored[1 : 1 + SALT_BYTES] if stored[:1] == SALTED else None

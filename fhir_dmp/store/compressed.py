"""Traces as they are sealed: a salt, then the body, compressed: of 2.7 KB all but 0.3 repeat a text that is known beforehand.

https://www.rfc-editor.org/rfc/rfc8878

The text may never change: what was compressed against it opens with nothing else. Another one gets another mark.
"""

import zlib
from pathlib import Path

import zstandard

# First byte of what is compressed. No resource begins with it: JSON begins with a brace. Traces were deflated once, their salt apart.
DEFLATED, COMPRESSED = b"\x01", b"\x02"
SALT_BYTES = 16
_START = 1 + SALT_BYTES
# Higher levels take twice as long for a tenth less.
_LEVEL = 1
_TEXT = (Path(__file__).parent / "data" / "traces-1.txt").read_bytes()
_known = zstandard.ZstdCompressionDict(_TEXT, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
_known.precompute_compress(level=_LEVEL)
# Neither may be used by two threads at once.
_compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_known, write_checksum=False, write_dict_id=False)
_decompressor = zstandard.ZstdDecompressor(dict_data=_known)


def compress(body: bytes, salt: bytes) -> bytes:
    """What is sealed of a trace. salt: of its commitment, 16 bytes; it is as secret as the body, and goes with it.

    >>> stored = compress(b'{"resourceType":"AuditEvent"}', b"0123456789abcdef")
    >>> expand(stored), salt_in(stored)
    (b'{"resourceType":"AuditEvent"}', b'0123456789abcdef')
    """
    return COMPRESSED + salt + _compressor.compress(body)


def expand(stored: bytes) -> bytes:
    """The body again; one that is not compressed as it is."""
    if stored[:1] == COMPRESSED:
        return _decompressor.decompress(memoryview(stored)[_START:])
    if stored[:1] == DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS, _TEXT).decompress(memoryview(stored)[1:])
    return stored


def salt_in(stored: bytes) -> bytes | None:
    """The salt beside a body, None where it is kept apart."""
    return stored[1:_START] if stored[:1] == COMPRESSED else None

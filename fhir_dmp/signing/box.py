"""A box for one receiver: a stream encrypted under a key of its own, which only the receiver's private key opens.

JWE https://www.rfc-editor.org/rfc/rfc7516 ; ECDH-ES+A256KW https://www.rfc-editor.org/rfc/rfc7518#section-4.6 ; the stream is sealed
piece by piece (STREAM, https://eprint.iacr.org/2015/189): no piece can be changed, moved, left out or cut off.

Layout: MAGIC, the JWE of the key on one line, then pieces: length (4 octets), AES-256-GCM of up to 1 MiB; nonce = prefix || number || last.
What is in it is followed by zeros, up to a size that many others have: whoever carries a box learns little by its weight (Padmé,
https://doi.org/10.2478/popets-2019-0056; at most an eighth more, and never less than 1 MiB).
"""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc import jwe, jwk
from joserfc.errors import JoseError

from fhir_dmp.identity.issuers import folder, locked, write
from fhir_dmp.signing.keys import public

MAGIC = b"fhir-dmp package 1\n"
PIECE = 1024 * 1024
FILE = "packages.json"
ALGORITHMS = ["ECDH-ES+A256KW", "A256GCM"]
_LENGTH = struct.Struct(">I")
_MOST_JWE = 4096


class Broken(ValueError):
    """A box that does not open, or was changed."""


def own_key(data: Path) -> dict[str, str]:
    """The private key, as JWK, that packages for this host are opened with; made when there is none."""
    path = folder(data) / FILE
    with locked(path.parent):
        if not path.exists():
            made = jwk.ECKey.generate_key("P-256", auto_kid=True)
            write(path, {"keys": [{**made.as_dict(private=True), "kid": made.thumbprint(), "use": "enc", "alg": ALGORITHMS[0]}]})
        return json.loads(path.read_bytes())["keys"][0]


def own_public(data: Path) -> dict[str, str]:
    """The half of it that other hosts encrypt to."""
    return public(own_key(data))


class Closing:
    """Writes a box. A file that is only written, front to back; `close` makes it whole."""

    def __init__(self, file: BinaryIO, receiver: Mapping[str, str]) -> None:
        key, self._prefix = os.urandom(32), os.urandom(7)
        self._file, self._key, self._number, self._waiting, self._size = file, AESGCM(key), 0, bytearray(), 0
        header = {"alg": ALGORITHMS[0], "enc": ALGORITHMS[1], "kid": receiver["kid"]}
        receiver_key = jwk.import_key({name: receiver[name] for name in ("kty", "crv", "x", "y")}, "EC")
        told = jwe.encrypt_compact(header, key + self._prefix, receiver_key, algorithms=ALGORITHMS)
        file.write(MAGIC + told.encode() + b"\n")

    def write(self, data: bytes) -> int:
        """As of a file."""
        self._size += len(data)
        self._waiting += data
        while len(self._waiting) > PIECE:
            self._piece(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]
        return len(data)

    def close(self) -> None:
        """Zeros and the last piece; without it the box does not open."""
        missing = padded(self._size) - self._size
        for first in range(0, missing, PIECE):
            self.write(bytes(min(PIECE, missing - first)))
        self._piece(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _piece(self, plain: bytes, *, last: bool) -> None:
        sealed = self._key.encrypt(_nonce(self._prefix, self._number, last), plain, MAGIC)
        self._number += 1
        self._file.write(_LENGTH.pack(len(sealed)) + sealed)


class Opening:
    """Reads a box front to back. Broken as soon as something in it is not as it was written."""

    def __init__(self, file: BinaryIO, private: Mapping[str, str]) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise Broken("not a package of a dossier")
        line = file.readline(_MOST_JWE)
        key = jwk.import_key({name: private[name] for name in ("kty", "crv", "x", "y", "d")}, "EC")
        try:
            secret = jwe.decrypt_compact(line.strip().decode("ascii"), key, algorithms=ALGORITHMS).plaintext
        except (JoseError, ValueError, UnicodeDecodeError):
            raise Broken("the package was made for another host") from None
        if not secret or len(secret) != 39:
            raise Broken("the package has no key")
        self._file, self._key, self._prefix, self._number = file, AESGCM(secret[:32]), secret[32:], 0
        self._ready, self._done = bytearray(), False

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        while not self._done and (size < 0 or len(self._ready) < size):
            self._next()
        size = len(self._ready) if size < 0 else size
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        return taken

    def finish(self) -> None:
        """Read to the end, which must be there and be the end."""
        while not self._done:
            self._next()
            self._ready.clear()
        if self._file.read(1):
            raise Broken("something follows the end of the package")

    def _next(self) -> None:
        head = self._file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise Broken("the package ends early")
        (length,) = _LENGTH.unpack(head)
        if not 16 <= length <= PIECE + 16:
            raise Broken("the package was changed")
        sealed = self._file.read(length)
        for last in (False, True):
            try:
                self._ready += self._key.decrypt(_nonce(self._prefix, self._number, last), sealed, MAGIC)
            except InvalidTag:
                continue
            self._number += 1
            self._done = last
            return
        raise Broken("the package was changed")


def padded(size: int) -> int:
    """Octets of a box for so many within.

    >>> padded(10), padded(PIECE), padded(PIECE + 1), padded(100 * PIECE + 1) / PIECE
    (1048576, 1048576, 1081344, 102.0)
    """
    size = max(size, PIECE)
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4) + bytes([last])

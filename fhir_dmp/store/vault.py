"""The vault: host key, sealed ids, keyed hashes, dossier keys, sealed bodies and cursors.

AES-GCM: https://csrc.nist.gov/pubs/sp/800/38/d/final
HKDF: https://www.rfc-editor.org/rfc/rfc5869, AES-SIV: https://www.rfc-editor.org/rfc/rfc5297
"""

import base64
import binascii
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fhir_dmp.store.failures import Broken, Gone, StoreError

# The dossier of everything that belongs to no patient or to several.
COMMON = 0
NONCE = 12
OVERHEAD = NONCE + 16
_INT64 = Struct(">q")
_OPENED_KEYS = 4096
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")

Random = Callable[[int], bytes]


class Vault:
    """All keys of one store, derived from one host key of 32 bytes.

    An id is one AES block over dossier (int64) || 8 random bytes; those 16 bytes are the key of its row. So a read by id knows the
    dossier, and the id tells nothing. Nonces always come from the system, whatever `random` a test hands to the store for ids.
    """

    def __init__(self, host_key: bytes) -> None:
        if len(host_key) != 32:
            raise StoreError("a host key has 32 bytes")
        block = Cipher(algorithms.AES256(self._derive(host_key, "sealed ids", 32)), modes.ECB())  # one block: a permutation of ids
        # Each block stands alone, so one context serves all of them; a new one takes as long as the rest of a read's bookkeeping.
        self._sealing, self._opening = block.encryptor(), block.decryptor()
        self._hash = blake2b(key=self._derive(host_key, "blind index", 64), digest_size=8)
        self._named = blake2b(key=self._derive(host_key, "named keys", 64), digest_size=16)
        self._tokens = AESSIV(self._derive(host_key, "tokens", 64))
        self._wrapping = AESGCM(self._derive(host_key, "dossier keys", 32))
        self.check = self._derive(host_key, "key check", 16)
        self._opened: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._host_key = host_key
        # The same few keys are derived again and again, one with each deposit.
        self.subkey = cache(self._subkey)
        # The same few addresses are located for everything that belongs to a dossier.
        self.locate = lru_cache(maxsize=4096)(self._locate)
        # Whatever an import brings refers to the same few things.
        self.seal_id = lru_cache(maxsize=4096)(self._seal_id)

    @staticmethod
    def _derive(host_key: bytes, purpose: str, size: int) -> bytes:
        return HKDF(SHA256(), size, salt=None, info=b"fhir-dmp 1 " + purpose.encode()).derive(host_key)

    subkey: Callable[..., bytes]

    def _subkey(self, purpose: str, size: int = 32) -> bytes:
        """A key of its own for another part of the host, e.g. subkey("token issuer")."""
        return self._derive(self._host_key, "for " + purpose, size)

    # The host key on disk

    @classmethod
    def load(cls, data_dir: Path | str) -> "Vault | None":
        """The vault of DATA/keys/host.key; None when there is no such file."""
        path = Path(data_dir) / "keys" / "host.key"
        try:
            if path.stat().st_mode & 0o077:
                raise StoreError(f"{path} can be read by others than its owner: chmod 600 it")
            return cls(path.read_bytes())
        except FileNotFoundError:
            return None

    @classmethod
    def load_or_create(cls, data_dir: Path | str) -> "Vault":
        """The same, a new key being made first when there is none; the first of several processes wins."""
        vault = cls.load(data_dir)
        if vault:
            return vault
        folder = Path(data_dir) / "keys"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        draft = folder / f".host.key.{os.getpid()}.{os.urandom(4).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, os.urandom(32))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, folder / "host.key")  # fails when another process was first
        os.unlink(draft)
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        return cls.load(data_dir)

    # Ids and keys of rows

    seal_id: Callable[[bytes], str]

    def _seal_id(self, key: bytes) -> str:
        """Public id, 26 characters, of a row key of 16 bytes."""
        return _base32(self._sealing.update(key), 26)

    def open_id(self, text: str) -> bytes | None:
        """Row key of a public id made by seal_id; None when `text` has not that form."""
        block = _unbase32(text, 26, 16)
        return None if block is None else self._opening.update(block)

    def new_id(self, dossier: int, random: Random = os.urandom) -> str:
        """A new public id inside `dossier`; that of a new Patient inside a new_dossier."""
        return self.seal_id(self.new_key(dossier, random))

    @staticmethod
    def new_key(dossier: int, random: Random = os.urandom) -> bytes:
        """The key of a new row inside `dossier`, whose public id is its seal_id."""
        tail = random(8)
        while not any(tail):  # eight zero bytes are the dossier row
            tail = random(8)
        return _INT64.pack(dossier) + tail

    def new_dossier(self, random: Random = os.urandom) -> int:
        while True:
            dossier = _INT64.unpack(random(8))[0]
            if dossier != COMMON:
                return dossier

    locate: Callable[[str, str], bytes]

    def _locate(self, type: str, id: str) -> bytes:
        """Row key, 16 bytes, of `type`/`id`. An id that a client chose is found by a keyed hash."""
        return self.open_id(id) or self._keyed(self._named, f"{type}/{id}".encode())

    def dossier_of_patient(self, id: str) -> int:
        """Dossier of Patient/`id`, existing or not."""
        return dossier_in(self.locate("Patient", id))

    def new_version(self, random: Random = os.urandom) -> int:
        return _INT64.unpack(random(8))[0]

    # Blind index, tokens

    def hash64(self, value: bytes) -> int:
        """Keyed hash as a signed int64: equal values, equal hashes; nothing else can be told without the host key."""
        state = self._hash.copy()
        state.update(value)
        return _INT64.unpack(state.digest())[0]

    @staticmethod
    def _keyed(state: blake2b, value: bytes) -> bytes:
        state = state.copy()
        state.update(value)
        return state.digest()

    def seal_token(self, value: bytes, purpose: str) -> str:
        """A short value, e.g. a paging cursor, to be handed to a client who can neither read nor change it. Deterministic, URL-safe."""
        sealed = self._tokens.encrypt(value, [purpose.encode()])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open_token(self, text: str, purpose: str) -> bytes | None:
        """The value of seal_token with the same purpose; None when it was not made here."""
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return self._tokens.decrypt(sealed, [purpose.encode()])
        except (InvalidTag, ValueError, binascii.Error, UnicodeEncodeError):
            return None

    # Dossier keys

    def new_dossier_key(self, dossier: int) -> bytes:
        """A new random key of a dossier, wrapped by the host key."""
        nonce = os.urandom(NONCE)
        return nonce + self._wrapping.encrypt(nonce, os.urandom(32), _INT64.pack(dossier))

    def dossier_key(self, dossier: int, wrapped: bytes | None) -> AESGCM:
        """The key of a dossier, from its wrapped form as read just now; None means that it was destroyed.

        Opened keys are kept by their wrapped bytes only: who has not read the dossier row cannot ask for one.
        """
        if wrapped is None:
            raise Gone
        opened = self._opened.get(wrapped)
        if opened is None:
            try:
                opened = AESGCM(self._wrapping.decrypt(wrapped[:NONCE], wrapped[NONCE:], _INT64.pack(dossier)))
            except (InvalidTag, ValueError) as error:
                raise Broken("the key of a dossier does not open with the key of this host") from error
            if len(self._opened) >= _OPENED_KEYS:
                self._opened.popitem(last=False)
            self._opened[wrapped] = opened
        return opened

    def forget(self, wrapped: bytes) -> None:
        """Drop an opened key from memory."""
        self._opened.pop(wrapped, None)


def seal(key: AESGCM, value: bytes, associated: bytes) -> bytes:
    """nonce || ciphertext || tag; opens only with the same associated data."""
    nonce = os.urandom(NONCE)
    return nonce + key.encrypt(nonce, value, associated)


def unseal(key: AESGCM, sealed: bytes, associated: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE], sealed[NONCE:], associated)
    except (InvalidTag, ValueError) as error:
        raise Broken("a stored resource was changed outside this server and does not open") from error


def dossier_in(key: bytes) -> int:
    """Dossier that a row key begins with."""
    return _INT64.unpack_from(key)[0]


def dossier_row(dossier: int) -> bytes:
    """Key of the row that holds the wrapped key of a dossier."""
    return _INT64.pack(dossier) + bytes(8)


def is_dossier_row(key: bytes) -> bool:
    return not any(key[8:])


def version_row(key: bytes, version: int) -> bytes:
    """24 bytes: key of a row in `versions`, and associated data of the sealed body of that version."""
    return key + _INT64.pack(version)


@lru_cache(maxsize=4096)
def version_id(version: int) -> str:
    """meta.versionId, 13 characters, of a version."""
    # As _base32 would, written out: every row that is shown asks for it.
    bits, pairs = (version & 0xFFFF_FFFF_FFFF_FFFF) << 6, _PAIRS
    return (
        f"{pairs[bits >> 60]}{pairs[bits >> 50 & 1023]}{pairs[bits >> 40 & 1023]}{pairs[bits >> 30 & 1023]}"
        f"{pairs[bits >> 20 & 1023]}{pairs[bits >> 10 & 1023]}{_ALPHABET[bits >> 5 & 31]}"
    )


def version_of(text: str) -> int | None:
    """The version of a versionId; None when `text` is none of ours."""
    block = _unbase32(text, 13, 8)
    return None if block is None else _INT64.unpack(block)[0]


def _base32(block: bytes, length: int) -> str:
    """Lower-case base32 without padding, `length` even: the library's own takes 12 µs."""
    number = int.from_bytes(block) << (5 * length - 8 * len(block))
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(5 * length - 10, -1, -10)])


def _unbase32(text: str, length: int, size: int) -> bytes | None:
    """`size` bytes of `length` characters of canonical lower-case base32 without padding, or None."""
    if len(text) != length or text.strip(_ALPHABET):
        return None
    number, spare = int(text.translate(_DIGITS), 32), 5 * length - 8 * size
    # The last character carries spare bits: only one spelling of an id may be accepted.
    return None if number & ((1 << spare) - 1) else (number >> spare).to_bytes(size)

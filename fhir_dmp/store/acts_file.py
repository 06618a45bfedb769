"""The file of protective acts: it only grows, each frame sealed and bound to all before it, on the disk before anything is acknowledged.

https://pubs.opengroup.org/onlinepubs/9699919799/functions/fsync.html ; AES-GCM https://csrc.nist.gov/pubs/sp/800/38/d/final

A header of 32 octets (16 of name, 16 of identity), then frames: length (4 octets) || nonce || ciphertext || tag. The associated data of a
frame is the hash of everything before it: a frame taken out, altered or put elsewhere keeps all later ones from opening. A frame that was
cut short when the machine died was never acknowledged; the next writer removes it.
"""

import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import wraps
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.store.failures import Broken, StoreError
from fhir_dmp.store.vault import OVERHEAD, seal, unseal

NAME = b"fhir-dmp acts 1\n"
HEADER = len(NAME) + 16
_LENGTH = Struct(">I")
# Of a box, for who writes and who reads: a frame that is written is one that opens.
LONGEST = 64 * 1024 * 1024
T = TypeVar("T")


class End(NamedTuple):
    """How far a file was read. offset: octets. hashed: hash of everything before it."""

    offset: int
    hashed: bytes


class Frame(NamedTuple):
    """One act, opened. end: where it ends."""

    value: bytes
    end: End


def begin(header: bytes) -> End:
    """The end of an empty file; StoreError when it is none of ours."""
    if len(header) != HEADER or not header.startswith(NAME):
        raise StoreError("the journal of protective acts is not such a file, or of another version")
    return End(HEADER, sha256(header).digest())


def sealed(key: AESGCM, end: End, value: bytes) -> tuple[bytes, End]:
    """The octets of one more frame, and the end after it. StoreError for what no reader would take."""
    if OVERHEAD + len(value) > LONGEST:
        raise StoreError(f"an act of {len(value)} octets does not fit a frame of the journal of protective acts")
    box = seal(key, value, end.hashed)
    data = _LENGTH.pack(len(box)) + box
    return data, End(end.offset + len(data), sha256(end.hashed + data).digest())


def frames(key: AESGCM, data: bytes, end: End) -> Iterator[Frame]:
    """Frames of `data`, which stands at `end`. What was cut short at the very end is left out; StoreError for what was altered."""
    place = 0
    while place + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, place)
        if not OVERHEAD <= length <= LONGEST:
            raise altered(end)
        stop = place + _LENGTH.size + length
        if stop > len(data):
            return
        box = data[place + _LENGTH.size : stop]
        try:
            value = unseal(key, box, end.hashed)
        except Broken as error:
            raise altered(end) from error
        end = End(end.offset + stop - place, sha256(end.hashed + data[place:stop]).digest())
        yield Frame(value, end)
        place = stop


def places(key: AESGCM, path: Path) -> list[End]:
    """Where the frames of a file end, its header first. Blocks; the file may be one that cannot be written."""
    data = path.read_bytes()
    first = begin(data[:HEADER])
    return [first, *[frame.end for frame in frames(key, data[HEADER:], first)]]


def walked(key: AESGCM, descriptor: int, end: End) -> Iterator[Frame]:
    """The same of an open file, from `end` on, one frame in memory at a time. Blocks."""
    while True:
        data = _exactly(descriptor, _LENGTH.size, end.offset)
        if len(data) == _LENGTH.size and (length := _LENGTH.unpack(data)[0]) <= LONGEST:
            data += _exactly(descriptor, length, end.offset + _LENGTH.size)
        frame = next(frames(key, data, end), None)
        if frame is None:
            return
        yield frame
        end = frame.end


def _exactly(descriptor: int, size: int, offset: int) -> bytes:
    """As many octets, or what there is."""
    parts, left = [], size
    while left and (part := os.pread(descriptor, min(left, 1 << 20), offset + size - left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def altered(end: End) -> StoreError:
    return StoreError(f"the journal of protective acts was altered at octet {end.offset}: restore this file from a copy before serving")


def _on_disk(method: Callable[..., T]) -> Callable[..., T]:
    """What the disk does not allow is said with the file and what to do."""

    @wraps(method)
    def call(self: "ActsFile", *args: object) -> T:
        try:
            return method(self, *args)
        except OSError as error:
            file = f"{self._path.parent.name}/{self._path.name} in the data folder"
            raise StoreError(
                f"the journal of protective acts, {file}, cannot be written: {error.strerror or error}. Make room on its disk, or let "
                "this user write there; no act is lost meanwhile"
            ) from error

    return call


class ActsFile:
    """One such file, written by any number of processes; one writes at a time."""

    def __init__(self, path: Path, key: AESGCM) -> None:
        self._path, self._key = path, key
        self._end: End | None = None

    @_on_disk
    def identity(self) -> str:
        """Name of this file, made with it."""
        descriptor = self._open()
        try:
            return os.pread(descriptor, 16, len(NAME)).hex()
        finally:
            os.close(descriptor)

    @_on_disk
    def size(self) -> int:
        """In octets, with what may have been cut short at its end."""
        descriptor = self._open()
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    @_on_disk
    def append(self, value: bytes) -> End:
        """One more act; on the disk when it returns. Blocks."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = deque(self._ends(descriptor), maxlen=1).pop()
            data, after = sealed(self._key, end, value)
            os.ftruncate(descriptor, end.offset)
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], end.offset + written)
            os.fsync(descriptor)
            self._end = after
            return after
        finally:
            os.close(descriptor)

    @_on_disk
    def read(self, known: End | None = None) -> tuple[list[Frame], End, bool]:
        """Acts after `known`, the end of the file, and whether `known` is a place in it; where it is none, all acts.

        All frames are checked from the first one on. Blocks.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            end = begin(os.pread(descriptor, HEADER, 0))
            found, met = [], end == known
            for frame in walked(self._key, descriptor, end):
                found.append(frame)
                end = frame.end
                if end == known:
                    found, met = [], True
            return found, end, met
        finally:
            os.close(descriptor)

    @_on_disk
    def meets(self, known: End | None) -> tuple[bool, bool]:
        """Whether `known` is a place in what comes after the last look, and whether nothing comes after it. Blocks.

        What was read for that need not be read to append.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            met, end = False, None
            for end in self._ends(descriptor):
                met |= end == known
            self._end = end
            return met, end == known
        finally:
            os.close(descriptor)

    def _ends(self, descriptor: int) -> Iterator[End]:
        """Where frames end, from the last one that is known: others may have written since."""
        end = self._end or begin(os.pread(descriptor, HEADER, 0))
        if os.fstat(descriptor).st_size < end.offset:
            raise StoreError("the journal of protective acts became shorter: restore this file from a copy")
        yield end
        for frame in walked(self._key, descriptor, end):
            yield frame.end

    def _open(self) -> int:
        """A descriptor of the file, which is made with its header when there is none."""
        if not self._path.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.{os.urandom(4).hex()}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, NAME + os.urandom(16))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(draft, self._path)
            except FileExistsError:
                pass  # another process was first
            finally:
                os.unlink(draft)
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return os.open(self._path, os.O_RDWR)

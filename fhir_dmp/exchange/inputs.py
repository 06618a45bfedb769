"""What an import reads: files, folders, archives, standard input, as single resources with their place.

https://hl7.org/fhir/R4/nd-json.html ; CDA documents as they are, IHE XDM archives document by document
"""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import xdm
from fhir_dmp.exchange.described import Described
from fhir_dmp.fhir import json

PLAIN = (".json", ".ndjson", ".gz", ".xml")
SUFFIXES = (*PLAIN, ".zip")
# What reading a damaged file, archive or archive member raises; RuntimeError: it wants a password.
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)
# One resource or Bundle in memory.
LARGEST = 256 * 1024 * 1024


class Item(NamedTuple):
    """One resource as found.

    place: file, then line or member, e.g. "Patient.ndjson:3". consumed: bytes of input used up by it. fault: why there is nothing to
    read at this place, or no further. sealed: (signer, kid) of the message it came in, where that is not the item itself.
    """

    place: str
    body: bytes
    consumed: int
    fault: FhirError | None = None
    sealed: tuple[str, ...] = ()


class Input(NamedTuple):
    """One file, or standard input. name: as told to people. path: None for standard input that is not kept yet."""

    name: str
    path: Path | None

    @property
    def size(self) -> int:
        """Bytes, 0 when nobody knows."""
        return self.path.stat().st_size if self.path else 0


def inputs(paths: list[str]) -> list[Input]:
    """The files that paths name, folders searched for the suffixes an import knows, in the order of their names."""
    found = []
    for text in paths:
        path = Path(text)
        if text == "-":
            found.append(Input("standard input", None))
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(SUFFIXES))
            above = path.parent if len(paths) > 1 else path
            found += [Input(str(p.relative_to(above)), p) for p in inside]
        elif path.is_file():
            found.append(Input(path.name, path))
        else:
            raise FhirError("not-found", f"there is no file or folder `{text}`")
    return found


def items(source: Input) -> Iterator[Item]:
    """The resources of one input, in order. What cannot be read is an item with a fault, and the next file or member follows."""
    if source.path.name.lower().endswith(".zip"):
        yield from _told(source.name, lambda: _archived(source))
    else:
        yield from _told(source.name, lambda: _opened(source))


def _told(place: str, read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    try:
        yield from read()
    except FhirError as fault:
        yield Item(place, b"", 0, fault)
    except UNREADABLE as error:
        yield Item(place, b"", 0, FhirError("invalid", f"cannot be read: {error or type(error).__name__}"))


def _opened(source: Input) -> Iterator[Item]:
    with source.path.open("rb") as stream:
        yield from _members(source.name, source.path.name, stream)


def _archived(source: Input) -> Iterator[Item]:
    with zipfile.ZipFile(source.path) as archive:
        if submissions := xdm.submissions(archive):
            for metadata in submissions:
                yield from _told(f"{source.name}!{metadata.filename}", partial(_submitted, archive, metadata, source.name))
            return
        for member in sorted(archive.infolist(), key=lambda info: info.filename):
            if member.filename.lower().endswith(PLAIN) and not member.is_dir():
                place = f"{source.name}!{member.filename}"
                yield from _told(place, partial(_member, archive, member, place))


def _submitted(archive: zipfile.ZipFile, metadata: zipfile.ZipInfo, name: str) -> Iterator[Item]:
    for place, found in xdm.documents(archive, metadata):
        if isinstance(found, FhirError):
            yield Item(f"{name}!{place}", b"", 0, found)
        else:
            yield Item(f"{name}!{place}", gathered(found), len(found.content))


def gathered(document: Described) -> bytes:
    """A document of another format as a collection of the resources it becomes."""
    entries = [{"resource": resource} for resource in document.resources()]
    return json.dump({"resourceType": "Bundle", "type": "collection", "entry": entries})


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> Iterator[Item]:
    with archive.open(member) as stream:
        yield from _members(place, member.filename, stream)


def _members(name: str, file_name: str, stream: BinaryIO) -> Iterator[Item]:
    lower = file_name.lower()
    if lower.endswith(".gz"):
        stream, lower = gzip.GzipFile(fileobj=stream), lower.removesuffix(".gz")
    if lower.endswith(".ndjson"):
        yield from lines(name, stream)
    elif lower.endswith((".json", ".xml")):
        yield from whole(name, stream)
    else:
        yield from _sniffed(name, stream)


def lines(name: str, stream: BinaryIO, first: bytes = b"") -> Iterator[Item]:
    """NDJSON: one resource a line. first: a line that is already read."""
    number, line = 1, first or stream.readline(LARGEST + 1)
    while line:
        if len(line) > LARGEST:
            raise FhirError("too-long", f"{name}:{number} is longer than {LARGEST} bytes")
        if line.strip():
            yield Item(f"{name}:{number}", line.strip(), len(line))
        number, line = number + 1, stream.readline(LARGEST + 1)


def whole(name: str, stream: BinaryIO) -> Iterator[Item]:
    """One resource or Bundle."""
    body = stream.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise FhirError("too-long", f"{name} is longer than {LARGEST} bytes")
    # Of XML not a byte is changed: it may be signed.
    yield Item(name, body if body.lstrip()[:1] == b"<" else body.strip(), len(body))


def _sniffed(name: str, stream: BinaryIO) -> Iterator[Item]:
    """One resource per line when the first line is a whole one, else one resource."""
    first = stream.readline(LARGEST + 1)
    if first.rstrip().endswith(b"}") and first.lstrip().startswith(b"{"):
        yield from lines(name, stream, first)
    else:
        rest = stream.read(LARGEST + 1)
        yield from whole(name, io.BytesIO(first + rest))

"""The package of a dossier as another host sends it: read front to back, judged whole, and only then kept.

tar https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13 ; ig/decisions: host to host

Its host is known, and not trusted for it: whatever is in it may be anything. It is read twice: what is too large for memory is kept the
second time, when everything was judged. Each member has a type; what is then computed from a resource is computed once here, so that one
that cannot be is found before anything is written.
"""

import asyncio
import logging
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO, TypeVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, package_facts, package_former
from fhir_dmp.exchange import package as form
from fhir_dmp.exchange.hosts import Card
from fhir_dmp.exchange.package import Manifest, Package, Policy, Proved, RowLine, wrong
from fhir_dmp.fhir import json, schema
from fhir_dmp.fhir.instants import DAY, from_instant
from fhir_dmp.interactions import facts, policy
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.merged import REPLACED_BY
from fhir_dmp.interactions.origins import Origins
from fhir_dmp.interactions.seal_reading import is_seal, signatures
from fhir_dmp.search.extract import extract
from fhir_dmp.signing import box, jws, seal
from fhir_dmp.signing.seal import Version, digest
from fhir_dmp.signing.verdict import FAILED
from fhir_dmp.store.rows import Content
from fhir_dmp.store.vault import COMMON, dossier_in, is_dossier_row, version_id, version_of

log = logging.getLogger("fhir_dmp.exchange")

# What one package may bring into memory; contents that are kept apart do not count.
MOST = 1024 * 1024 * 1024
PIECE = 256 * 1024
# A host whose clock is that much ahead: what it says was done later than that.
AHEAD_MS = DAY
# Others are served between so many resources.
STRIDE = 50
# What makes whoever reads a resource, or computes anything from it, fail: of another kind than it says, or without what R4 asks for. What
# else is wrong in what was deposited elsewhere, perhaps long ago, keeps no dossier from going on.
BROKEN = frozenset({"structure", "required", "too-costly"})
# Rights are compiled from these: nothing at all may be wrong in them.
COMPILED = frozenset({*policy.SOURCES, *facts.DIRECTORY})
OCTETS = "octets/"
# What no check before it met. A package is never a fault of this host.
UNMET = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, UnsupportedAlgorithm)
T = TypeVar("T")


@dataclass(slots=True)
class Read:
    """What a package says, verified. octets: number of file -> content as it is stored here. bodies: by reference, as they were there.

    left: by hosts before the giving one, see package_former.table. unproved: traces that stand in no journal.
    """

    package: Package
    manifest: Manifest
    policy: Policy
    rows: list[RowLine]
    bodies: dict[str, bytes | None]
    proofs: list[dict]
    octets: dict[int, Content] = field(default_factory=dict)
    left: dict[int, Origins] = field(default_factory=dict)
    unproved: int = 0


@dataclass(slots=True)
class _Box:
    """A package, opened as often as it is read. file: from its beginning, that of the package."""

    file: BinaryIO
    private: dict[str, str]

    def entries(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """Name, size and content of each, to its end. FhirError for what is no plain file."""
        self.file.seek(0)
        opened = box.Opening(self.file, self.private)
        with tarfile.open(fileobj=opened, mode="r|", tarinfo=_Plain) as archive:
            for info in archive:
                if info.size < 0 or not info.pax_headers.keys() <= {"size"}:
                    raise wrong(f"`{info.name[:60]}` does not belong there")
                yield info.name, info.size, archive.extractfile(info)
        opened.finish()


class _Plain(tarfile.TarInfo):
    """A file as it is, or what tells the size of one that no header can: nothing that is more octets when it is read than it has."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Plain":
        """As of TarInfo; 422 for an entry of any other kind."""
        found = super().frombuf(buf, encoding, errors)
        told = found.type == tarfile.XHDTYPE and found.size <= tarfile.BLOCKSIZE
        if not (told or found.type == tarfile.REGTYPE) or found.size < 0:
            raise wrong(f"`{found.name[:60]}` is no file")
        return found


async def verified(context: Context, card: Card, file: BinaryIO, private: dict[str, str]) -> Read:
    """Everything in a package of this host; its contents are stored, sealed under the key of the dossier, and nothing names them yet.

    422 for whatever is not as its host signed it, or is not what it should be. file: seekable.
    """
    try:
        return await _verified(context, card, _Box(file, private))
    except (box.Broken, tarfile.TarError, msgspec.MsgspecError, jws.Refused, UnicodeDecodeError, RecursionError) as error:
        raise wrong(str(error)) from None
    except UNMET as error:
        log.warning("a package could not be judged", exc_info=error)
        raise wrong("it cannot be read") from None


async def _verified(context: Context, card: Card, sent: _Box) -> Read:
    files: dict[str, bytes] = {}
    sums: dict[str, tuple[int, str]] = {}
    package, size = None, 0
    for name, length, source in sent.entries():
        if name in sums or (package is None) != (name == "package.json"):
            raise wrong(f"`{name[:60]}` does not belong there")
        if name.startswith(OCTETS):
            _number(name)
            sums[name] = await _summed(source)
            continue
        if name not in (*form.HOLDING, *form.TELLING, *form.SIGNED, "package.json"):
            raise wrong(f"`{name[:60]}` does not belong there")
        size += length
        if size > MOST:
            raise wrong("it is larger than this host takes at once")
        files[name] = source.read()
        sums[name] = (len(files[name]), digest(files[name]))
        if name == "package.json":
            package = msgspec.json.decode(files[name], type=Package)
            _expected(context, card, package)
    if package is None:
        raise wrong("it has no manifest")
    found = _complete(card, package, files, sums)
    await _judged(context, found)
    _seals(card, found)
    rows = package_former.tabled(found.rows)
    for number, source in _contents(sent, rows):
        if (left := package_former.table(int(package.dossier), rows[number], source.read())) is not None:
            found.left[number] = left
    journals = await package_former.Journals.open(context, card)
    found.unproved = package_former.check(journals, card.host, found.rows, found.bodies, found.proofs, list(found.left.values()))
    found.proofs = [one for one in found.proofs if one["proof"]]
    await _kept(context, sent, found)
    return found


def _number(name: str) -> int:
    """Which content this is the file of; one spelling of each."""
    text = name.removeprefix(OCTETS)
    if not (text.isascii() and text.isdecimal() and len(text) < 18 and str(int(text)) == text):
        raise wrong(f"`{name[:60]}` does not belong there")
    return int(text)


async def _summed(source: BinaryIO) -> tuple[int, str]:
    state, size = sha256(), 0
    async for piece in _pieces(source):
        state.update(piece)
        size += len(piece)
    return size, jws.encoded(state.digest())


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
        await asyncio.sleep(0)


def _contents(sent: _Box, wanted: Collection[int]) -> Iterator[tuple[int, BinaryIO]]:
    """Some of the contents that are kept apart, by their numbers."""
    if wanted:
        for name, _, source in sent.entries():
            if name.startswith(OCTETS) and (number := _number(name)) in wanted:
                yield number, source


async def _kept(context: Context, sent: _Box, found: Read) -> None:
    """Store the contents. What was read the second time is what was judged the first time."""
    dossier = int(found.package.dossier)
    told = {one.octets.file: one.octets for one in found.rows if one.octets is not None}
    for number, source in _contents(sent, told.keys() - found.left.keys()):
        content = await context.store.contents.write(_pieces(source), dossier)
        if (content.size, jws.encoded(content.sha256)) != (told[number].size, told[number].sha256):
            raise wrong("it changed while it was read")
        found.octets[number] = content


# ---- what it is


def _expected(context: Context, card: Card, package: Package) -> None:
    if package.format != form.FORMAT:
        raise wrong(f"its format {package.format} is not known here")
    if package.host != card.host:
        raise wrong("it comes from another host than the source that was named")
    if package.recipient != context.store.record.identity:
        raise wrong("it was made for another host")
    if int(package.dossier) == COMMON or not -(2**63) <= int(package.dossier) < 2**63:
        raise wrong("it is no dossier")
    try:
        at_ms = from_instant(package.at)
    except FhirError as error:
        raise wrong(error.message) from None
    if not 0 <= at_ms <= context.now_ms() + AHEAD_MS:
        raise wrong("the clock of its host is far ahead")


def _complete(card: Card, package: Package, files: dict[str, bytes], sums: dict[str, tuple[int, str]]) -> Read:
    """Check the manifest against everything that came, and everything against one another."""
    if not files.keys() >= {*form.SIGNED}:
        raise wrong("it has no manifest")
    try:
        hosts.signed_by(card, files["manifest.jws"].decode(), form.TYP, files["manifest.json"])
    except jws.Refused as error:
        raise wrong(f"its manifest is not signed as it should be: {error}") from None
    manifest = msgspec.json.decode(files["manifest.json"], type=Manifest)
    told = {name: (one.size, one.sha256) for name, one in manifest.files.items()}
    if told != {name: one for name, one in sums.items() if name not in form.SIGNED} or manifest.package != package:
        raise wrong("what is in it is not what its manifest lists")
    if not files.keys() >= {*form.TELLING}:
        raise wrong("it does not tell all of what is in it")
    rows = _lines(files["rows.ndjson"], RowLine)
    bodies: dict[str, bytes | None] = {}
    waiting = {name: iter(form.bodies_of(name, data)) for name, data in files.items() if name in form.HOLDING}
    for one in rows:
        if one.reference in bodies:
            raise wrong(f"it holds {one.reference} twice")
        bodies[one.reference] = next(waiting.get(one.file, iter(())), None) if one.file else None
        if one.file and bodies[one.reference] is None:
            raise wrong(f"{one.reference} is not in the file that it names")
        apart = one.octets
        if apart is not None and sums.get(f"{OCTETS}{apart.file}") != (apart.size, apart.sha256):
            raise wrong(f"the content of {one.reference} is another one")
    if any(next(rest, None) is not None for rest in waiting.values()) or dict(form.counted(rows)) != manifest.counts:
        raise wrong("it does not hold as much as its manifest counts")
    kept = msgspec.json.decode(files["policy.json"], type=Policy)
    proofs = [msgspec.to_builtins(one) for one in _lines(files["proofs.ndjson"], Proved)]
    return Read(package, manifest, kept, rows, bodies, proofs)


def _lines(data: bytes, kind: type[T]) -> list[T]:
    *lines, rest = data.split(b"\n")
    if rest:
        raise wrong("a line of it has no end")
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(line) for line in lines]


# ---- each row of it


async def _judged(context: Context, found: Read) -> None:
    """422 for a row that is not what it says, or that would not go into the store beside the others."""
    number, latest_ms = int(found.package.dossier), context.now_ms() + AHEAD_MS
    keys: dict[str, tuple[str, str]] = {}
    ids: dict[str, str] = {}
    current: Counter[str] = Counter()
    versions = set()
    for place, one in enumerate(found.rows):
        if place % STRIDE == 0:
            await asyncio.sleep(0)
        key = bytes.fromhex(one.key)
        if one.dossier and dossier_in(key) != number:
            raise wrong(f"{one.reference} is of another dossier")
        if not one.dossier and (dossier_in(key) != COMMON or one.type not in facts.DIRECTORY or not one.current or one.deleted):
            raise wrong(f"{one.reference} is no entry of the directory")
        if is_dossier_row(key) or (one.dossier and one.type in facts.DIRECTORY) or not schema.known_type(one.type):
            raise wrong(f"{one.reference} cannot be in a dossier")
        version = version_of(one.version)
        if version is None or version_id(version) != one.version:
            raise wrong(f"{one.reference} has no version")
        if keys.setdefault(one.key, (one.type, one.id)) != (one.type, one.id) or ids.setdefault(one.id, one.key) != one.key:
            raise wrong(f"{one.reference} is two resources")
        if (one.key, version) in versions:
            raise wrong(f"it holds {one.reference} twice")
        versions.add((one.key, version))
        current[one.key] += one.current
        if max(one.updated_ms, one.acted_ms) > latest_ms:
            raise wrong(f"{one.reference} is of a time to come")
        try:
            package_facts.judged(one.facts)
        except msgspec.ValidationError as error:
            raise wrong(f"what {one.reference} is judged by is not known here: {error}") from None
        _resource(context, one, found.bodies[one.reference])
    if any(current[key] != 1 for key in keys):
        raise wrong("one of its resources has not one version that is current")
    people = {one.id for one in found.rows if one.type == "Patient"}
    if people != {found.package.patient}:
        raise wrong("it has another Patient than it names, or none")
    if any(one.type == "Patient" and one.current and one.deleted for one in found.rows):
        raise wrong("it has no Patient")


def _resource(context: Context, one: RowLine, body: bytes | None) -> None:
    """A body says itself what it is, and can be read as that."""
    if body is None:
        if not one.deleted:
            raise wrong(f"{one.reference} has no body")
        return
    if one.file != (form.group_of(one.type, body) if one.dossier else f"{form.DIRECTORY}.json"):
        raise wrong(f"{one.reference} is in another file than it should be")
    try:
        value = json.parse(body)
    except FhirError as error:
        raise wrong(f"{one.reference}: {error.message}") from None
    if one.deleted:
        return
    found = schema.validate(value, type=one.type)
    faults = [fault for fault in found if fault.code in BROKEN or (one.type in COMPILED and fault.severity in ("error", "fatal"))]
    if faults:
        raise wrong(f"{one.reference}: {faults[0].expression}: {faults[0].diagnostics}")
    meta = value.get("meta", {})
    if f"{one.type}/{value.get('id')}/_history/{meta.get('versionId')}" != one.reference:
        raise wrong(f"{one.reference} holds something else")
    if one.current:
        if one.type == "Patient" and any(link.get("type") == REPLACED_BY for link in value.get("link") or ()):
            # No dossier that was joined is given away: its person would be led into whose it names here.
            raise wrong(f"{one.reference} says that it goes on in another dossier")
        try:
            extract(one.type, value, base_urls=(context.base_url,))
        except UNMET as error:
            raise wrong(f"{one.reference} cannot be indexed") from error


# ---- its seals


def _seals(card: Card, found: Read) -> None:
    """Every seal of the giving host must hold, over what came."""
    octets = {one.reference: one.octets.sha256 for one in found.rows if one.octets is not None}
    for one in found.rows:
        body = found.bodies[one.reference]
        if one.type != "Provenance" or body is None:
            continue
        for sig_format, text in signatures(json.parse(body)):
            if sig_format != jws.FORM or not is_seal(text):
                continue
            opened = seal.opened(text.decode(), [card.keys])
            if opened.statement is None:
                if opened.verdict.status == FAILED:
                    raise wrong(f"{one.reference}: {opened.verdict.reasons[0]}")
                continue  # of a host before; verified with the keys of that one
            if opened.statement.host != found.package.host:
                continue
            for what in opened.statement.what:
                sealed = found.bodies.get(what.reference)
                if sealed is None:
                    raise wrong(f"{what.reference} was sealed, and it is not there")
                own = octets.get(what.reference) or _digest_inside(what.reference, sealed)
                verdict = seal.compared(opened, Version(what.reference, sealed, own))
                if verdict.status == FAILED:
                    raise wrong(f"{what.reference}: {verdict.reasons[0]}")


def _digest_inside(reference: str, body: bytes) -> str:
    data = seal.octets_of(body) if reference.startswith("Binary/") else None
    return digest(data) if data is not None else ""

"""Packages as a host makes them that is known and does what it likes: opened with the receiver's key, changed, signed anew by the giver."""

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fhir_dmp.exchange import package as form
from fhir_dmp.fhir import json
from fhir_dmp.signing import box
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.seal import digest

Parts = dict[str, bytes]


def opened(package: bytes, data) -> Parts:
    """The files of a package, in their order. data: folder of its receiver."""
    with tarfile.open(fileobj=box.Opening(io.BytesIO(package), box.own_key(data)), mode="r|") as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def closed(parts: Parts, giver, receiver, extra: Iterable[bytes] = (), change: Callable[[dict], dict] = lambda one: one) -> bytes:
    """These files as a package. giver, receiver: folders of data. extra: entries as they are, after the first. change: of the manifest."""
    told = {name: {"size": len(one), "sha256": digest(one), "count": 1} for name, one in parts.items() if name not in form.SIGNED}
    package = msgspec.json.decode(parts["package.json"])
    manifest = msgspec.json.decode(parts["manifest.json"]) | {"package": package, "files": told, "counts": counted(parts)}
    data = msgspec.json.encode(change(manifest))
    first, _, last = SealKeys(giver).sign_as(form.TYP, data).split(".")
    file = io.BytesIO()
    sealed = box.Closing(file, box.own_public(receiver))
    with tarfile.open(fileobj=sealed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, one in {**parts, "manifest.json": data, "manifest.jws": f"{first}..{last}".encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(one)
            archive.addfile(info, io.BytesIO(one))
            if name == "package.json":
                for entry in extra:
                    archive.fileobj.write(entry)
    sealed.close()
    return file.getvalue()


def counted(parts: Parts) -> dict[str, int]:
    """Resources by type, as rows say that need not be rows."""
    found: dict[str, int] = {}
    try:
        rows = lines(parts, "rows.ndjson")
    except (KeyError, RecursionError, msgspec.DecodeError):
        rows = []
    for one in rows:
        if isinstance(one, dict) and one.get("current", True) and not one.get("deleted") and isinstance(one.get("type"), str):
            found[one["type"]] = found.get(one["type"], 0) + 1
    return dict(sorted(found.items()))


def lines(parts: Parts, name: str) -> list:
    """Values of an NDJSON file."""
    return [msgspec.json.decode(line) for line in parts[name].split(b"\n")[:-1]]


def with_lines(parts: Parts, name: str, values: Iterable) -> Parts:
    """The same with other lines in one file."""
    return {**parts, name: form.lines(list(values))}


def with_rows(parts: Parts, change: Callable[[dict], Mapping | None], only: Callable[[dict], bool] = lambda row: True) -> Parts:
    """The same with other rows: None leaves a row out, with nothing else."""
    changed = ((change(row) if only(row) else row) for row in lines(parts, "rows.ndjson"))
    return with_lines(parts, "rows.ndjson", (one for one in changed if one is not None))


def resources(parts: Parts) -> list[tuple[str, bytes]]:
    """(file, body) of every version, in the order of the rows."""
    waiting = {name: iter(form.bodies_of(name, one)) for name, one in parts.items() if name in form.HOLDING}
    return [(one["file"], next(waiting[one["file"]])) for one in lines(parts, "rows.ndjson") if one.get("file")]


def with_bodies(parts: Parts, bodies: Iterable[tuple[str, bytes]]) -> Parts:
    """The same with other bodies in the order of the rows."""
    files: dict[str, list[bytes]] = {}
    for name, body in bodies:
        files.setdefault(name, []).append(body)
    rest = {name: one for name, one in parts.items() if name not in form.HOLDING}
    told = {
        name: form.bundle([("", one) for one in those]) if name.endswith(".json") else b"".join(one + b"\n" for one in those)
        for name, those in files.items()
    }
    return {**rest, **told}


def unsealed(parts: Parts) -> Parts:
    """The same without what the giver sealed, so that a body can be another."""
    kept = [place for place, one in enumerate(lines(parts, "rows.ndjson")) if one["type"] != "Provenance"]
    rows, bodies = lines(parts, "rows.ndjson"), resources(parts)
    assert len(rows) == len(bodies)
    return with_bodies(with_lines(parts, "rows.ndjson", [rows[place] for place in kept]), [bodies[place] for place in kept])


def value_of(body: bytes) -> dict:
    """A body as values that can be changed."""
    return json.parse_exact(body)

"""FHIR operations: the one table of what is served at which address, for dispatch, HTTP and the CapabilityStatement.

https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import parameters
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import (
    access_journal,
    access_sheet,
    audit_proof,
    closing,
    docref,
    document,
    emergency,
    everything,
    export,
    export_dossier,
    feeding,
    import_,
    lastn,
    listing,
    match,
    merging,
    meta,
    opening,
    patient_summary,
    quarantine,
    review_queue,
    statistics,
    unmerging,
    validate,
    verify_seal,
)
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.search_access import of_copy, of_instance, of_patient, of_search
from fhir_dmp.interactions.search_sight import Sight

R4 = "http://hl7.org/fhir/OperationDefinition/"
BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"

Run = Callable[..., Awaitable[Answer]]
Seen = Callable[[Context, Url, Given], Awaitable[Sight]]


class Operation(NamedTuple):
    """name: without `$`. url: of its OperationDefinition. levels: system, type, instance. types: () for every type.

    methods: GET, POST. affects: whether it changes what is stored; such an operation has no GET. parameters: what it takes.
    open: it also takes search parameters. versions: it may be asked of a version in a history. sight: what of a dossier it may show; it is
    then the last argument of `run`; None for one that asks the rules by itself.
    """

    name: str
    url: str
    levels: tuple[str, ...]
    types: tuple[str, ...]
    run: Run
    parameters: Sequence[Parameter]
    methods: tuple[str, ...] = ("GET", "POST")
    affects: bool = False
    open: bool = False
    versions: bool = False
    sight: Seen | None = None


def _act(name: str, url: str, levels: tuple[str, ...], types: tuple[str, ...], run: Run, parameters: Sequence[Parameter]) -> Operation:
    """One that changes what is stored."""
    return Operation(name, url, levels, types, run, parameters, methods=("POST",), affects=True)


OPERATIONS = (
    Operation("everything", R4 + "Patient-everything", ("instance",), ("Patient",), everything.run, everything.PARAMETERS, sight=of_copy),
    Operation(
        *("summary", patient_summary.URL, ("instance",), ("Patient",), patient_summary.run, patient_summary.PARAMETERS), sight=of_patient
    ),
    Operation(
        *("access-journal", access_journal.URL, ("instance",), ("Patient",), access_journal.run, access_journal.PARAMETERS),
        sight=access_journal.sight_of,
    ),
    _act("open", opening.URL, ("type",), ("Patient",), opening.run, opening.PARAMETERS),
    _act("close", closing.CLOSE_URL, ("instance",), ("Patient",), closing.close, closing.PARAMETERS),
    _act("reactivate", closing.REACTIVATE_URL, ("instance",), ("Patient",), closing.reactivate, closing.PARAMETERS),
    _act("merge", merging.URL, ("type", "instance"), ("Patient",), merging.run, merging.PARAMETERS),
    _act("unmerge", unmerging.URL, ("type", "instance"), ("Patient",), unmerging.run, unmerging.PARAMETERS),
    _act("break-glass", emergency.URL, ("instance",), ("Patient",), emergency.run, emergency.PARAMETERS),
    Operation("review-queue", review_queue.QUEUE_URL, ("system",), (), review_queue.queue, review_queue.QUEUE),
    _act("review", review_queue.REVIEW_URL, ("system",), (), review_queue.review, review_queue.REVIEW),
    Operation("access-list", listing.LIST_URL, ("instance",), ("Patient",), listing.listed, ()),
    Operation("explain-access", listing.EXPLAIN_URL, ("instance",), ("Patient",), listing.explained, listing.PARAMETERS),
    _act("access-sheet", access_sheet.URL, ("instance",), ("Patient",), access_sheet.run, access_sheet.PARAMETERS),
    Operation(
        "document",
        R4 + "Composition-document",
        ("type", "instance"),
        ("Composition",),
        document.run,
        document.PARAMETERS,
        sight=of_instance,
    ),
    Operation("docref", docref.URL, ("type",), ("DocumentReference",), docref.run, docref.PARAMETERS, sight=of_search),
    Operation("match", R4 + "Patient-match", ("type",), ("Patient",), match.run, match.PARAMETERS, methods=("POST",), sight=match.sight_of),
    Operation("lastn", R4 + "Observation-lastn", ("type",), ("Observation",), lastn.run, lastn.PARAMETERS, open=True, sight=of_search),
    Operation("meta", R4 + "Resource-meta", ("system", "type", "instance"), (), meta.run, (), versions=True, sight=of_instance),
    Operation("validate", R4 + "Resource-validate", ("type", "instance"), (), validate.run, validate.PARAMETERS, sight=of_instance),
    Operation("proof", audit_proof.URL, ("instance",), ("AuditEvent",), audit_proof.run, (), sight=of_instance),
    _act("import", import_.URL, ("system",), (), import_.run, import_.PARAMETERS),
    _act("export-dossier", export_dossier.URL, ("instance",), ("Patient",), export_dossier.run, export_dossier.PARAMETERS),
    Operation("verify", verify_seal.URL, ("instance",), (), verify_seal.run, ()),
    Operation("quarantine", quarantine.LIST_URL, ("system",), (), quarantine.run, quarantine.LIST),
    _act("resolve", quarantine.RESOLVE_URL, ("system",), (), quarantine.run, quarantine.RESOLVE),
    Operation("feed", feeding.URL, ("system",), (), feeding.run, feeding.PARAMETERS),
    Operation("statistics", statistics.URL, ("system",), (), statistics.run, statistics.PARAMETERS),
    Operation("export", BULK + "export", ("system",), (), export.run, export.PARAMETERS),
    Operation("export", BULK + "patient-export", ("type",), ("Patient",), export.run, export.PARAMETERS),
    Operation("export", BULK + "group-export", ("instance",), ("Group",), export.run, export.PARAMETERS),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation that an address names, and what it was given."""

    operation: Operation
    given: Given


def is_operation(url: Url) -> bool:
    """Whether the address is that of an operation."""
    return bool(url.tail) and url.tail[-1].startswith("$")


def level_of(url: Url) -> str:
    return "instance" if url.id else "type" if url.type else "system"


def operations_of(type_name: str | None) -> list[Operation]:
    """Operations that concern a type; None: those of the whole system."""
    if type_name is None:
        return [each for each in OPERATIONS if "system" in each.levels]
    return [each for each in OPERATIONS if type_name in each.types or (not each.types and set(each.levels) - {"system"})]


def find(url: Url) -> Operation:
    """The operation an address names; 404 when there is none."""
    name, before = url.tail[-1][1:], url.tail[:-1]
    for each in OPERATIONS:
        if each.name == name and level_of(url) in each.levels and (not each.types or url.type in each.types):
            version = each.versions and url.id and len(before) == 2 and before[0] == "_history"
            if not before or version:
                return each
    raise FhirError("not-found", f"there is no operation `${name[:40]}` at this address")


def declared(type_name: str | None) -> list[dict]:
    """As the CapabilityStatement lists them."""
    return [{"name": each.name, "definition": each.url} for each in operations_of(type_name)]


def understood(context: Context, method: str, url: Url, body: bytes) -> Asked:
    """The operation and its input, checked. body: of a POST, b"" for none."""
    operation = find(url)
    if ("GET" if method == "HEAD" else method) not in operation.methods:
        allowed = ", ".join(["GET, HEAD" if each == "GET" else each for each in operation.methods])
        raise FhirError("method", f"`{method[:16]}` does not ask for `${operation.name}`", headers={"Allow": allowed})
    body = body if method == "POST" else b""
    settings = {"open": operation.open, "lenient": context.lenient, "max_depth": context.settings.max_depth}
    return Asked(operation, parameters.read(operation.parameters, url.query, body, **settings))


async def run(context: Context, method: str, url: Url, body: bytes) -> Answer:
    """Do what an address with an operation asks for."""
    asked = understood(context, method, url, body)
    operation = asked.operation
    if operation.affects and context.transaction is not None:
        # Some of what they store is not in the transaction, or is told of while it still may fail.
        raise FhirError("not-supported", f"`${operation.name}` is asked for by a request of its own, not within a transaction")
    if operation.sight is None:
        return await operation.run(context, url, asked.given)
    return await operation.run(context, url, asked.given, await operation.sight(context, url, asked.given))

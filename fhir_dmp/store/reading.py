"""Reading rows: by key, by query, histories. The same methods serve inside and outside of a transaction.

https://hl7.org/fhir/R4/http.html#read, https://hl7.org/fhir/R4/http.html#history
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.errors import FhirError
from fhir_dmp.store import policies
from fhir_dmp.store.connection import Connection, Moment
from fhir_dmp.store.contents import Contents
from fhir_dmp.store.failures import Broken, translated
from fhir_dmp.store.rows import Row, Unopened, Visible, body_in, large_body, row_of
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row, version_row

# What one read may bring into memory of bodies that are kept as contents.
BODY_BYTES = 256 * 1024 * 1024
INDEX_FIELDS = {"x": 0, "g": 0, "c": 0, "n": 0}
# Everything that is not a deletion nor the key of a dossier.
ANY_TYPE = {"$gt": ""}

# Place in an order: (updated_ms, key) of a row, or (updated_ms, key || version) in a history.
Place = tuple[int, bytes]
# Of a row whose body is closed, whether it is to be opened.
Opening = Callable[[Row], bool]


class Reader:
    """Reads of one store; with a session, inside its transaction."""

    def __init__(self, connection: Connection, vault: Vault, contents: Contents, session: AsyncClientSession | None = None) -> None:
        self._connection, self.vault, self.contents, self._session = connection, vault, contents, session

    # By key

    @translated
    async def load_many(self, keys: Iterable[bytes], *, likely: bool = True, bodies: bool | Opening = True) -> dict[bytes, Row]:
        """Current versions (deletions too) by row key, bodies opened, each with the dossier row read at the same moment.

        A key without a row is left out. likely: False where few of them are there: the rows of their dossiers are read afterwards.
        bodies: False leaves them closed; a function, those that it is not true of. What is not shown must not be opened: a bound that it
        counted for would tell of it.
        """
        wanted = list(dict.fromkeys(keys))
        hinted = {dossier_row(dossier_in(key)) for key in wanted} if likely else ()
        found = await self._documents((*wanted, *hinted))
        opening = bodies if callable(bodies) else None if bodies else _none
        rows = await self._rows([found[key] for key in wanted if key in found], found, opening=opening)
        return {row.key: row for row in rows}

    async def load(self, key: bytes) -> Row | None:
        """The current version of one row, a deletion too; None when there never was one."""
        return (await self.load_many((key,))).get(key)

    @translated
    async def load_version(self, key: bytes, version: int) -> Row | None:
        """One version, current or superseded."""
        rows = await self.load_versions([(key, version)])
        return rows[0] if rows else None

    @translated
    async def load_versions(self, wanted: Sequence[tuple[bytes, int]]) -> list[Row]:
        """Versions by (key, version), in no order; what is not there is left out."""
        # First the current rows: a version replaced between the two reads is then found among the superseded ones.
        keys = [key for key, _ in wanted]
        found = await self._documents((*keys, *(dossier_row(dossier_in(key)) for key in keys)))
        documents = [found[key] for key, version in wanted if key in found and found[key]["v"] == version]
        current = {(document["_id"], document["v"]) for document in documents}
        if missing := [version_row(key, version) for key, version in wanted if (key, version) not in current]:
            documents += (await self._old_documents(tuple(missing))).values()
        return await self._rows(documents, found)

    @translated
    async def standing(self, dossier: int) -> list[tuple[bytes, int, int, Visible]]:
        """Of everything in a dossier that is current, traces apart: key, version, when an act without a version touched it last, facts."""
        where = {"d": dossier, "m": {"$exists": True}, "t": {"$ne": "AuditEvent"}}
        fields = {"v": 1, "a": 1, "y": 1}
        found = await self._connection.read({"find": "resources", "filter": where, "projection": fields, "hint": "dossier"}, self._session)
        return [(bytes(one["_id"]), one["v"], one.get("a", 0), one.get("y")) for one in found]

    @translated
    async def policies(self, dossiers: Iterable[int]) -> dict[int, Dossier | None]:
        """Policy of each of these dossiers that exists, None for one that has none or was erased."""
        wanted = {dossier_row(dossier): dossier for dossier in dossiers}
        found = await self._documents(tuple(wanted))
        return {wanted[key]: self._policy(document, wanted[key]) for key, document in found.items()}

    @translated
    async def opener(self, dossier: int) -> "Opener | None":
        """What opens the rows of a dossier, and its policy; None when there is no such dossier."""
        return (await self.openers((dossier,))).get(dossier)

    @translated
    async def openers(self, dossiers: Iterable[int]) -> dict[int, "Opener"]:
        """The same of several; those that do not exist are left out."""
        wanted = {dossier_row(dossier): dossier for dossier in dossiers}
        found = await self._documents(tuple(wanted))
        return {wanted[key]: self._opener(wanted[key], document) for key, document in found.items()}

    def _opener(self, dossier: int, document: Mapping[str, Any] | None) -> "Opener":
        if document is None:
            raise Broken("the key row of a dossier is missing")
        wrapped = document.get("k")
        if wrapped is None:
            return Opener(dossier, None, None)
        key = self.vault.dossier_key(dossier, wrapped)
        self._learned(dossier, key)
        return Opener(dossier, key, policies.opened(document, dossier, key))

    def _policy(self, document: Mapping[str, Any], dossier: int) -> Dossier | None:
        wrapped = document.get("k")
        return None if wrapped is None else policies.opened(document, dossier, self.vault.dossier_key(dossier, wrapped))

    # By query

    @translated
    async def find(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        hint: str | None = None,
        after: Place | None = None,
        before: Place | None = None,
        descending: bool = True,
        limit: int = 50,
        bodies: bool = True,
        intervals: bool = False,
        moment: Moment | None = None,
    ) -> list[Row]:
        """Current rows that match, without deletions, ordered by (updated_ms, key).

        where: a filter over x, g, c, n, s, l, _id. types, dossiers: all when None. after, before: the place of a row that comes just
        before or after the page. hint: index to use, one of HINTS; without it that of the dossier, the type or the time. bodies: False
        leaves them closed. intervals: with `n`. moment: look at that moment, see Moment; keys of dossiers are always those of now.
        """
        backwards = before is not None and after is None
        command = _find(where, types, dossiers, hint, after, before, descending, limit, bodies, intervals)
        documents = await self._connection.read(command, self._session, moment)
        if backwards:
            documents.reverse()
        return await self._rows(documents, {}, bodies=bodies)

    @translated
    async def count(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        hint: str | None = None,
        limit: int | None = None,
        moment: Moment | None = None,
    ) -> int:
        """How many rows `find` would give; counting stops at `limit`."""
        stages: list[dict] = [{"$match": filter_of(where, types, dossiers)}]
        if limit is not None:
            stages.append({"$limit": limit})
        stages.append({"$count": "n"})
        command = {"aggregate": "resources", "pipeline": stages, "cursor": {}, "hint": _index(hint, types, dossiers)}
        answer = await self._connection.read(command, self._session, moment)
        return answer[0]["n"] if answer else 0

    async def of_dossier(
        self,
        where: Mapping[str, Any] | None,
        *,
        types: Sequence[str] | None,
        dossier: int,
        outside: tuple[int, ...],
        limit: int,
        moment: Moment | None = None,
        opener: "Opener | None" = None,
    ) -> "InDossier":
        """Rows of one dossier that match, unopened, with their intervals, in no order, at most `limit`.

        outside: selective tokens of which rows outside of dossiers may hold one; whether there may be such rows, which are not among these.
        opener: of the dossier, if it was read already.
        """
        found = await self.find(where, types=types, dossiers=(dossier,), limit=limit, bodies=False, intervals=True, moment=moment)
        return InDossier(found, bool(outside), None)

    @translated
    async def opened(self, found: Sequence[Unopened], opener: "Opener") -> list[Row]:
        """Rows that were read with their bodies, all of one dossier, opened."""
        return await self._open([each.document for each in found], {opener.dossier: opener}, intervals=False)

    async def outside(self, tokens: tuple[int, ...], moment: Moment) -> bool:
        """Whether rows outside of dossiers may hold one of these selective tokens, seen at the moment, which is set if it was not."""
        return bool(tokens)

    @translated
    async def examined(self, *, limit: int, **asked: Any) -> dict[str, int]:
        """What MongoDB examines for a `find` with these arguments: {"keys", "rows", "found"}. It is run for that, so only when asked."""
        told = await self._connection.explain(_find(**asked, limit=limit, bodies=False))
        return {"keys": told["totalKeysExamined"], "rows": told["totalDocsExamined"], "found": told["nReturned"]}

    @translated
    async def selves(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        hint: str | None = None,
        limit: int = 10_000,
        moment: Moment | None = None,
    ) -> list[int]:
        """The self hashes of the rows that match, in no order, for chains: a reference token is a hash of them."""
        command = {
            "find": "resources",
            "filter": filter_of(where, types, dossiers),
            "projection": {"_id": 0, "s": 1},
            "limit": limit,
            "batchSize": limit,
            "hint": _index(hint, types, dossiers),
        }
        return [document["s"] for document in await self._connection.read(command, self._session, moment) if "s" in document]

    async def scan(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        hint: str | None = None,
        batch: int = 500,
        bodies: bool = True,
        intervals: bool = False,
        moment: Moment | None = None,
    ) -> AsyncIterator[Row]:
        """All rows that match, newest first, read in batches: what is written meanwhile may be missed, unless all look at one moment."""
        after: Place | None = None
        while True:
            rows = await self.find(
                where,
                types=types,
                dossiers=dossiers,
                hint=hint,
                after=after,
                limit=batch,
                bodies=bodies,
                intervals=intervals,
                moment=moment,
            )
            for row in rows:
                yield row
            if len(rows) < batch:
                return
            after = rows[-1].place

    # Histories: newest first

    @translated
    async def history(
        self,
        *,
        key: bytes | None = None,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        before: Place | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """Versions, current, superseded and deletions, newest first: of one resource, of types, of dossiers or of everything.

        since_ms, until_ms: changed at or after the one, before the other. before: Row.history_place of the last version of the page before.
        """
        merged: dict[bytes, dict] = {}
        # Current ones first: a row that is replaced between the two reads shows up twice, never not at all.
        for collection, filter, hint in _history_parts(key, types, dossiers, since_ms, until_ms):
            if before is not None:
                place = (before[0], before[1][:16]) if collection == "resources" else before
                filter = _beyond(filter, place, older=True)
            command = {
                "find": collection,
                "filter": filter,
                "sort": {"l": -1, "_id": -1},
                "limit": limit,
                "batchSize": limit,
                "projection": INDEX_FIELDS,
                "hint": hint,
                "allowDiskUse": True,
            }
            for document in await self._connection.read(command, self._session):
                merged[version_row(document.get("k", document["_id"]), document["v"])] = document
        page = sorted(merged.items(), key=lambda item: (item[1]["l"], item[0]), reverse=True)[:limit]
        return await self._rows([document for _, document in page], {})

    @translated
    async def history_count(
        self,
        *,
        key: bytes | None = None,
        types: Sequence[str] | None = None,
        dossiers: Sequence[int] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> int:
        """How many versions a history has in all."""
        total = 0
        for collection, filter, hint in _history_parts(key, types, dossiers, since_ms, until_ms):
            command = {"aggregate": collection, "pipeline": [{"$match": filter}, {"$count": "n"}], "cursor": {}, "hint": hint}
            answer = await self._connection.read(command, self._session)
            total += answer[0]["n"] if answer else 0
        return total

    # Documents

    async def _documents(self, keys: tuple[bytes, ...]) -> dict[bytes, dict]:
        """Documents of `resources` by key, without their index. The store batches this."""
        return await self._by_id("resources", keys)

    async def _old_documents(self, keys: tuple[bytes, ...]) -> dict[bytes, dict]:
        """Documents of `versions` by key || version."""
        return await self._by_id("versions", keys)

    def _learned(self, dossier: int, key: AESGCM) -> None:
        """Told of the key of a dossier whose row was just read."""

    async def _by_id(self, collection: str, keys: Iterable[bytes]) -> dict[bytes, dict]:
        unique = list(dict.fromkeys(keys))
        command = {
            "find": collection,
            "filter": {"_id": {"$in": unique}},
            "projection": INDEX_FIELDS,
            "batchSize": len(unique) + 1,
        }
        return {document["_id"]: document for document in await self._connection.read(command, self._session)}

    async def _rows(
        self, documents: Sequence[dict], known: Mapping[bytes, dict], *, bodies: bool = True, opening: Opening | None = None
    ) -> list[Row]:
        """Values of documents. known: documents by key, among which dossier rows that were read already. bodies: False needs none of them.

        opening: as in _open.
        """
        if not bodies:
            return [row_of(document, None) for document in documents]
        keys = {dossier_row(document["d"]): document["d"] for document in documents}
        if missing := tuple(key for key in keys if key not in known):
            known = {**known, **await self._documents(missing)}
        openers = {}
        for key, dossier in keys.items():
            openers[dossier] = self._opener(dossier, known.get(key))
        return await self._open(documents, openers, opening=opening)

    async def _open(
        self, documents: Sequence[dict], openers: "Mapping[int, Opener]", *, intervals: bool = True, opening: Opening | None = None
    ) -> list[Row]:
        """openers: of every dossier among the documents. opening: which of them are opened, None for all."""
        closed, shown = {}, {}
        if opening is not None and opening is not small:
            for document in documents:
                opener = openers[document["d"]]
                row = row_of(document, None, erased=opener.key is None, policy=opener.policy, intervals=intervals)
                (shown if opening(row) else closed)[document["_id"]] = row
        large = {
            document["_id"]: content
            for document in (documents if opening is not small else ())
            if "f" in document and document["_id"] not in closed and (content := large_body(document))
        }
        if large and sum(content.size for content in large.values()) > BODY_BYTES:
            raise FhirError("too-costly", "the resources asked for are too large to be answered together, ask for fewer")
        rows = []
        for document in documents:
            if document["_id"] in closed:
                rows.append(closed[document["_id"]])
                continue
            opener = openers[document["d"]]
            content = large.get(document["_id"]) if large and opener.key is not None else None
            body = None if content is None else await self.contents.read_all(content.id, BODY_BYTES)
            if (row := shown.get(document["_id"])) is not None:
                rows.append(row.but(body=body if body is not None else body_in(document, opener.key)))
                continue
            erased = opener.key is None
            rows.append(row_of(document, opener.key, large=body, erased=erased, policy=opener.policy, intervals=intervals))
        return rows


def _none(row: Row) -> bool:
    return False


def small(row: Row) -> bool:
    """Opening of what is not kept apart: each read by its id asks that, and its row is built once."""
    return not row.large


class Opener(NamedTuple):
    """What opens the rows of one dossier, made of its row as read just now. key: None when the dossier was erased."""

    dossier: int
    key: AESGCM | None
    policy: Dossier | None


class InDossier(NamedTuple):
    """outside: whether rows outside of dossiers may match too. opener: where the rows were read with their bodies."""

    rows: list[Row] | list[Unopened]
    outside: bool
    opener: Opener | None


HINTS = {
    "dossier": "dossier",  # d, t, l: everything of a dossier
    "type": "type",  # t, l: everything of a type
    "time": "time",  # l: everything
    "selective": "selective",  # g, l: where has an equality or $in on g
    "code": "code",  # c, l: where has an equality or $in on c
    "id": "_id_",  # where has an equality or $in on _id
}


def _index(hint: str | None, types: Sequence[str] | None, dossiers: Sequence[int] | None) -> str:
    if hint is not None:
        return HINTS[hint]
    if dossiers is not None:
        return "dossier"
    return "time" if types is None else "type"


def filter_of(where: Mapping[str, Any] | None, types: Sequence[str] | None, dossiers: Sequence[int] | None) -> dict[str, Any]:
    filter: dict[str, Any] = {}
    if dossiers is not None:
        filter["d"] = dossiers[0] if len(dossiers) == 1 else {"$in": list(dossiers)}
    if types is None:
        filter["t"] = ANY_TYPE
    else:
        filter["t"] = types[0] if len(types) == 1 else {"$in": list(types)}
    if where:
        if set(where) & set(filter):
            raise FhirError("exception", "a search filter names the type or dossier by itself")
        filter.update(where)
    return filter


def _find(
    where: Mapping[str, Any] | None,
    types: Sequence[str] | None,
    dossiers: Sequence[int] | None,
    hint: str | None,
    after: Place | None = None,
    before: Place | None = None,
    descending: bool = True,
    limit: int = 50,
    bodies: bool = True,
    intervals: bool = False,
) -> dict[str, Any]:
    """The command of Reader.find; read backwards, its rows come in the opposite order."""
    backwards = before is not None and after is None
    filter = filter_of(where, types, dossiers)
    for place, towards_older in ((after, descending), (before, not descending)):
        if place is not None:
            filter = _beyond(filter, place, older=towards_older)
    direction = -1 if descending != backwards else 1
    left_out = {name: 0 for name in (*INDEX_FIELDS, "b") if (name != "b" or not bodies) and (name != "n" or not intervals)}
    return {
        "find": "resources",
        "filter": filter,
        "sort": {"l": direction, "_id": direction},
        "limit": limit,
        "batchSize": limit,
        "projection": left_out,
        "hint": _index(hint, types, dossiers),
        "allowDiskUse": True,
    }


def _history_parts(
    key: bytes | None, types: Sequence[str] | None, dossiers: Sequence[int] | None, since_ms: int | None, until_ms: int | None
) -> list[tuple[str, dict[str, Any], str]]:
    """(collection, filter, index) of the two places of a history; deletions are counted among the versions only."""
    bounds = {**({} if since_ms is None else {"$gte": since_ms}), **({} if until_ms is None else {"$lt": until_ms})}
    within = {"l": bounds} if bounds else {}
    if key is not None:
        current = {"_id": key, "t": ANY_TYPE, **within}
        return [("resources", current, "_id_"), ("versions", {"k": key, **within}, "instance")]
    filter, index = {**filter_of(None, types, dossiers), **within}, _index(None, types, dossiers)
    return [("resources", filter, index), ("versions", filter, index)]


def _beyond(filter: dict[str, Any], place: Place, *, older: bool) -> dict[str, Any]:
    """Only what comes after `place` in the order (updated_ms, key).

    Not as an $or of "further" and "equal, and further by key": the planner would then read and sort all that is left.
    """
    updated_ms, key = place
    within, nearer = ("$lte", "$gte") if older else ("$gte", "$lte")
    return {"$and": [filter, {"l": {within: updated_ms}}, {"$nor": [{"l": updated_ms, "_id": {nearer: key}}]}]}

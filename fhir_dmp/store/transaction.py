"""One MongoDB transaction of the store: what it reads is of one moment, with what it has written itself, and all of it is stored or none.

https://www.mongodb.com/docs/manual/core/transactions/
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import Binary, Int64
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.store import doors
from fhir_dmp.store.failures import Conflict, Gone, translated
from fhir_dmp.store.lanes import Turn
from fhir_dmp.store.policies import sealed
from fhir_dmp.store.reading import Opener, Reader
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import dossier_row, is_dossier_row
from fhir_dmp.store.writing import CLOSED, apply, changed, claim

if TYPE_CHECKING:
    from fhir_dmp.store.resources import Store

# Of the visibility labels in y.lb.
LABEL_BITS = (1, 2, 4)


class Transaction(Reader):
    """Reads and writes of one MongoDB transaction."""

    def __init__(self, store: "Store", session: AsyncClientSession, turn: Turn) -> None:
        super().__init__(store._connection, store.vault, store.contents, session)
        self._store, self._turn = store, turn
        # Dossiers whose policy this transaction has replaced: what it decides afterwards is decided by that.
        self._replaced: dict[int, Dossier] = {}

    def _policy(self, document: Mapping[str, Any], dossier: int) -> Dossier | None:
        return self._replaced.get(dossier) or super()._policy(document, dossier)

    def _opener(self, dossier: int, document: Mapping[str, Any] | None) -> Opener:
        found = super()._opener(dossier, document)
        return found._replace(policy=self._replaced[dossier]) if dossier in self._replaced else found

    @translated
    async def claim(self, claims: Iterable[bytes]) -> None:
        """Of two transactions with a claim in common the one that comes second starts again, and sees what the other did."""
        await claim(self._connection, self._session, claims, self._store.clock())

    @translated
    async def unchanged(self, acted: Mapping[bytes, int]) -> None:
        """Conflict when an act that makes no version touched one of these rows since it was read. acted: `acted_ms` of each, by key."""
        if await changed(self._connection, self._session, acted):
            raise Conflict(0, None)

    @translated
    async def enter(self, dossiers: Iterable[int]) -> None:
        """Go in by a door of dossiers that something is added to; Conflict when one is closed."""
        if found := list(dossiers):
            await claim(self._connection, self._session, doors.some(self.vault, found), self._store.clock())
            rows = await self._by_id("resources", [dossier_row(dossier) for dossier in found])
            if any(doors.SHUT in row for row in rows.values()):
                raise Conflict(0, None, CLOSED)

    async def write(self, changes: Sequence[Change]) -> None:
        """Do these changes now, to be seen by later reads of this transaction. Conflict as in Store.commit; none of them is then done."""
        if changes:
            (outcome,) = await apply(self._connection, self._session, [await self._store._prepare(changes)], self._turn)
            if outcome is not None:
                raise outcome.error

    @translated
    async def set_policy(self, dossier: int, policy: Dossier, *, at_ms: int) -> None:
        """Replace the policy of a dossier whose key exists; of two transactions that do, one starts again. at_ms: of the act, UTC.

        Where it says that the dossier is closed, all doors are shut: what was decided on before is not stored any more.
        """
        key = await self._store.dossier_key(dossier)
        later = {"$max": [{"$add": [{"$ifNull": ["$a", 0]}, 1]}, at_ms]}
        fields: dict[str, Any] = {"p": {"$literal": Binary(sealed(policy, dossier, key))}, "a": later}
        steps: list[dict] = [{"$set": fields}]
        if policy.closed_ms is None:
            steps.append({"$unset": "q"})
        else:
            fields["q"] = policy.closed_ms
        if doors.shuts(policy):
            fields[doors.SHUT] = True
            await claim(self._connection, self._session, doors.every(self.vault, dossier), self._store.clock())
        else:
            steps.append({"$unset": doors.SHUT})
        rows = self._connection.database["resources"]
        changed = await rows.update_one({"_id": Binary(dossier_row(dossier)), "k": {"$exists": True}}, steps, session=self._session)
        if not changed.matched_count:
            raise Gone
        self._replaced[dossier] = policy

    @translated
    async def lift(self, dossier: int, where: Mapping[str, Any], *, shown_ms: int, at_ms: int) -> None:
        """Note of what a mask by rule covered when it was shown again, in lists too. where: over `y`, where it is no list.

        at_ms: of the act, UTC.
        """
        rows, masked = self._connection.database["resources"], {"$and": [{"d": dossier, "y.st": {"$exists": True}}, where]}
        found = await self._connection.read(
            {"find": "resources", "filter": masked, "projection": {"y.rt": 1}, "hint": "dossier"}, self._session
        )
        roots = list({one["y"]["rt"] for one in found if isinstance(one["y"], dict)})
        for field, kind, filters in (
            ("y.s1", {"$not": {"$type": "array"}}, None),
            ("y.$[one].s1", {"$type": "array"}, [{"one.rt": {"$in": roots}}]),
        ):
            which = {"d": dossier, "y.rt": {"$in": roots}, "y": kind}
            change = {"$max": {field: shown_ms, "a": at_ms}}
            await rows.update_many(which, change, array_filters=filters, hint="dossier", session=self._session)

    @translated
    async def stored_policy(self, dossier: int) -> Dossier | None:
        """The policy as this transaction's snapshot has it."""
        found = await self._by_id("resources", [dossier_row(dossier)])
        return next((self._policy(document, dossier) for document in found.values()), None)

    @translated
    async def relabel(self, dossier: int, root: int, *, add: int, remove: int, at_ms: int) -> list[bytes]:
        """Change the visibility labels of everything in a dossier that belongs to a lineage, without making versions; the keys of the rows.

        root: y.rt of the lineage. add, remove: bits of labels. at_ms: later than any act about these rows before; kept as when a label was
        taken away.
        """
        alone, several = await self._of_lineage({"d": dossier, "y.rt": root})
        rows = self._connection.database["resources"]
        for field, ids, filters in (("y.lb", alone, None), ("y.$[one].lb", several, [{"one.rt": root}])):
            for operator, bits in (("or", add), ("and", ~remove)):
                if ids and bits not in (0, -1):
                    since = {f"{field.removesuffix('lb')}s{bit}": at_ms for bit in LABEL_BITS if operator == "and" and remove & bit}
                    change = {"$bit": {field: {operator: Int64(bits)}}, "$max": {"a": at_ms, **since}}
                    await rows.update_many({"_id": {"$in": ids}}, change, array_filters=filters, session=self._session)
        return alone + several

    @translated
    async def restate(self, dossier: int, root: int, status: int, *, at_ms: int, where: Mapping[str, Any] | None = None) -> list[bytes]:
        """Give what belongs to a lineage another status, without making versions; not its documents, which have their own, nor traces.

        root: y.rt. status: y.st. at_ms: of the act, UTC. where: only of these. The keys of the rows.
        """
        others = {"d": dossier, "y.rt": root, "t": {"$nin": ["DocumentReference", "AuditEvent"]}}
        alone, several = await self._of_lineage({"$and": [others, where]} if where else others)
        rows = self._connection.database["resources"]
        for field, ids, filters in (("y.st", alone, None), ("y.$[one].st", several, [{"one.rt": root}])):
            if ids:
                change = {"$set": {field: status}, "$max": {"a": at_ms}}
                await rows.update_many({"_id": {"$in": ids}}, change, array_filters=filters, session=self._session)
        return alone + several

    @translated
    async def give_facts(self, facts: Mapping[bytes, Mapping[str, Any]], *, at_ms: int) -> None:
        """Change facts of rows without making versions. facts: by key, those that change. at_ms: of the act, UTC."""
        updates = [
            {"q": {"_id": Binary(key)}, "u": {"$set": {f"y.{name}": value for name, value in told.items()}, "$max": {"a": at_ms}}}
            for key, told in facts.items()
        ]
        if updates:
            await self._connection.database.command({"update": "resources", "updates": updates}, session=self._session)

    async def _of_lineage(self, where: Mapping[str, Any]) -> tuple[list[bytes], list[bytes]]:
        """Keys of rows: of those that have one set of facts, and of those that have several."""
        command = {"find": "resources", "filter": where, "projection": {"_id": 1, "y.rt": 1}, "hint": "dossier"}
        found = await self._connection.read(command, self._session)
        several = [one["_id"] for one in found if isinstance(one["y"], list)]
        return [one["_id"] for one in found if not isinstance(one["y"], list)], several

    async def _documents(self, keys: tuple[bytes, ...]) -> dict[bytes, dict]:
        # Policies as this transaction sees them: a read outside may be older than what an act that it waited for has done.
        found = await self._by_id("resources", keys)
        # The key of a dossier that was made for this transaction is younger than its snapshot.
        made = tuple(key for key in keys if key not in found and is_dossier_row(key))
        return found | await self._store._documents(made) if made else found

"""Rights that change within a history: Consents that several people patch, care team, who acts for the holder, médecin traitant.

access-rules 4 and 5
"""

from typing import TYPE_CHECKING

from tests.access import world as making
from tests.worlds.deeds import Deed, drawn

if TYPE_CHECKING:
    from tests.worlds.histories import Play

NAMED = ("consented", "unrelated", "team", "elsewhere", "emergency")
EDITS, TEAMS, PEOPLE, DECLARED = 6, 5, 4, ("team", "unrelated", "traitant", "elsewhere")

edit = drawn("edit", ("holder", "parent", "mandataire", "consented", "traitant", "secret"), EDITS)
team = drawn("team", ("holder", "parent", "traitant", "team", "secret"), TEAMS)
person = drawn("person", ("holder", "parent"), PEOPLE)
declare = drawn("declare", ("holder", "parent"), len(DECLARED))
attest = drawn("attest", ("unrelated", "emergency", "elsewhere", "secret", "colleague"), 1)


class Rights:
    """Deeds of a Play."""

    async def _edit(self: "Play", deed: Deed, number: int) -> None:
        """PATCH of a Consent."""
        if not self.consents:
            return
        value, about = self.consents[deed.on % len(self.consents)]
        added = NAMED[(deed.on + number) % len(NAMED)]
        operation = (
            {"op": "replace", "path": "/status", "value": "inactive"},
            {"op": "add", "path": "/provision/period", "value": self.period},
            {"op": "add", "path": "/provision/actor/-", "value": {"role": making.RECIPIENT, "reference": self.cast[added].reference}},
            {"op": "replace", "path": "/provision/type", "value": "permit" if number % 2 else "deny"},
            {"op": "test", "path": "/status", "value": "nonsense"},
            {"op": "replace", "path": "/dateTime", "value": self.at},
        )[deed.how]
        kind = "rule" if "mask" in str(value["category"]) else "consent"
        call = self.json_patch(deed.by, f"Consent/{value['id']}", [operation])
        reply = await self.act(deed.by, kind, call, right=value["id"], **about)
        if reply.status == 200 and deed.how == 2:
            about["about"] = about.get("about", frozenset()) | {added}
            # Whom a Consent concerns at last it concerned from the beginning: one act on it does not go without the others.
            for step in self.steps:
                if step.right == value["id"]:
                    step.about = about["about"]

    async def _team(self: "Play", deed: Deed, number: int) -> None:
        added = self.cast[NAMED[(deed.on + number) % len(NAMED)]]
        operation = (
            {"op": "add", "path": "/participant/-", "value": {"member": added.reference}},
            {"op": "remove", "path": "/participant/1"},
            {"op": "remove", "path": "/participant/0"},
            {"op": "replace", "path": "/status", "value": "inactive"},
            {"op": "replace", "path": "/status", "value": "active"},
        )[deed.how]
        await self.act(deed.by, "team", self.json_patch(deed.by, self.team, [operation]))

    async def _person(self: "Play", deed: Deed, number: int) -> None:
        """Somebody more who is around the holder; the title of one who is there ends, or comes back."""
        known = sorted(self.related.values())[deed.on % len(self.related)]
        if deed.how == 0:
            value = {**making.related("NOK" if deed.on % 2 else "FRND"), "patient": {"reference": self.here.path}}
            call = self.call(deed.by, "POST", "RelatedPerson", value)
        else:
            operation = {"op": "replace", "path": "/active", "value": deed.how > 1}
            call = self.json_patch(deed.by, f"RelatedPerson/{known}", [operation])
        await self.act(deed.by, "person", call)

    async def _declare(self: "Play", deed: Deed, number: int) -> None:
        """Another médecin traitant."""
        name = DECLARED[deed.how]
        operation = {"op": "replace", "path": "/generalPractitioner", "value": [self.cast[name].reference]}
        await self.act(deed.by, "declare", self.json_patch(deed.by, self.here.path, [operation]), about=frozenset({name}))

    async def _attest(self: "Play", deed: Deed, number: int) -> None:
        """A professional authorises himself, as the holder said at the consultation."""
        value = making.consent(self.here, "access", self.cast[deed.by], evidence="oral", period=self.month)
        await self.consent(deed.by, value, "consent", about=frozenset({deed.by}))

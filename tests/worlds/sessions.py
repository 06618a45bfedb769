"""Sheets of login codes, logins, and what is done with the token of a session.

contract 5, Patient/[id]/$access-sheet, /auth/login, /auth/login/code
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tests.worlds import people
from tests.worlds.deeds import Deed, drawn
from tests.worlds.hosting import Call, Reply

if TYPE_CHECKING:
    from tests.worlds.asking import Asked
    from tests.worlds.histories import Play

SESSION = "session"
PRINTED = re.compile(r"\((?:identifier|password)\): (\S+)")
CODES = re.compile(r"\d\. (\d{8})")
JSON = {"content-type": "application/json"}
# How a login goes: well, with a wrong password, with a wrong code.
LOGINS = 4

sheet = drawn("sheet", ("traitant", "holder", "parent", "mandataire", "structure"), 1)
login = drawn("login", (SESSION,), LOGINS)


class Sheet(NamedTuple):
    """What somebody logs in with. codes: those that are left."""

    identifier: str
    password: str
    codes: list[str]


class Sessions:
    """Deeds of a Play. A session is the manager's, by name `session`."""

    async def _sheet(self: "Play", deed: Deed, number: int) -> None:
        call = self.call(deed.by, "POST", f"Patient/{self.patient}/$access-sheet", accept="text/plain")
        answer = await self.act(deed.by, "sheet", call)
        if answer.status == 200:
            text = answer.body.decode()
            self.sheet = Sheet(*PRINTED.findall(text), CODES.findall(text))

    async def _login(self: "Play", deed: Deed, number: int) -> None:
        if self.sheet is None or not self.sheet.codes:
            return
        password = "a" * 16 if deed.how == 1 else self.sheet.password
        begun = await self._sent("/auth/login", {"identifier": self.sheet.identifier, "password": password})
        if begun.status == 200:
            code = "0" * 8 if deed.how == 2 else self.sheet.codes.pop()
            done = await self._sent("/auth/login/code", {"challenge": begun.value()["challenge"], "code": code})
            if done.status == 200:
                self.logged_in(done.value()["access_token"])

    async def _sent(self: "Play", path: str, body: dict) -> Reply:
        return await self.act(SESSION, "login", Call("POST", path, "", people.dumped(body), JSON))

    def logged_in(self: "Play", token: str) -> None:
        """From now on it is a session that he asks with."""
        manager = self.cast[self.manager]
        self.cast[SESSION] = people.Person(SESSION, manager.kind, token, of=manager.name)

    async def begin_session(self: "Play") -> None:
        """A new sheet, and a login with it: no session lasts as long as a history."""
        await self._sheet(Deed("sheet", self.manager, 0, 0), 0)
        await self._login(Deed("login", SESSION, 0, 0), 0)


def questions(asked: "Asked", play: "Play") -> Iterator[Call]:
    """Sheets, by whoever asks; the last of all, for they end sessions. Of two hosts in one process the later one keeps the credentials of
    both: what a session asks of the first would end it in the other.
    """
    for dossier in play.dossiers if asked.token != play.cast[SESSION].token or play.asker.name != SESSION else ():
        for accept in ("text/plain", "application/fhir+json", "text/html"):
            yield asked.send("POST", f"{dossier.path}/$access-sheet", accept=accept)

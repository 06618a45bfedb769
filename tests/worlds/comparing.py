"""Two hosts side by side: one history on the first, what is left of it on the second, every answer to the asker compared.

access-rules 6.
"""

import asyncio
import itertools
import os
from collections.abc import Callable
from random import Random

from tests.worlds import asking, people, purging
from tests.worlds.histories import MINUTE, Play, Step, Story, admitted
from tests.worlds.hosting import Call, Host, Reply

MOST_PAGES = 6
TRIES, UNAVAILABLE = 3, 503
READING = ("read", "search")
# Acts of which the end of the request is told.
WORDY = ("label", "rule", "consent", "status", "team", "person", "declare", "join", "life")
_runs = itertools.count(1)
# Different in every run of the tests: the hosts keep what earlier histories left.
_RUN = os.urandom(6).hex()


class Different(AssertionError):
    """An answer that tells of what is hidden."""


class Worlds:
    """Two hosts that give the same ids for the same seeds."""

    def __init__(self, one: Host, other: Host) -> None:
        self.one, self.other = one, other
        self.professionals = people.professionals(one)
        # How many answers were compared; histories, those in which something was hidden, acts that the second world did without.
        self.compared, self.histories, self.with_hidden, self.gone = 0, 0, 0, 0

    @classmethod
    async def open(cls, uri: str, names: tuple[str, str], data) -> "Worlds":
        one, other = await Host.open(uri, names[0], data), await Host.open(uri, names[1], data)
        other.services.began_ms = other.now = one.now
        return cls(one, other)

    async def close(self) -> None:
        await self.one.close()
        await self.other.close()

    async def compare(self, story: Story, asked: int | None, choice: int) -> Play:
        """Play the story, then compare. asked: how many of the questions, chosen by `choice`; None for all of them."""
        play = Play(self.one, self.professionals, story, self.name())
        await self.both(play)
        questions = list(asking.calls(play))
        chosen = set(range(len(questions)))
        if asked is not None and asked < len(questions):
            chosen = set(Random(choice).sample(range(len(questions)), asked))
        for number, call in enumerate(questions):
            if number in chosen:
                await self.ask(play, call, number)
        return play

    @staticmethod
    def name() -> str:
        """Of a history; no other one has it."""
        return f"{_RUN}-{next(_runs)}"

    async def both(self, play: Play, other: Callable[[], list[Step]] | None = None) -> None:
        """The history on the first host, what is left of it on the second; answers to what the asker himself did are compared.

        other: the steps of the second, once the first was played; None for what is left when what is hidden is left out.
        """
        for host in (self.one, self.other):
            host.sealing(play.story.sealed)
        await play.run()
        left = purging.purged(play) if other is None else other()
        self.histories += 1
        self.with_hidden += bool(purging.hidden_from(play))
        self.gone += len(play.steps) - len(left)
        for step in left:
            self.other.moment(step.seed, step.at_ms)
            # Whom nothing but what is hidden let in read what is hidden.
            reads = step.kind in READING and step.done and not play.is_asker(step.by)
            if reads and not await admitted(self.other, play.cast[step.by], step.dossier.id):
                self.gone += 1
                continue
            reply = await self.other.send(step.call)
            if play.is_asker(step.by):
                self.same(play, step.call, step.reply, reply)
            elif (reply.status < 300) != step.done:
                raise Different(
                    f"an act of another went otherwise: {step.by} {step.call}\n{step.reply}\n-- purged:\n{reply}\n{told(play, left)}"
                )

    async def ask(self, play: Play, call: Call, number: int) -> Reply:
        """One question to both, and the pages that follow; the first answer."""
        first = None
        ours = theirs = call
        for page in range(MOST_PAGES):
            at = play.now + MINUTE + number % 1_000 * 100 + page
            for again in range(TRIES):
                for host in (self.one, self.other):
                    host.moment(f"{play.name} asks {number} {page} {again}".encode(), at)
                replies = await asyncio.gather(self.one.send(ours), self.other.send(theirs))
                # A database that does not answer in time is no answer of either world; what is only read is asked again of both.
                if ours.method not in ("GET", "HEAD") or all(reply.status != UNAVAILABLE for reply in replies):
                    break
            self.same(play, call, *replies, page)
            first = first or replies[0]
            links = [_next(reply) for reply in replies]
            if links[0] is None:
                break
            ours, theirs = (Call("GET", link, call.token) for link in links)
        return first

    def same(self, play: Play, call: Call, one: Reply, other: Reply, page: int = 0) -> None:
        self.compared += 1
        ours, theirs = self.one.comparable(one), self.other.comparable(other)
        if ours != theirs:
            difference = f"{ours[:2]}\n-- purged:\n{theirs[:2]}\n" if ours[:2] != theirs[:2] else ""
            difference += apart(ours[2], theirs[2])
            raise Different(f"{play.asker.name} asks {call} (page {page})\n{difference}\n{told(play, purging.purged(play))}")


def apart(one: bytes, other: bytes) -> str:
    """Where two bodies begin to differ, with some of what is around."""
    place = len(os.path.commonprefix([one, other]))
    return "\n-- purged:\n".join(each[max(0, place - 300) : place + 700].decode(errors="replace") for each in (one, other))


def told(play: Play, left: list) -> str:
    """The history in words; what is gone in the second world is marked."""
    kept = {step.seed for step in left}
    lines = [f"asker {play.asker.name}, hidden {sorted(purging.hidden_from(play))}"]
    lines += [f"{one.path} opened by {one.opener}, {'entered' if one in play.entered else 'strange'}" for one in play.dossiers]
    lines += [f"L{one.lineage} {one.address} Binary/{one.binary} List/{one.listed} by {one.by}" for one in play.documents]
    for step in play.steps:
        if step.kind != "setup":
            mark = " " if step.seed in kept else "-"
            did = f"{step.call.method} {step.call.path} {step.call.body[-260:].decode() if step.kind in WORDY else ''}"
            lines.append(f"{mark} {step.by:10} {step.kind:8} {step.reply.status} L{step.lineage} {did}")
    return "\n".join(lines)


def _next(reply: Reply) -> str | None:
    if reply.status != 200 or b'"next"' not in reply.body:
        return None
    links = [link["url"] for link in reply.value().get("link", []) if link["relation"] == "next"]
    return links[0].partition("/fhir/")[2] if links else None

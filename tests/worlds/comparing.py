"""Two hosts side by side: one history on the first, what is left of it on the second, every answer to the asker compared.

access-rules 6.
"""

import asyncio
import itertools
import os
from random import Random

from tests.worlds import asking, people, purging
from tests.worlds.histories import MINUTE, Play, Story
from tests.worlds.hosting import Call, Host, Reply

MOST_PAGES = 6
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
        self.compared = 0

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
        play = Play(self.one, self.professionals, story, f"{_RUN}-{next(_runs)}")
        await play.run()
        left = purging.purged(play)
        for step in left:
            self.other.moment(step.seed, step.at_ms)
            reply = await self.other.send(step.call)
            if play.is_asker(step.by):
                self.same(play, step.call, step.reply, reply)
            elif (reply.status < 300) != step.done:
                raise Different(f"an act of another went otherwise: {step.by} {step.call}\n{step.reply}\n-- purged:\n{reply}\n{told(play, left)}")
        questions = list(asking.calls(play))
        chosen = set(range(len(questions)))
        if asked is not None and asked < len(questions):
            chosen = set(Random(choice).sample(range(len(questions)), asked))
        for number, call in enumerate(questions):
            if number in chosen:
                await self.ask(play, call, number)
        return play

    async def ask(self, play: Play, call: Call, number: int) -> None:
        """One question to both, and the pages that follow."""
        ours = theirs = call
        for page in range(MOST_PAGES):
            at = play.now + MINUTE + number * 100 + page
            replies = []
            for host in (self.one, self.other):
                host.moment(f"{play.name} asks {number} {page}".encode(), at)
            replies = await asyncio.gather(self.one.send(ours), self.other.send(theirs))
            self.same(play, call, *replies, page)
            links = [_next(reply) for reply in replies]
            if links[0] is None:
                return
            ours, theirs = (Call("GET", link, call.token) for link in links)

    def same(self, play: Play, call: Call, one: Reply, other: Reply, page: int = 0) -> None:
        self.compared += 1
        if self.one.comparable(one) != self.other.comparable(other):
            raise Different(f"{play.asker.name} asks {call} (page {page})\n{one}\n-- purged:\n{other}\n{told(play, purging.purged(play))}")


def told(play: Play, left: list) -> str:
    """The history in words; what is gone in the second world is marked."""
    kept = {step.seed for step in left}
    lines = [f"patient {play.patient}, asker {play.asker.name}, hidden {sorted(purging.hidden_from(play))}"]
    for step in play.steps:
        if step.kind != "setup":
            mark = " " if step.seed in kept else "-"
            lines.append(f"{mark} {step.by:10} {step.kind:8} {step.reply.status} L{step.lineage} {step.call.method} {step.call.path} {step.call.body[:900].decode()}")
    return "\n".join(lines)


def _next(reply: Reply) -> str | None:
    if reply.status != 200 or b'"next"' not in reply.body:
        return None
    links = [link["url"] for link in reply.value().get("link", []) if link["relation"] == "next"]
    return links[0].partition("/fhir/")[2] if links else None

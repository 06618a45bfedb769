"""An invented history of one dossier, played by its actors on a host; each act is kept as the request it was, to be played again.

access-rules 6, the two-world test.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from hypothesis import strategies

from fhir_dmp.consent.asking import asking
from fhir_dmp.consent.decide import Decision
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import enforcement, read, search_access
from fhir_dmp.interactions.context import Context
from tests.access import world as making
from tests.worlds import joining, life, lots, opening, people, rights, sessions
from tests.worlds.deeds import Deed, Story, drawn
from tests.worlds.hosting import BASE, Call, Host, Reply
from tests.worlds.joining import Joining
from tests.worlds.life import Life
from tests.worlds.lots import Lots
from tests.worlds.opening import HOLDER_THERE, Dossier, Opening
from tests.worlds.people import HOLDERS, Person
from tests.worlds.rights import Rights
from tests.worlds.sessions import SESSION, Sessions

WRITERS = ("hospital", "elsewhere", "team", "nurse", "consented", "colleague", "traitant", "emergency", "secret", "holder", "structure")
READERS = ("traitant", "team", "nurse", "consented", "colleague", "hospital", "elsewhere", "emergency", "samu", "holder", "parent")
MINUTE, DAY = 60_000, 86_400_000
WAITS = (MINUTE, 3_600_000, 15 * DAY, 32 * DAY)
TYPES = (people.REPORT, people.PSYCHIATRY)
SUBJECTS = ("consented", "colleague", "team", "nurse", "unrelated", "emergency", "elsewhere", "hospital")
CATEGORIES = ("access", "block", "administrator", "emergency-regulation", "emergency-break-glass", "emergency-masked", "reimbursement")
AT_FIRST = {"access": ("consented", "colleague"), "team": ("team", "nurse")}

Drawn = strategies.SearchStrategy


def _plain(there: Drawn) -> list[Drawn[Deed]]:
    """Documents, labels, Consents, and who reads. there: whether in the second dossier."""
    return [
        drawn("deposit", WRITERS, 24, there),
        drawn("replace", WRITERS, 4, there),
        drawn("label", ("holder", "parent", "traitant", "hospital", "secret"), 10, there),
        drawn("label", ("holder", "parent"), 2, there),
        drawn("rule", ("holder", "parent"), 4, there),
        drawn("consent", ("holder", "parent", "mandataire"), len(CATEGORIES) * 2, there),
        drawn("revoke", ("holder", "parent"), 1),
        drawn("break", ("emergency", "unrelated"), 1, there),
        drawn("read", READERS, 6, there),
        drawn("search", READERS, 6, there),
        drawn("wait", ("time",), len(WAITS)),
    ]


HERE, EITHER = strategies.just(False), strategies.booleans()
DEPOSIT, LABEL = drawn("deposit", WRITERS, 24), drawn("label", HOLDERS, 2)
IN_BOTH = (opening.second, drawn("deposit", WRITERS, 24, strategies.just(True)), drawn("label", HOLDERS, 2, strategies.just(True)))


def _told(most: int, *begun: Drawn, more: list[Drawn] = (), there: Drawn = HERE) -> Drawn[list[Deed]]:
    """A history that begins with one of each of these; what follows is drawn from what is always done and from `more`."""
    # What nobody deposited cannot be hidden.
    beginning = strategies.tuples(DEPOSIT, DEPOSIT, LABEL, *begun)
    rest = strategies.lists(strategies.one_of(*_plain(there), *more), min_size=1, max_size=most)
    return strategies.tuples(beginning, rest).map(lambda parts: [*parts[0], *parts[1]])


def chapters(most: int) -> tuple[Drawn[list[Deed]], ...]:
    """What histories are about; half of them about documents alone. Where more is done to begin with, less follows."""
    lists = strategies.lists
    joined = strategies.tuples(
        _told(most // 3, *IN_BOTH, there=EITHER),
        joining.merge,
        lists(strategies.one_of(*_plain(EITHER), rights.edit, life.life), max_size=most // 4),
        strategies.one_of(joining.merge, joining.unmerge),
        lists(strategies.one_of(*_plain(EITHER)), max_size=most // 4),
    ).map(lambda parts: [*parts[0], parts[1], *parts[2], parts[3], *parts[4]])
    plain = _told(most)
    return (
        plain,
        plain,
        plain,
        plain,
        joined,
        _told(most // 2, *IN_BOTH, more=[opening.attempt, opening.attempt], there=EITHER),
        _told(most, more=[rights.edit, rights.edit, rights.team, rights.person, rights.declare, rights.attest, life.life]),
        _told(most // 2, DEPOSIT, lots.lot, lots.lot, more=[lots.lot, lots.turn, lots.turn]),
        _told(most // 2, sessions.sheet, sessions.login, more=[sessions.sheet, sessions.login, drawn("search", (SESSION,), 6), life.life]),
    )


def stories(most: int = 14) -> strategies.SearchStrategy[Story]:
    """Histories of at most so many acts after the opening."""
    told = chapters(most)
    deeds = strategies.integers(0, len(told) - 1).flatmap(lambda chapter: told[chapter])
    return strategies.builds(Story, strategies.booleans(), deeds, strategies.sampled_from(people.NAMES), strategies.booleans())


@dataclass
class Document:
    """A document that was deposited. master, local: its identifiers. versions: of which it was told. related: others it refers to.

    home: the dossier that its lineage began in. former: its logical id before that was joined, or parted, "" for none.
    """

    id: str
    lineage: int
    by: str
    type: str
    number: int
    binary: str = ""
    listed: str = ""
    versions: list[str] = field(default_factory=list)
    home: Dossier | None = None
    former: str = ""

    @property
    def address(self) -> str:
        return f"DocumentReference/{self.id}"

    @property
    def master(self) -> str:
        return f"urn:oid:1.2.250.1.999.1.{self.number}"


@dataclass
class Step:
    """An act that was played. lineage: of the document that it concerns alone, None when it concerns more. about: names of people.

    leads: lineages that it refers to beside; without: the same request without these references. dossier: in which, None before there is
    one. right: logical id of the Consent that it is about.
    """

    by: str
    kind: str
    call: Call
    at_ms: int
    seed: bytes
    reply: Reply | None = None
    lineage: int | None = None
    about: frozenset[str] = frozenset()
    leads: frozenset[int] = frozenset()
    without: Callable[[frozenset[int]], Call] | None = None
    dossier: Dossier | None = None
    right: str = ""

    @property
    def done(self) -> bool:
        return self.reply is not None and self.reply.status < 300


class Play(Opening, Joining, Life, Lots, Rights, Sessions):
    """One history on one host. steps: what was done. documents: what was deposited. consents: each with what its step says of it.
    lists: logical ids of those that name what was there before.

    dossiers: the first one, and what was opened beside. here: the one that is acted in. seen: lineages, and entered: dossiers, that were
    open to the asker when he did something. sheet: the last one with login codes. team: address of the care team.
    """

    def __init__(self, host: Host, cast: dict[str, Person], story: Story, name: str) -> None:
        self.host, self.cast, self.story, self.name = host, dict(cast), story, name
        self.now = host.services.began_ms
        self.steps: list[Step] = []
        self.documents: list[Document] = []
        self.consents: list[tuple[dict, dict[str, object]]] = []
        self.lists: list[str] = []
        self.lineages = 0
        self.seen: set[int] = set()
        self.entered: set[Dossier] = set()
        self.dossiers: list[Dossier] = []
        self.here: Dossier | None = None
        self.related: dict[str, str] = {}
        self.team, self.sheet = "", None

    async def run(self) -> None:
        """The opening, then every deed."""
        await self.open()
        for number, deed in enumerate(self.story.deeds):
            if deed.there and len(self.dossiers) < 2:
                continue
            self.here = self.dossiers[deed.there].living
            by = HOLDER_THERE if self.here is not self.dossiers[0] and deed.by in (*HOLDERS, "mandataire") else deed.by
            await getattr(self, f"_{deed.kind}")(deed._replace(by=by), number)
        self.here = self.dossiers[0].living
        if self.story.asker == SESSION:
            await self.begin_session()
        await self._looks()

    async def _looks(self) -> None:
        """What the asker may see by the time he asks, he may have seen: what he waited for may have come meanwhile."""
        self.host.now = self.now + MINUTE
        self.seen |= await self.visible()
        for one in self.dossiers:
            if one not in self.entered and await admitted(self.host, self.asker, one.id):
                self.entered.add(one)

    @property
    def patient(self) -> str:
        """Logical id of the first dossier's Patient."""
        return self.dossiers[0].id

    @property
    def ins(self) -> str:
        return self.dossiers[0].ins

    def number(self, which: int) -> str:
        """An INS of this history alone."""
        digest = blake2b(f"{self.name} {which}".encode(), digest_size=8).digest()
        return f"2{int.from_bytes(digest) % 10**12:012d}89"

    @property
    def at(self) -> str:
        return datetime.fromtimestamp(self.now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def period(self) -> dict:
        """From a day before the beginning, for almost a year."""
        begins = datetime.fromtimestamp(self.host.services.began_ms / 1000, UTC)
        return {"start": (begins - timedelta(days=1)).date().isoformat(), "end": (begins + timedelta(days=360)).date().isoformat()}

    @property
    def month(self) -> dict:
        """From a day before the beginning, for a month."""
        begins = datetime.fromtimestamp(self.host.services.began_ms / 1000, UTC)
        return {"start": self.period["start"], "end": (begins + timedelta(days=30)).date().isoformat()}

    @property
    def asker(self) -> Person:
        return self.cast.get(self.story.asker) or self.cast["unrelated"]

    def same(self, one: str, other: str) -> bool:
        """Whether two names of the cast are one person: in a secret session or one that a login began, he is who he is in others."""
        first, second = self.cast[one], self.cast[other]
        return (first.of or first.name) == (second.of or second.name) or (first.rpps != "" and first.rpps == second.rpps)

    def is_asker(self, name: str) -> bool:
        return self.same(name, self.asker.name)

    @property
    def manager(self) -> str:
        return "parent" if self.story.minor else "holder"

    def document(self, on: int) -> Document | None:
        """One of those that are in the dossier that is acted in."""
        found = [one for one in self.documents if one.home.living is self.here]
        return found[on % len(found)] if found else None

    async def shown_to(self, by: str) -> list[Document]:
        """Those of the dossier that is acted in that somebody sees."""
        return [one for one in self.documents if one.home.living is self.here and await sees(self.host, self.cast[by], one.id)]

    # ---- doing

    async def act(self, by: str, kind: str, call: Call, **about: object) -> Reply:
        """Send a request as one step of the history."""
        if self.dossiers and self.is_asker(by):
            await self._looks()
        self.now += MINUTE
        step = Step(by, kind, call, self.now, f"{self.name} {len(self.steps)}".encode(), dossier=self.here, **about)
        self.host.moment(step.seed, step.at_ms)
        step.reply = await self.host.send(call)
        self.steps.append(step)
        return step.reply

    def call(self, by: str, method: str, path: str, body: object = None, **headers: str) -> Call:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if body is not None:
            sent = {"content-type": "application/fhir+json", **sent}
        return Call(method, path, self.cast[by].token, people.dumped(body) if body is not None else b"", sent)

    async def visible(self) -> set[int]:
        """Lineages of which the asker sees a document now, asked of the rules without leaving a trace."""
        found = set()
        for one in self.documents:
            if one.lineage not in found and await sees(self.host, self.asker, one.id):
                found.add(one.lineage)
        return found

    async def open(self) -> None:
        """The dossier, those around the holder, the first Consents and the care team."""
        ins = self.number(1)
        value = making.patient(ins, age=15 if self.story.minor else 50, generalPractitioner=[self.cast["traitant"].reference])
        persons = [making.related(code) for code in (("MTH", "NOK") if self.story.minor else ("NOK",))]
        opened = await self.act(
            "traitant",
            "setup",
            self.call("traitant", "POST", "Patient/$open", making.parameters(patient=value, evidence="signed-form", relatedPerson=persons)),
        )
        assert opened.status == 201, opened
        self.here = Dossier(opened.value()["id"], ins, "traitant")
        self.dossiers.append(self.here)
        listed = await self.act("traitant", "setup", self.call("traitant", "GET", f"RelatedPerson?patient={self.patient}"))
        for entry in listed.value()["entry"]:
            one = entry["resource"]
            self.related[one["relationship"][0]["coding"][0]["code"]] = one["id"]
        self.cast |= people.around(self.host, self.patient, minor=self.story.minor, related=self.related) | people.staff(self.host)
        self.cast.setdefault("parent", self.cast["holder"])
        self.logged_in(self.cast[self.manager].token)
        dossier = self.here
        team = making.care_team(dossier, *(self.cast[name] for name in AT_FIRST["team"]))
        mandate = making.consent(dossier, "mandate", {"reference": f"RelatedPerson/{self.related['NOK']}"}, period=self.period)
        access = [making.consent(dossier, "access", self.cast[name]) for name in AT_FIRST["access"]]
        # In one transaction: half of the time of a history would else be its beginning.
        entries = [{"resource": one, "request": {"method": "POST", "url": one["resourceType"]}} for one in (team, mandate, *access)]
        given = self.call(self.manager, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        answer = await self.act(self.manager, "setup", given)
        assert answer.status == 200, answer
        made = [entry["response"]["location"].split("/")[-4:-2] for entry in answer.value()["entry"]]
        self.team = "/".join(made[0])
        for (_, id), value, name in zip(made[1:], (mandate, *access), ("mandataire", *AT_FIRST["access"]), strict=True):
            self.consents.append(({**value, "id": id}, {"about": frozenset({name})}))

    # ---- deeds

    async def _wait(self, deed: Deed, number: int) -> None:
        self.now += WAITS[deed.how]

    async def _deposit(self, deed: Deed, number: int) -> None:
        by = self.cast[deed.by]
        type = people.OWN_WORDS if by.kind in ("patient", "representative") else TYPES[deed.how % 2]
        labels = ((), (), people.LABELS[:1], people.LABELS[1:2])[deed.how // 2 % 4]
        way, other = deed.how // 8, None if self.story.sealed else self.document(deed.on)
        listing = (other,) if way == 1 and deed.on % 2 and other is not None and await sees(self.host, by, other.id) else ()
        beside = other if way == 2 else None
        await self.deposit(by, type, labels, number, transaction=way == 1, beside=beside, listing=listing)

    async def _replace(self, deed: Deed, number: int) -> None:
        before = self.document(deed.on)
        if before is not None:
            await self.deposit(self.cast[deed.by], before.type, (), number, transaction=bool(deed.how % 2), replaces=before)

    async def deposit(
        self,
        by: Person,
        type: str,
        labels: tuple[str, ...],
        number: int,
        *,
        transaction: bool = False,
        replaces: Document | None = None,
        beside: Document | None = None,
        listing: tuple[Document, ...] = (),
    ) -> Document | None:
        """One document, None when it was refused. beside: another one, to which it refers. listing: others that its list names."""
        unique = int.from_bytes(self.name.encode()[-6:]) * 1000 + number
        patient, plain = self.here.id, people.document(self.here.id, by, type, unique, labels, self.at)
        if beside is not None and (replaces is beside or not await sees(self.host, by, beside.id)):
            beside = None
        if replaces is not None:
            plain = {**plain, "relatesTo": [{"code": "replaces", "target": {"reference": replaces.address}}]}
        leading = {**plain, **_leading(beside, number)} if beside is not None else plain
        named = [(one.address, one.lineage) for one in listing]

        def call(hidden: frozenset[int] = frozenset()) -> Call:
            value = leading if beside is not None and beside.lineage not in hidden else plain
            if not transaction:
                return self.call(by.name, "POST", "DocumentReference", value)
            others = tuple(address for address, lineage in named if lineage not in hidden)
            return self.call(by.name, "POST", "", people.submission(patient, by, unique, value, others))

        lineage = replaces.lineage if replaces is not None else self.lineages
        leads = frozenset(one.lineage for one in (*listing, *([beside] if beside else [])))
        kind = "replace" if replaces else "deposit"
        reply = await self.act(by.name, kind, call(), lineage=lineage, leads=leads, without=call if leads else None)
        if reply.status not in (200, 201):
            if replaces is None or reply.status == 403:
                # Of a document that there never was, whose number the next one takes; or refused before anybody looked at what it names.
                self.steps[-1].lineage = None
            return None
        self.lineages = max(self.lineages, lineage + 1)
        made = {}
        for location in [entry["response"]["location"] for entry in reply.value()["entry"]] if transaction else [reply.header("location")]:
            type_name, id, _, version = location.split("/")[-4:]
            made[type_name] = (id, version)
        body = reply.value() if not transaction else {}
        binary = made["Binary"][0] if transaction else body["content"][0]["attachment"]["url"].rpartition("/")[2]
        id, version = made["DocumentReference"]
        home = replaces.home if replaces is not None else self.here
        self.documents.append(Document(id, lineage, by.name, type, unique, binary, made.get("List", ("",))[0], [version], home))
        return self.documents[-1]

    async def _label(self, deed: Deed, number: int) -> None:
        one = self.document(deed.on)
        if one is None:
            return
        if deed.how < 6:
            label, kind = people.LABELS[deed.how // 2], "label"
            if deed.how % 2 == 0:
                value = {"coding": [{"system": people.VISIBILITY, "code": label}]}
                call = self.json_patch(deed.by, one.address, [{"op": "add", "path": "/securityLabel/-", "value": value}])
            else:
                path = f"DocumentReference.securityLabel.where(coding.code = '{label}')"
                call = self.call(deed.by, "PATCH", one.address, _fhirpath("delete", path))
        elif deed.how == 6:
            kind, call = "status", self.json_patch(one.by, one.address, [{"op": "replace", "path": "/status", "value": "entered-in-error"}])
            deed = deed._replace(by=one.by)
        elif deed.how == 7:
            kind, call = "label", self.json_patch(deed.by, one.address, [{"op": "test", "path": "/status", "value": "superseded"}])
        else:
            archived = {"url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", "valueBoolean": True}
            kind, call = "status", self.json_patch(deed.by, one.address, [{"op": "add", "path": "/extension", "value": [archived]}])
        reply = await self.act(deed.by, kind, call, lineage=one.lineage)
        if reply.status == 200 and reply.header("etag")[3:-1] not in one.versions:
            one.versions.append(reply.header("etag")[3:-1])

    def json_patch(self, by: str, path: str, operations: list) -> Call:
        return self.call(by, "PATCH", path, operations, content_type="application/json-patch+json")

    async def _rule(self, deed: Deed, number: int) -> None:
        one = self.document(deed.on)
        fields, lineage = {"code": [{"coding": [{"system": making.LOINC, "code": TYPES[deed.on % 2]}]}]}, None
        # That one was written at all is told to the médecin traitant, also of what is withdrawn before he sees it: a known gap of the map.
        if deed.how < 3 and one is not None and self.story.asker != "traitant":
            fields, lineage = {"data": [{"meaning": "instance", "reference": {"reference": one.address}}]}, one.lineage
        await self.consent(deed.by, making.consent(self.here, "mask", **fields), "rule", lineage=lineage)

    async def _consent(self, deed: Deed, number: int) -> None:
        category = CATEGORIES[deed.how % len(CATEGORIES)]
        names = frozenset({SUBJECTS[(deed.on + deed.how) % len(SUBJECTS)]}) if category in CATEGORIES[:3] else frozenset()
        permit = None if names else deed.how < len(CATEGORIES)
        actors = [self.cast[name] for name in sorted(names)]
        await self.consent(deed.by, making.consent(self.here, category, *actors, permit=permit), "consent", about=names)

    async def consent(self, by: str, value: dict, kind: str, **more: object) -> None:
        reply = await self.act(by, kind, self.call(by, "POST", "Consent", value), **more)
        if reply.status == 201:
            self.consents.append((reply.value(), more))
            self.steps[-1].right = reply.value()["id"]
        elif reply.status == 403:
            self.steps[-1].lineage = None  # refused before anybody looked at what it names

    async def _revoke(self, deed: Deed, number: int) -> None:
        if self.consents:
            value, about = self.consents[deed.on % len(self.consents)]
            kind = "rule" if "mask" in str(value["category"]) else "consent"
            call = self.call(deed.by, "PUT", f"Consent/{value['id']}", {**value, "status": "inactive"})
            await self.act(deed.by, kind, call, right=value["id"], **about)

    async def _break(self, deed: Deed, number: int) -> None:
        body = making.parameters(justification="patient inconscient")
        call = self.call(deed.by, "POST", f"{self.here.path}/$break-glass", body)
        await self.act(deed.by, "break", call, about=frozenset({deed.by}))

    async def _read(self, deed: Deed, number: int) -> None:
        one = self.document(deed.on)
        if one is not None:
            paths = (one.address, f"Binary/{one.binary}", f"{one.address}/_history", f"{one.address}/_history/{one.versions[0]}")
            paths += (f"List/{one.listed}",) if one.listed else ()
            await self.act(deed.by, "read", self.call(deed.by, "GET", paths[deed.how % len(paths)]), lineage=one.lineage)

    async def _search(self, deed: Deed, number: int) -> None:
        patient = self.here.id
        paths = (
            f"DocumentReference?patient={patient}",
            # Not page by page: what fills a page is told instead of what comes after it (the access map knows that gap).
            f"DocumentReference?patient={patient}&_sort=date",
            f"List?patient={patient}&_include=List:item",
            f"Patient/{patient}/$everything",
            f"AuditEvent?patient={patient}",
            f"Patient/{patient}",
        )
        await self.act(deed.by, "search", self.call(deed.by, "GET", paths[deed.how]))


async def admitted(host: Host, person: Person, patient: str) -> bool:
    """Whether somebody may search in a dossier now, by the rules alone; nothing is traced."""
    context = await asks(host, person)
    return context is not None and not isinstance((await enforcement.of_patient(context, patient)).left("DocumentReference"), Decision)


async def asks(host: Host, person: Person) -> Context | None:
    """What a request of somebody goes by; None when his session is over."""
    services = host.services
    try:
        actor = await services.tokens.verify(person.token, host.now)
    except FhirError:
        return None
    enforcer = enforcement.Enforcer(asking(actor), services.law)
    context = Context(services.store, actor, services.settings, BASE, host.clock, host.random, enforcer=enforcer)
    return await search_access.recognised(context) if actor.ins is not None else context


async def sees(host: Host, person: Person, id: str) -> bool:
    """Whether somebody may read a document now, by the rules alone; nothing is traced."""
    context = await asks(host, person)
    if context is None:
        return False
    row = await read.current(context, "DocumentReference", id)
    shown, _ = await enforcement.readable(context, "DocumentReference", id, row)
    return shown is not None


def _leading(other: Document, number: int) -> dict:
    """A reference to another document, in one of its places."""
    reference = {"reference": other.address}
    if number % 2:
        return {"relatesTo": [{"code": "appends", "target": reference}]}
    return {"context": {"related": [reference]}}


def _fhirpath(kind: str, path: str) -> dict:
    parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@dataclass(frozen=True)
class Named:
    """What the makers of bodies need to know of a dossier."""

    id: str

    @property
    def path(self) -> str:
        return f"Patient/{self.id}"

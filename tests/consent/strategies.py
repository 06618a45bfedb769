"""Random worlds: askers, dossiers and documents from small pools, so that they meet.

https://hypothesis.readthedocs.io/
"""

from dataclasses import replace

from hypothesis import strategies as st

from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.asking import READ, SEARCH, Request
from fhir_dmp.consent.dossier import Dossier, MaskRule, Permit, Right, Title
from fhir_dmp.dmp.documents import STATUSES, Facts
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.visibility import VISIBILITY, release_ms
from fhir_dmp.fhir.instants import DAY, MAX_MS, MIN_MS, from_instant

NOW = from_instant("2026-11-22T09:00:00Z")
PEOPLE = [f"ps:8100000000{n:02}" for n in range(1, 5)]
STRUCTURES = ["org:1750000001", "org:1750000010"]
TYPES = ["11488-4", "SYNTH", "11502-2", "REMB", "ATTEST-RESID", "EXPPAT_1", "EXPPAT_2", "75496-0", "http://example.org|x"]
ROOTS = ["DocumentReference/a", "DocumentReference/b", "DocumentReference/c"]
BORN = ["1980-05-17", "2012-03-04", "2008-11-22", "2008-11-23", "2008", "2008-02-29", "", "no date"]

moments = st.sampled_from([NOW - 40 * DAY, NOW - 31 * DAY, NOW - 30 * DAY, NOW - 3 * DAY, NOW - 1, NOW, NOW + 1, NOW + DAY])
names = st.sampled_from(PEOPLE + STRUCTURES)
windows = st.one_of(st.just((MIN_MS, MAX_MS)), st.just((MIN_MS, MAX_MS)), st.tuples(moments, moments))


def subsets(values, most=2):
    return st.frozensets(st.sampled_from(values), max_size=most)


def mostly(usual, *others):
    """The usual value, now and then another."""
    return st.sampled_from([usual] * 6 * len(others) + list(others))


rights = st.lists(st.builds(lambda who, w: Right(who, *w), names, windows), max_size=2).map(tuple)
masks = st.builds(
    MaskRule,
    roots=st.none() | subsets(ROOTS),
    authors=st.none() | subsets(PEOPLE + STRUCTURES),
    types=st.none() | subsets(TYPES),
    dated=st.none() | st.tuples(moments, moments),
)
titles = st.builds(
    lambda related, kind, w, who: Title(related, kind, *w, who=who),
    st.sampled_from(["mother", "guardian", "friend"]),
    st.sampled_from(["parent", "guardian", "mandataire"]),
    windows,
    subsets(PEOPLE + STRUCTURES),
)

dossiers = st.builds(
    Dossier,
    patient=st.just("p"),
    birth_date=mostly("1980-05-17", *BORN[1:-2]) | mostly("2012-03-04", "", "no date"),
    status=mostly(Status.OPEN, Status.CLOSED, Status.RIGHTS_LOST),
    deceased_ms=mostly(None, NOW - 1, NOW + 1),
    traitant=subsets(PEOPLE, 1),
    assimilated=rights,
    team=rights,
    access=rights,
    blocks=mostly(True, False).flatmap(lambda none: st.just(()) if none else rights),
    titles=st.lists(titles, max_size=2).map(tuple),
    regulation=mostly(True, False),
    break_glass=mostly(True, False),
    emergency_masked=st.booleans(),
    grants=rights,
    masks=st.lists(masks, max_size=1).map(tuple),
    permits=st.lists(st.builds(Permit, st.sampled_from(["reimbursement", "takeover", "feed"])), max_size=2).map(tuple),
)

kinds = st.sampled_from(
    ["professional"] * 18 + ["patient"] * 4 + ["representative"] * 4
    + ["mandataire", "structure", "host", "feed", "support", "operator", "system"]
)  # fmt: skip

askers = st.builds(
    Request,
    kind=kinds,
    action=st.sampled_from([READ, SEARCH]),
    person=st.sampled_from([*PEOPLE, ""]),
    organization=st.sampled_from([*STRUCTURES, ""]),
    professions=st.sampled_from([{"G15|10"}, {"G15|10"}, {"G16|10"}, {"G15|60"}, {"G15|40"}, {"R94|41"}, set()]).map(frozenset),
    traits=subsets(["SM25", "SM03", "SA15"], 1),
    sector=mostly("SA07", "SA23", "SA66", ""),
    purposes=mostly(*map(frozenset, ({"TREAT"}, {"ETREAT"}, {"BTG"}, {"HMARKT"}, {"TREAT", "BTG"}, ()))),
    regulation=st.booleans(),
    secret_session=st.booleans(),
    patient=mostly("p", "other", ""),
    related_person=st.sampled_from(["mother", "guardian", "friend", ""]),
    beside=st.sampled_from([*PEOPLE, ""]),
    role=st.sampled_from(["physician", "admin", ""]),
    ticket=st.sampled_from(["T-1", ""]),
    authored_here=st.booleans(),
)

documents = st.builds(
    lambda first, **fields: Facts(first_deposit_ms=first, release_ms=release_ms(first), **fields),
    moments,
    type=st.sampled_from(TYPES),
    authors=subsets([*PEOPLE, "holder"]),
    organization=st.sampled_from([*STRUCTURES, ""]),
    labels=subsets(list(VISIBILITY), 3),
    status=st.sampled_from([*STATUSES, "current", "current"]),
    root=st.sampled_from(ROOTS),
    period=st.sampled_from([(NOW - 40 * DAY, NOW - 39 * DAY), (NOW - DAY, NOW), (MIN_MS, MAX_MS)]),
    dates=st.sampled_from([None, None, (NOW - 40 * DAY, NOW), (NOW - 3 * DAY, MAX_MS)]),
)

acting = st.builds(
    replace,
    askers,
    action=st.sampled_from([*ACTS, "unknown-act"]),
    about=subsets(PEOPLE + STRUCTURES),
    evidence=st.booleans(),
    justification=st.sampled_from(["", " ", "unconscious"]),
    reason=st.sampled_from(["holder-request", "deceased", "rights-lost", "rights-recovered", "reopened", "transfer", ""]),
    source=st.sampled_from(["", "experimental", "other-dossier", "transfer"]),
)

now = st.sampled_from([NOW, NOW + 1, NOW - DAY])

# One more restriction, whatever it is.
restrictions = st.one_of(
    st.sampled_from(VISIBILITY).map(lambda label: lambda d, x: (d, replace(x, labels=x.labels | {label}))),
    names.map(lambda who: lambda d, x: (replace(d, blocks=(*d.blocks, Right(who))), x)),
    masks.map(lambda mask: lambda d, x: (replace(d, masks=(*d.masks, mask)), x)),
    st.just(lambda d, x: (replace(d, regulation=False), x)),
    st.just(lambda d, x: (replace(d, break_glass=False), x)),
    st.just(lambda d, x: (replace(d, emergency_masked=False), x)),
    st.just(lambda d, x: (replace(d, permits=()), x)),
    st.just(lambda d, x: (replace(d, access=()), x)),
    st.just(lambda d, x: (replace(d, team=()), x)),
    st.just(lambda d, x: (replace(d, assimilated=()), x)),
    st.just(lambda d, x: (replace(d, status=Status.CLOSED), x)),
    st.just(lambda d, x: (replace(d, deceased_ms=MIN_MS), x)),
    st.just(lambda d, x: (d, replace(x, status="entered-in-error"))),
)

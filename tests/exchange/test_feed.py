"""The feed of the Assurance Maladie: asked for 24 months at the opening and for the month afterwards, shown with consent and no longer."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from fhir_dmp.dmp.paris import PARIS
from fhir_dmp.dmp.spaces import PROFILES, types
from tests.access.world import INS, day
from tests.exchange.test_sources import Sender, command, load, server, world  # noqa: F401  fixtures

FEED = "assurance-maladie"
CODES = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-source-feed"


@pytest.fixture(scope="module")
def feeding(world, command):  # noqa: F811
    assert command("sources", "register", FEED)[0] == 0
    return world


def sent(world, dossier, code, days):  # noqa: F811
    """What the feed sends of one act, so many days ago; and who it is about."""
    sender = Sender(world, dossier)
    period = {"start": day(days=-days), "end": day(days=-days)}
    author = [{"type": "Organization", "identifier": {"system": "https://finess.esante.gouv.fr", "value": "750000001"}, "display": "Cnam"}]
    document = sender.document(f"f{days}", type={"coding": [{"system": CODES, "code": code}]}, author=author, context={"period": period})
    return sender.patient(), document, sender.binary(f"f{days}")


def shown(asker, dossier):
    answer = asker.get(f"DocumentReference?patient={dossier.id}&_count=100")
    assert answer.status_code == 200, answer.text
    found = [one["resource"] for one in answer.json().get("entry", []) if one["search"]["mode"] == "match"]
    return sorted(one["type"]["coding"][0]["code"] for one in found)


def test_reimbursements_are_shown_with_consent_for_24_months(feeding, load):  # noqa: F811
    anna = feeding.professional()
    dossier = feeding.open(traitant=anna)
    for days in (10, 700, 800):
        code, told, said = load(*sent(feeding, dossier, "remboursement", days), source=FEED)
        assert code == 0, (told, said)
    holder = feeding.holder(dossier)
    assert shown(anna, dossier) == [] and shown(holder, dossier) == ["REMB"] * 3
    permit = feeding.consent(dossier, "reimbursement")
    assert shown(anna, dossier) == ["REMB", "REMB"]
    old = [one["resource"] for one in anna.get(f"DocumentReference?patient={dossier.id}&period=lt{day(days=-750)}").json().get("entry", [])]
    assert old == []
    feeding.revoke(holder, permit)
    assert shown(anna, dossier) == []


def test_medicines_vaccinations_and_results_go_into_their_own_spaces(feeding, load, command):  # noqa: F811
    anna = feeding.professional()
    dossier = feeding.open(traitant=anna)
    # They come from other dossiers, under the holder's consent to that.
    ways = {"delivrance": "dossier-pharmaceutique", "vaccination": "dossier-pharmaceutique", "biologie": "laboratoires"}
    for source in sorted(set(ways.values())):
        assert command("sources", "register", source)[0] == 0
    assert load(*sent(feeding, dossier, "delivrance", 9), source=ways["delivrance"])[0] == 3
    feeding.consent(dossier, "feed")
    for days, (code, source) in enumerate(ways.items()):
        assert load(*sent(feeding, dossier, code, days + 1), source=source)[0] == 0
    spaces = {one.code: one.space for one in types().values()}
    assert [spaces[code] for code in shown(anna, dossier)] == ["analyse", "traitement", "prevention"]
    # The Assurance Maladie itself brings reimbursements alone.
    code, told, _ = load(*sent(feeding, dossier, "biologie", 5), source=FEED)
    assert code == 3 and "not-writable" in str(told)


def test_an_import_obeys_the_matrix_of_its_host(feeding, load, tmp_path):  # noqa: F811
    dossier = feeding.open()
    matrix = json.loads((PROFILES / "habilitations.json").read_bytes())
    matrix["rows"] = [one for one in matrix["rows"] if one.get("professions") != ["A00|ALIM_AM"]]
    (tmp_path / "matrix.json").write_text(json.dumps(matrix))
    code, told, _ = load(*sent(feeding, dossier, "remboursement", 3), source=FEED, habilitations=tmp_path / "matrix.json")
    assert code == 3 and "not-writable" in str(told)


def asked(asker, since):
    """INS of each dossier that is to be fed -> from when."""
    found, after = {}, ""
    while True:
        answer = asker.get("$feed?" + urlencode({"count": 3, "since": since, **({"after": after} if after else {})}))
        assert answer.status_code == 200, answer.text
        listed = answer.json().get("parameter", [])
        for one in listed:
            if one["name"] == "dossier":
                told = {part["name"]: part for part in one["part"]}
                found[told["identifier"]["valueIdentifier"]["value"]] = told["start"]["valueInstant"]
        after = next((one["valueString"] for one in listed if one["name"] == "after"), "")
        if not after:
            return found


def test_what_was_reimbursed_while_a_dossier_was_closed_is_asked_for(feeding):
    dossier, open_since = feeding.open(), feeding.open()
    holder, feed = feeding.holder(dossier), feeding.feed()
    assert holder.run(f"{dossier.path}/$close", reason="holder-request").status_code == 200
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    assert holder.run(f"{dossier.path}/$reactivate", reason="holder-request").status_code == 200
    first, last = asked(feed, day(days=-5)), asked(feed, since)
    assert last[dossier.ins] == first[dossier.ins] and last[open_since.ins] > first[open_since.ins]


def test_who_is_asked_for_and_from_when(feeding, command):  # noqa: F811
    new, closed = feeding.open(), feeding.open()
    assert feeding.holder(closed).run(f"{closed.path}/$close", reason="holder-request").status_code == 200
    feed = feeding.feed()
    first = asked(feed, day(days=-5))
    now = datetime.now(UTC)
    start, today = datetime.fromisoformat(first[new.ins]).astimezone(PARIS), now.astimezone(PARIS)
    assert (start.year, start.month) == (today.year - 2, today.month) and closed.ins not in first
    # Asked since after the opening: what is new alone; and again the same.
    later = (now + timedelta(days=2)).date().isoformat()  # days are those of Paris, where tomorrow may have begun
    assert asked(feed, later)[new.ins] > now.isoformat() and asked(feed, day(days=-5)) == first
    for other in (feeding.professional(), feeding.host(), feeding.operator("physician", "T1"), feeding.holder(new)):
        assert other.get("$feed").status_code == 403
    assert feeding.operator().get("$feed").status_code == 200
    code, said = command("feed", "--source", FEED, "--since", day(days=-5))
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert code == 0 and {one["value"] for one in lines} == set(first) and {one["system"] for one in lines} == {INS}
    traces = feeding.holder(new).get(f"AuditEvent?patient={new.id}&_count=100").json()["entry"]
    assert sum("feed" in str(one["resource"]["agent"]) for one in traces) >= 3

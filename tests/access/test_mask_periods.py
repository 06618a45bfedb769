"""A mask by rule is told by nothing but what it hid: when that is shown again it looks like a late deposit, and else nothing moves.

access-rules 6; by the clock of a host in this process
"""

from dataclasses import replace
from datetime import date
from email.utils import parsedate_to_datetime

import pytest

from fhir_dmp.consent.dossier import Dossier, MaskRule
from fhir_dmp.dmp.paris import window
from fhir_dmp.fhir.instants import DAY, HOUR, to_instant
from fhir_dmp.interactions import policy
from tests.access import world as making
from tests.access.test_authorisation_rows import Family
from tests.worlds import people

OFF = None
LAST = 12
# What is said of one mask: the day, and its period in days, or that it is taken back.
STORIES = {
    "said after its end": [(5, (1, 3))],
    "said after its end, and taken back": [(5, (1, 3)), (6, OFF)],
    "said after its end, then prolonged": [(5, (1, 3)), (7, (1, 9))],
    "taken back before it began": [(1, (4, 8)), (2, OFF)],
    "moved before it began": [(1, (4, 8)), (2, (5, 6))],
    "moved into the past before it began": [(2, (4, 8)), (3, (0, 1))],
    "taken back while it hid": [(1, (0, 9)), (4, OFF)],
    "over": [(1, (0, 4))],
    "over, then taken back": [(1, (0, 4)), (6, OFF)],
    "over, then said again": [(1, (0, 4)), (6, (0, 4)), (8, OFF)],
    "over, then prolonged": [(1, (0, 4)), (6, (0, 9))],
    "over, then moved ahead, then taken back": [(1, (0, 4)), (6, (9, 11)), (8, OFF)],
    "said again while it hid": [(1, (0, 9)), (3, (0, 9))],
    "shortened": [(1, (0, 9)), (3, (0, 5))],
    "ended by its period": [(1, (0, 9)), (5, (0, 3))],
    "put off while it hid": [(1, (0, 9)), (3, (6, 8))],
    "put off while it hid, then taken back": [(1, (0, 9)), (3, (6, 8)), (4, OFF)],
    "taken back and said again": [(1, (0, 9)), (3, OFF), (5, (0, 9)), (7, OFF)],
}


class Masked(Family):
    """A dossier with one document, a professional whom the holder lets in, and masks of that document by rule."""

    def __init__(self, runner, host) -> None:
        super().__init__(runner, host, date(1950, 1, 1))
        self.began = host.now
        self.cast["holder"] = people.Person("holder", "patient", people.token(host, "patient", sub="holder", patient=self.id))
        self.written("POST", "Consent", making.consent(self, "access", self.cast["consented"]))
        sent = people.document(self.id, self.cast["hospital"], people.REPORT, making.number(), at=to_instant(host.now))
        made = self.send("hospital", "POST", "DocumentReference", sent).value()
        self.document, self.deposited = made["id"], made["meta"]["lastUpdated"]

    def written(self, method: str, path: str, value: dict) -> dict:
        answer = self.send("holder", method, path, value)
        assert answer.status in (200, 201), answer
        return answer.value()

    def day(self, number: float) -> str:
        return to_instant(self.began + int(number * DAY))

    def says(self, period: tuple[int, int] | None, former: dict | None, **about: object) -> dict:
        """The mask with a period, in days; None takes it back. about: what it masks, else the document."""
        if period is OFF:
            return self.written("PUT", f"Consent/{former['id']}", {**former, "status": "inactive"})
        about = about or {"data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{self.document}"}}]}
        value = making.consent(self, "mask", period={"start": self.day(period[0]), "end": self.day(period[1])}, **about)
        if former is None:
            return self.written("POST", "Consent", value)
        return self.written("PUT", f"Consent/{former['id']}", {**value, "id": former["id"]})

    def labels(self, operation: str) -> None:
        """The label of a mask, added or deleted by the holder."""
        place = "DocumentReference" if operation == "add" else "DocumentReference.securityLabel.where(coding.code = 'MASQUE_PS')"
        part = [{"name": "type", "valueCode": operation}, {"name": "path", "valueString": place}]
        if operation == "add":
            value = {"coding": [{"system": people.VISIBILITY, "code": "MASQUE_PS"}]}
            part += [{"name": "name", "valueString": "securityLabel"}, {"name": "value", "valueCodeableConcept": value}]
        patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
        self.written("PATCH", f"DocumentReference/{self.document}", patch)

    def told(self, by: str, id: str = "") -> str:
        """When it last changed, as he is told by all that tells it; "" when he does not see it."""
        path = f"DocumentReference/{id or self.document}"
        answer = self.send(by, "GET", path)
        found = self.send(by, "GET", f"DocumentReference?patient={self.id}&_id={id or self.document}").value()
        if answer.status == 404:
            assert found["total"] == 0
            return ""
        instant = answer.value()["meta"]["lastUpdated"]
        assert [entry["resource"]["meta"]["lastUpdated"] for entry in found["entry"]] == [instant]
        assert to_instant(int(parsedate_to_datetime(answer.header("last-modified")).timestamp() * 1000))[:19] == instant[:19]
        for criteria, total in ((f"_lastUpdated=ge{instant}", 1), (f"_lastUpdated=gt{instant}", 0)):
            path_ = f"DocumentReference?patient={self.id}&_id={id or self.document}&{criteria}"
            assert self.send(by, "GET", path_).value()["total"] == total, criteria
        history = self.send(by, "GET", f"{path}/_history?_since={instant}").value()
        assert [entry["resource"]["meta"]["lastUpdated"] for entry in history["entry"]] == [instant]
        seals = self.send(by, "GET", f"Provenance?target={path}&patient={self.id}").value()["entry"]
        assert {entry["resource"]["recorded"] for entry in seals} == {instant}
        return instant


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_what_a_mask_hid_comes_late_by_when_it_did_no_more(runner, host, story):
    masked, former = Masked(runner, host), None
    # (said, since, until) of each version of the Consent, UTC ms.
    said: list[tuple[int, int, int]] = []
    acts = dict(STORIES[story])
    for day in sorted({*acts, *(day for period in acts.values() if period for day in period), LAST}):
        host.now = masked.began + day * DAY + HOUR
        if day in acts:
            former = masked.says(acts[day], former)
            said.append((host.now, *(window(*(masked.day(one) for one in acts[day])) if acts[day] is not OFF else (0, 0))))
            host.now += HOUR
        spans = zip(said, [*(one[0] for one in said[1:]), host.now + 1], strict=True) if said else ()
        hidden = [(max(since, at), min(until, after)) for (at, since, until), after in spans]
        late = [until for since, until in hidden if since < until]
        shown = to_instant(max(late)) if late else masked.deposited
        assert masked.told("consented") == ("" if late and late[-1] == host.now + 1 else shown), day
    for by in ("hospital", "traitant", "holder"):
        assert masked.told(by) == masked.deposited


@pytest.mark.parametrize("way", ["rule", "label"])
def test_what_was_shown_again_before_two_dossiers_were_joined_comes_late_and_nothing_else(runner, host, way):
    old, new = Masked(runner, host), Masked(runner, host)
    if way == "rule":
        old.says((0, 2), None, code=[{"coding": [{"system": making.LOINC, "code": people.REPORT}]}])
        shown = to_instant(window(old.day(0), old.day(2))[1])
    else:
        old.labels("add")
        host.now += 2 * DAY
        old.labels("delete")
        shown = to_instant(host.now)
    host.now = old.began + 3 * DAY
    assert (old.told("consented"), new.told("consented")) == (shown, new.deposited)
    new.cast |= people.staff(host)
    for operation, there in (("$merge", new), ("$unmerge", old)):
        asked = making.parameters(**{"source-patient": {"reference": old.path}})
        answer = new.send("admin", "POST", f"{new.path}/{operation}", asked)
        assert answer.status == 200, answer
        host.now += DAY
        found = there.send("consented", "GET", f"DocumentReference?patient={there.id}").value()["entry"]
        (copy,) = {entry["resource"]["id"] for entry in found} - {new.document}
        assert (there.told("consented", copy), there.told("holder", copy)) == (shown, old.deposited), operation
        assert new.told("consented") == new.deposited, operation


def test_a_mask_that_is_said_again_unchanged_goes_on():
    mask = MaskRule(since_ms=0, until_ms=9, set_ms=1)
    before = Dossier(patient="p", birth_date="1950-01-01", masks=(mask,))
    again = replace(before, masks=(replace(mask, set_ms=3),))
    assert policy._ended(before, again, 3) == {}
    shorter, none = (replace(before, masks=masks) for masks in ((replace(mask, until_ms=5),), ()))
    assert policy._ended(before, shorter, 3) == policy._ended(before, none, 3) == {mask: 3}
    assert policy._ended(again, none, 4) == dict.fromkeys(again.masks, 4)

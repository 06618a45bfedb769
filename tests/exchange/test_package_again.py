"""A second package of a dossier that is served by its new host already: what was hidden at the former one since is hidden, whatever was
done here meanwhile, and what was done here stands.
"""

from dataclasses import replace

import pytest

from tests.access.test_findings import observed
from tests.access.test_restore import MASK, WITHDRAW, labels, working_list
from tests.access.world import INS, consent
from tests.exchange import test_package_hosts
from tests.exchange.test_package_hosts import PACKAGE, at, ready, told

hosts = test_package_hosts.hosts
HIDDEN = "INVISIBLE_PATIENT"


class Moving:
    """A dossier at the host that gives it, and at the one that has taken a first package of it."""

    def __init__(self, giver, taker, *deposits):
        self.giver, self.taker = giver, taker
        self.anna, self.bruno = giver.world.professional(), giver.world.professional(organization="750000002")
        self.dossier = giver.world.open(traitant=self.anna)
        giver.world.consent(self.dossier, "access", self.bruno)
        self.holder = giver.world.holder(self.dossier)
        self.reports = {name: giver.world.deposit(self.dossier, self.anna, description=name, labels=those) for name, those in deposits}
        self.first = self.package()
        assert told(self.take(self.first))["versions"] > 0
        found = at(taker, self.bruno, "").get(f"Patient?identifier={INS}|{self.dossier.ins}").json()
        self.id = found["entry"][0]["resource"]["id"]
        self.there = replace(self.dossier, world=taker.world, patient={**self.dossier.patient, "id": self.id})
        self.author, self.team, self.owner = (at(taker, one, self.id) for one in (self.anna, self.bruno, self.holder))
        self.ids = {one["description"]: one["id"] for one in self.listed(self.author)}

    def package(self):
        asking = self.giver.world.host(self.taker.name)
        return ready(asking, asking.run(f"{self.dossier.path}/$export-dossier", recipient={"value": self.taker.name})).content

    def take(self, package):
        giving = self.taker.world.host(self.giver.name)
        return ready(giving, giving.post(f"$import?source={self.giver.name}", package, content_type=PACKAGE))

    def package_back(self):
        asking = self.taker.world.host(self.giver.name)
        return ready(asking, asking.run(f"Patient/{self.id}/$export-dossier", recipient={"value": self.giver.name})).content

    def take_back(self, package):
        giving = self.giver.world.host(self.taker.name)
        return ready(giving, giving.post(f"$import?source={self.taker.name}", package, content_type=PACKAGE))

    def settled(self):
        """What is new is taken, and the giver closed."""
        done = told(self.take(self.package()))
        answer = self.giver.world.host(self.taker.name).post("$export-dossier", done["receipt"].encode(), content_type="application/jose")
        assert answer.status_code == 200, answer.text

    def listed(self, by, type_name="DocumentReference"):
        entries = by.get(f"{type_name}?patient={self.id}&_count=1000").json().get("entry", ())
        return [one["resource"] for one in entries if one["resource"]["resourceType"] == type_name]

    def names(self, by):
        """What somebody finds at the taker."""
        return sorted(one["description"] for one in self.listed(by))

    def masked(self, name):
        assert self.holder.patch(f"DocumentReference/{self.reports[name]['id']}", MASK).status_code == 200

    def observed(self, by, dossier, document):
        """What an author adds to a document of his."""
        named = {**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": f"DocumentReference/{document}"}]}
        answer = by.post("Observation", named)
        assert answer.status_code == 201, answer.text

    def taken_off(self, by, id, code):
        """A label is taken away by somebody who sees it, at one host or the other."""
        listed = by.get(f"DocumentReference/{id}").json()["securityLabel"]
        place = next(number for number, one in enumerate(listed) if one["coding"][0]["code"] == code)
        assert by.patch(f"DocumentReference/{id}", [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200


def test_a_mask_covers_what_only_this_host_has_of_the_lineage(hosts):
    moving = Moving(*hosts, ("un", ()), ("deux", ()), ("trois", ()))
    for name in ("un", "deux", "trois"):
        moving.masked(name)
    replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/{moving.ids['deux']}"}}]
    new = moving.taker.world.deposit(moving.there, moving.author, description="quatre", relatesTo=replaces)
    before = moving.names(moving.team)
    moving.settled()
    assert (before, moving.names(moving.team), moving.names(moving.owner)) == (["quatre", "trois", "un"], [], ["quatre", "trois", "un"])
    for id in (*moving.ids.values(), new["id"]):
        assert moving.team.get(f"DocumentReference/{id}").status_code == 404
        assert "MASQUE_PS" in labels(moving.owner, {"id": id})
    # With what came with it, and the seals of both hosts.
    assert moving.team.get(new["content"][0]["attachment"]["url"]).status_code == 404
    assert moving.listed(moving.team, "Provenance") == []
    moving.taker.command("verify")


@pytest.mark.parametrize("later_here", [False, True])
def test_one_label_that_was_taken_away_here_does_not_keep_another_one_out(hosts, later_here):
    moving = Moving(*hosts, ("un", (HIDDEN,)))
    id, there = moving.reports["un"]["id"], moving.ids["un"]
    if not later_here:
        moving.taken_off(moving.author, there, HIDDEN)
    moving.taken_off(moving.anna, id, HIDDEN)
    moving.masked("un")
    if later_here:
        moving.taken_off(moving.author, there, HIDDEN)
    moving.settled()
    assert moving.team.get(f"DocumentReference/{there}").status_code == 404
    assert labels(moving.owner, {"id": there}) >= {"MASQUE_PS"}
    assert moving.owner.get(f"DocumentReference/{there}").status_code == 200


def test_what_was_shown_here_stays_so_until_it_is_hidden_again(hosts):
    """The holder takes a mask off at the new host: a package that knows of none since has it still, and does not bring it back."""
    moving = Moving(*hosts, ("un", ("MASQUE_PS",)), ("deux", (HIDDEN,)))
    moving.taken_off(moving.owner, moving.ids["un"], "MASQUE_PS")
    moving.taken_off(moving.author, moving.ids["deux"], HIDDEN)
    assert told(moving.take(moving.first))["versions"] == 0
    assert moving.names(moving.team) == moving.names(moving.owner) == ["deux", "un"]
    # At the former one somebody reads it: that is told here, and nothing more.
    assert moving.anna.get(f"DocumentReference/{moving.reports['un']['id']}").status_code == 200
    assert told(moving.take(moving.package()))["versions"] > 0
    assert moving.names(moving.team) == moving.names(moving.owner) == ["deux", "un"]
    moving.taken_off(moving.holder, moving.reports["un"]["id"], "MASQUE_PS")
    moving.masked("un")
    moving.settled()
    assert (moving.names(moving.team), moving.names(moving.owner)) == (["deux"], ["deux", "un"])
    moving.taker.command("verify")


def test_a_label_of_a_later_document_of_the_former_host_covers_what_is_here(hosts):
    moving = Moving(*hosts, ("un", ()))
    replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/{moving.reports['un']['id']}"}}]
    moving.giver.world.deposit(moving.dossier, moving.anna, description="deux", labels=("MASQUE_PS",), relatesTo=replaces)
    moving.settled()
    assert moving.names(moving.team) == [] and moving.names(moving.owner) == ["deux"]
    assert moving.team.get(f"DocumentReference/{moving.ids['un']}").status_code == 404
    moving.taker.command("verify")


def test_what_was_withdrawn_is_so_with_all_that_either_host_has_of_it(hosts):
    moving = Moving(*hosts, ("un", ()), ("deux", ()))
    id, there = moving.reports["un"]["id"], moving.ids["un"]
    url = next(one for one in moving.listed(moving.author) if one["id"] == there)["content"][0]["attachment"]["url"]
    moving.observed(moving.author, moving.there, there)
    seals = len(moving.listed(moving.team, "Provenance"))
    assert moving.team.get(url).status_code == 200 and len(moving.listed(moving.team, "Observation")) == 1
    assert moving.anna.patch(f"DocumentReference/{id}", WITHDRAW).status_code == 200
    assert told(moving.take(moving.package()))["versions"] > 0
    assert moving.names(moving.team) == ["deux"] and moving.listed(moving.team, "Observation") == []
    assert moving.team.get(url).status_code == 404 and len(moving.listed(moving.team, "Provenance")) == seals - 2
    # Its author brings it back, and it comes back whole.
    assert moving.anna.patch(f"DocumentReference/{id}", [{**WITHDRAW[0], "value": "current"}]).status_code == 200
    moving.settled()
    assert moving.names(moving.team) == ["deux", "un"] and moving.team.get(url).status_code == 200
    assert len(moving.listed(moving.team, "Observation")) == 1
    moving.taker.command("verify")


@pytest.mark.parametrize("changed", [{"effectiveDateTime": "2026-03-05"}, {"status": "entered-in-error"}])
def test_what_a_later_version_hides_takes_the_seals_along_that_are_here(hosts, changed):
    moving = Moving(*hosts, ("un", ()))
    said = {**observed(moving.dossier, "vital-signs"), "effectiveDateTime": "2026-05-05"}
    made = moving.giver.world.write(moving.anna, said)
    assert "receipt" in told(moving.take(moving.package()))
    moving.taker.world.write(moving.owner, consent(moving.there, "mask", dataPeriod={"start": "2026-03-01", "end": "2026-03-31"}))
    (here,) = moving.listed(moving.team, "Observation")
    before = moving.listed(moving.team, "Provenance")
    assert sum(here["id"] in str(one) for one in before) == 1
    assert moving.anna.put(f"Observation/{made['id']}", {**made, **changed}).status_code == 200
    assert "receipt" in told(moving.take(moving.package()))
    assert moving.listed(moving.team, "Observation") == []
    after = moving.listed(moving.team, "Provenance")
    assert not any(here["id"] in str(one) for one in after) and len(after) == len(before) - 1
    moving.taker.command("verify")


def test_a_list_that_was_withdrawn_is_so_with_its_seals(hosts):
    moving = Moving(*hosts, ("un", ()))
    made = moving.giver.world.write(moving.anna, working_list(moving.dossier, moving.anna, moving.reports["un"]))
    assert "receipt" in told(moving.take(moving.package()))
    (here,) = moving.listed(moving.team, "List")
    before = moving.listed(moving.team, "Provenance")
    assert moving.anna.patch(f"List/{made['id']}", WITHDRAW).status_code == 200
    assert "receipt" in told(moving.take(moving.package()))
    assert moving.team.get(f"List/{here['id']}").status_code == 404
    after = moving.listed(moving.team, "Provenance")
    assert not any(here["id"] in str(one) for one in after) and len(after) == len(before) - 1
    moving.taker.command("verify")


def test_what_comes_for_a_document_that_was_withdrawn_here_is_so_too(hosts):
    moving = Moving(*hosts, ("un", ()))
    assert moving.author.patch(f"DocumentReference/{moving.ids['un']}", WITHDRAW).status_code == 200
    moving.observed(moving.anna, moving.dossier, moving.reports["un"]["id"])
    moving.settled()
    assert moving.names(moving.team) == [] and moving.listed(moving.team, "Observation") == []
    moving.taker.command("verify")


def test_a_dossier_whose_holder_changed_there_comes_back_open_as_it_was(hosts):
    moving = Moving(*hosts, ("un", ()))
    moving.settled()
    for operation in ("$close", "$reactivate"):
        assert moving.owner.run(f"Patient/{moving.id}/{operation}", reason="holder-request").status_code == 200
    own = moving.owner.get(f"Patient/{moving.id}").json()
    changed = {**own, "telecom": [{"system": "phone", "value": "0600000000"}]}
    assert moving.owner.put(f"Patient/{moving.id}", changed).status_code == 200
    assert moving.bruno.get(moving.dossier.path).status_code == 403
    done = told(moving.take_back(moving.package_back()))
    assert moving.bruno.get(f"DocumentReference/{moving.reports['un']['id']}").status_code == 200
    consents = moving.holder.get(f"Consent?patient={moving.dossier.id}&_count=100").json()["entry"]
    assert {one["resource"]["status"] for one in consents} == {"active"}
    asking = moving.taker.world.host(moving.giver.name)
    assert asking.post("$export-dossier", done["receipt"].encode(), content_type="application/jose").status_code == 200
    moving.giver.command("verify")


def test_a_dossier_that_comes_back_closed_is_opened_by_no_host(hosts):
    """Its holder closed it there: it is here as if he had closed it here."""
    moving = Moving(*hosts, ("un", ()))
    moving.settled()
    assert moving.owner.run(f"Patient/{moving.id}/$close", reason="holder-request").status_code == 200
    moving.take_back(moving.package_back())
    giving = moving.giver.world.host(moving.taker.name)
    assert giving.run(f"{moving.dossier.path}/$reactivate", reason="transfer").status_code in (403, 409)
    assert moving.holder.get(moving.dossier.path).json()["active"] is False
    assert moving.holder.run(f"{moving.dossier.path}/$reactivate").status_code == 200
    assert moving.bruno.get(f"DocumentReference/{moving.reports['un']['id']}").status_code == 200


def test_a_package_back_that_was_made_before_the_dossier_was_given_leaves_it_where_it_is(hosts):
    moving = Moving(*hosts, ("un", ()))
    early = moving.package_back()
    moving.settled()
    assert moving.take_back(early).status_code == 409
    assert moving.team.get(f"Patient/{moving.id}").status_code == 200
    assert moving.bruno.get(moving.dossier.path).status_code == 403


def test_a_dossier_that_was_joined_here_takes_no_second_package_until_it_is_parted(hosts):
    moving = Moving(*hosts, ("un", ()))
    world = moving.taker.world
    other = world.open(traitant=moving.author)
    world.consent(other, "access", moving.team)
    source = {"source-patient": {"reference": f"Patient/{moving.id}"}}
    assert world.operator().run(f"{other.path}/$merge", **source).status_code == 200
    moving.masked("un")
    assert moving.take(moving.package()).status_code == 409
    assert moving.giver.world.professional().get(moving.dossier.path).status_code == 403
    assert moving.holder.get(moving.dossier.path).json()["active"] is True
    assert world.operator().run(f"{other.path}/$unmerge", **source).status_code == 200
    moving.settled()
    assert moving.team.get(f"DocumentReference/{moving.ids['un']}").status_code == 404

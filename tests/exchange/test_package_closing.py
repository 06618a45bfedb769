"""A dossier that is closed where it comes from, once its new host serves it: it is closed there too, until its holder opens it again."""

import pytest

from tests.exchange import test_package_hosts
from tests.exchange.test_package_again import Moving
from tests.exchange.test_package_hosts import told

hosts = test_package_hosts.hosts


def closed(moving, reason):
    """The dossier is closed at the host that gives it, by whoever may say that reason."""
    asker = moving.holder if reason == "holder-request" else moving.giver.world.host("payeur")
    answer = asker.run(f"{moving.dossier.path}/$close", reason=reason)
    assert answer.status_code == 200, answer.text


def read(moving):
    """What the holder, and somebody whom he let in, get of the dossier at the host that has taken it."""
    return [one.get(f"Patient/{moving.id}").status_code for one in (moving.owner, moving.team)]


@pytest.mark.parametrize("reason", ["holder-request", "deceased", "rights-lost"])
@pytest.mark.parametrize("changed_here", [False, True])
def test_a_closing_is_taken_with_the_package_that_tells_it_or_by_itself(hosts, reason, changed_here):
    moving = Moving(*hosts, ("un", ()))
    if changed_here:
        moving.taker.world.consent(moving.there, "access", moving.taker.world.professional(organization="750000003"))
    assert moving.team.get(f"Patient/{moving.id}").status_code == 200
    closed(moving, reason)
    package = moving.package()
    answer = moving.take(package)
    assert answer.status_code == (409 if changed_here else 200), answer.text
    assert read(moving)[1] == 403 and moving.listed(moving.team) == []
    # As the reason says, it opens again or not.
    opened = moving.owner.run(f"Patient/{moving.id}/$reactivate", reason="holder-request")
    assert (opened.status_code == 200) is (reason == "holder-request")
    moving.taker.command("verify")


@pytest.mark.parametrize("changed_here", [False, True])
def test_rights_that_were_lost_before_the_closing_are_lost_at_the_host_that_takes_it(hosts, changed_here):
    moving = Moving(*hosts, ("un", ()))
    if changed_here:
        moving.taker.world.consent(moving.there, "access", moving.taker.world.professional(organization="750000003"))
    closed(moving, "rights-lost")
    closed(moving, "holder-request")
    assert moving.take(moving.package()).status_code == (409 if changed_here else 200)
    assert read(moving)[1] == 403
    answer = moving.owner.run(f"Patient/{moving.id}/$reactivate", reason="holder-request")
    assert answer.status_code == 200 and answer.json()["active"] is False
    assert read(moving) == [200, 403]
    recovered = moving.taker.world.host("payeur").run(f"Patient/{moving.id}/$reactivate", reason="rights-recovered")
    assert recovered.status_code == 200 and read(moving) == [200, 200]


@pytest.mark.parametrize("changed_here", [False, True])
def test_a_closed_dossier_that_its_holder_opens_again_is_closed_by_no_package_of_before(hosts, changed_here):
    moving = Moving(*hosts, ("un", ()))
    if changed_here:
        moving.taker.world.consent(moving.there, "access", moving.taker.world.professional(organization="750000003"))
    closed(moving, "holder-request")
    package = moving.package()
    for _ in range(2):
        moving.take(package)
        assert read(moving)[1] == 403
    answer = moving.owner.run(f"Patient/{moving.id}/$reactivate", reason="holder-request")
    assert answer.status_code == 200, answer.text
    assert read(moving) == [200, 200]
    moving.take(package)
    assert read(moving) == [200, 200]
    moving.taker.command("verify")


def test_the_receipt_of_a_closing_gives_the_dossier_away(hosts):
    moving = Moving(*hosts, ("un", ()))
    closed(moving, "holder-request")
    moving.settled()
    assert read(moving)[1] == 403
    assert moving.owner.run(f"Patient/{moving.id}/$reactivate", reason="holder-request").status_code == 200
    # From now on the former host tells nothing: what it closed, it gave away.
    assert moving.take(moving.package()).status_code == 409
    assert read(moving) == [200, 200]
    assert told(moving.take_back(moving.package_back()))["versions"] > 0
    assert moving.bruno.get(moving.dossier.path).status_code == 200


def test_a_copy_of_what_was_given_away_closes_nothing(hosts):
    moving = Moving(*hosts, ("un", ()))
    moving.settled()
    closed(moving, "deceased")
    assert moving.take(moving.package()).status_code == 409
    assert read(moving) == [200, 200]

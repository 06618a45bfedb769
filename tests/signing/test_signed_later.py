"""A signature beside a document is judged by when it came itself: put there later, it proves nothing of before.

contract 5, $verify; https://hl7.org/fhir/R4/provenance.html
"""

import base64
from dataclasses import replace
from datetime import date

from tests.access import world as making
from tests.access.test_authorisation_rows import Family
from tests.access.test_deposits import posted, submission
from tests.signing.test_author import Someone
from tests.worlds import people
from tests.worlds.histories import DAY


def test_a_signature_that_is_put_there_after_its_certificate_expired_does_not_pass(runner, host, tmp_path, monkeypatch):
    family = Family(runner, host, date(1950, 1, 1))
    by = family.cast["hospital"]
    authority = Someone("IGC-SANTE ESSAI", days=400)
    (tmp_path / "authority.pem").write_bytes(authority.pem)
    monkeypatch.setattr(host.services, "settings", replace(host.services.settings, authorities=tmp_path))
    value = people.document(family.id, by, people.REPORT, making.number(), at=making.now())
    octets = base64.b64decode(value["content"][0]["attachment"]["data"])
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
        "when": making.now(),
        "who": by.reference,
        "sigFormat": "application/jose",
        "data": base64.b64encode(Someone(f"8{by.rpps}", authority).jws(octets, detached=True)).decode(),
    }
    proof = {
        "resourceType": "Provenance",
        "target": [{"reference": "urn:uuid:00000000-0000-4000-8000-00000000d000"}, {"reference": family.path}],
        "recorded": making.now(),
        "agent": [{"who": by.reference}],
        "signature": [signature],
    }
    sent = submission(family, by, value, more=(posted(proof, "urn:uuid:00000000-0000-4000-8000-00000000e000"),))
    answer = family.send("hospital", "POST", "", sent)
    assert answer.status == 200, answer
    made = dict(entry["response"]["location"].split("/")[-4:-2] for entry in answer.value()["entry"])

    def author() -> str:
        told = family.send("hospital", "GET", f"DocumentReference/{made['DocumentReference']}/$verify").value()["parameter"]
        return next(one["valueCode"] for one in told if one["name"] == "author")

    assert author() == "passed"
    now = host.now
    try:
        # The certificate is over: what was signed before stays so.
        host.now += 60 * DAY
        assert author() == "passed"
        address = f"Provenance/{made['Provenance']}"
        said = family.send("hospital", "GET", address).value()
        assert family.send("hospital", "PUT", address, {**said, "recorded": making.now()}).status == 200
        assert author() == "indeterminate"
    finally:
        host.now = now

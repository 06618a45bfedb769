"""The token endpoint: an assertion of a trusted issuer for a token of this host, once. https://www.rfc-editor.org/rfc/rfc7523"""

import asyncio
import base64
import json
import time

import httpx
import pytest

from tests.http.conftest import issue
from tests.identity import making
from tests.identity.making import AGENT, AUDIENCE, jwks, key, signed
from tests.interactions.making import unique
from tests.serving import run, serving

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BASE = "https://dmp.example.org/fhir"
HOSPITAL = "https://hospital.example.org"


@pytest.fixture(scope="module")
def private():
    """The key of AGENT, which stands for Pro Santé Connect."""
    return key("psc-1")


@pytest.fixture(scope="module")
def hospital():
    """The key of a hospital that speaks for its own users only."""
    return key("hospital-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory, private, hospital):
    folder = tmp_path_factory.mktemp("exchange")
    (folder / "jwks.json").write_text(jwks(private))
    (folder / "hospital.json").write_text(jwks(hospital))
    row = {"issuer": AGENT, "jwks": "jwks.json", "audience": AUDIENCE, "algorithms": ["ES256"], "kinds": ["professional"]}
    own = {**row, "issuer": HOSPITAL, "jwks": "hospital.json", "organizations": ["1750000001"]}
    (folder / "issuers.json").write_text(json.dumps([row, own]))
    # All that is refused here comes from one address.
    settings = {"FHIR_DMP_ISSUERS": str(folder / "issuers.json"), "FHIR_DMP_BASE_URL": BASE, "FHIR_DMP_LOGIN_ADDRESS_ATTEMPTS": "10000"}
    with serving(folder, "--workers", "2", environment=settings, sandbox=False) as running:
        yield running


def claims(**changes):
    """What Pro Santé Connect says of a professional, now; None takes a claim away."""
    now = int(time.time())
    said = making.professional(iat=now, exp=now + 120, jti=unique("j"), dmp_kind=None, auth_mode=None, typ="ID", azp="cabinet-3")
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def assertion(private, header=None, **changes):
    return signed(claims(**changes), private, **{"typ": "JWT", **(header or {})})


def asked(server, text, **fields):
    return server.client.post("/auth/token", data={"grant_type": GRANT, "assertion": text, **fields})


def told(answer):
    """Claims of the token that was given."""
    assert answer.status_code == 200, answer.text
    body = answer.json()["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def refused(answer, reason=""):
    assert (answer.status_code, issue(answer)) == (401, ("error", "login")), answer.text
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["issue"][0]["diagnostics"].startswith("invalid_grant: ") and reason in answer.text


def test_an_assertion_becomes_a_token_of_this_host(server, private):
    said = {"specialty": ["SM54"], "SubjectOrganizationID": "1750000001", "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4"}
    answer = asked(server, assertion(private, Acces_Regulation_Medicale="VRAI", **said))
    assert answer.headers["cache-control"] == "no-store" and answer.headers["content-type"] == "application/json"
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 900)
    made = told(answer)
    assert (made["dmp_kind"], made["SubjectNameID"], made["SubjectRole"]) == ("professional", "810001234567", ["10^1.2.250.1.213.1.1.5.5"])
    assert {name: made[name] for name in said} == said
    assert (made["auth_mode"], made["Acces_Regulation_Medicale"], made["client_id"]) == ("PSC", "VRAI", "cabinet-3")
    assert made["iss"].startswith("urn:fhir-dmp:") and made["exp"] - made["iat"] == 900 and "typ" not in made
    used = server.client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    assert used.status_code in (403, 404)


def test_an_assertion_is_no_access_token_and_an_access_token_of_ours_no_assertion(server, private):
    text = assertion(private)
    used = server.client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {text}"})
    assert (used.status_code, issue(used)) == (401, ("error", "login"))
    refused(asked(server, server.new_token("feed")), "no assertion")
    refused(asked(server, asked(server, text).json()["access_token"]), "no assertion")


def test_an_assertion_serves_once_whatever_its_name(server, private):
    for changes in ({}, {"jti": None, "nonce": unique()}):
        text = assertion(private, **changes)
        assert asked(server, text).status_code == 200
        refused(asked(server, text), "used before")
    name = unique("j")
    assert asked(server, assertion(private, jti=name)).status_code == 200
    refused(asked(server, assertion(private, jti=name, SubjectNameID="899999999999")), "used before")


async def test_an_assertion_sent_many_times_at_once_serves_once(server, private):
    for changes in ({}, {"jti": None, "nonce": unique()}):
        text = assertion(private, **changes)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as crowd:
            sent = [crowd.post("/auth/token", data={"grant_type": GRANT, "assertion": text}) for _ in range(8)]
            statuses = sorted(answer.status_code for answer in await asyncio.gather(*sent))
        assert statuses == [200] + [401] * 7


@pytest.mark.parametrize("audience", [AUDIENCE, "https://dmp.example.org/auth/token", ["https://other.example", AUDIENCE]])
def test_the_audience_is_this_host_by_one_of_its_names(server, private, audience):
    assert asked(server, assertion(private, aud=audience)).status_code == 200


@pytest.mark.parametrize(
    "audience", [None, "https://other.example/auth/token", "/auth/token", AUDIENCE + "/", "http://127.0.0.1/auth/token", [], {"a": 1}]
)
def test_an_assertion_for_another_server_is_refused(server, private, audience):
    refused(asked(server, assertion(private, aud=audience)), "another server")
    named = server.client.post(
        "/auth/token", data={"grant_type": GRANT, "assertion": assertion(private, aud=audience)}, headers={"Host": "other.example"}
    )
    refused(named, "another server")


def test_an_assertion_outside_its_time_is_refused(server, private):
    now = int(time.time())
    for changes in (
        {"exp": now - 61},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": now + 3600 * 24},
        {"nbf": now + 120},
        {"iat": now + 120},
    ):
        refused(asked(server, assertion(private, **changes)))


@pytest.mark.parametrize("issuer", [AGENT + "/", AGENT.upper(), "https://idp.example.org", "", 7, None])
def test_an_issuer_nobody_trusts_is_refused(server, private, issuer):
    refused(asked(server, assertion(private, iss=issuer)), "not trusted")


@pytest.mark.parametrize("kind", ["system", "operator", "patient", "feed", "structure", "", 1])
def test_only_a_professional_is_asserted(server, private, kind):
    refused(asked(server, assertion(private, dmp_kind=kind, role="admin", patient="p")), "professional")


@pytest.mark.parametrize("absent", ["SubjectNameID", "SubjectRole"])
def test_an_assertion_must_say_who_and_in_what_role(server, private, absent):
    refused(asked(server, assertion(private, **{absent: None})), absent)


def test_a_hospital_speaks_for_its_own_users_only(server, hospital):
    def of(organization):
        return assertion(hospital, iss=HOSPITAL, SubjectOrganizationID=organization, auth_mode="AIR")

    assert told(asked(server, of("1750000001")))["auth_mode"] == "AIR"
    for other in ("1750000002", "750000001"):
        refused(asked(server, of(other)), "organisation")
    for none in ("", None):
        refused(asked(server, of(none)), "SubjectOrganizationID")


def test_what_pro_sante_connect_says_of_each_practice_is_in_the_token(server, private):
    said = {"exercices": [{"codeProfession": "10", "codeCategorieProfessionnelle": "E", "codeSavoirFaire": "SM25"}]}
    made = told(asked(server, assertion(private, SubjectRefPro=said)))
    assert (made["codeCategorieProfessionnelle"], made["specialty"]) == ("E", ["SM25"])
    assert "specialty" not in told(asked(server, assertion(private)))


def test_a_key_of_one_issuer_does_not_sign_for_another(server, private, hospital):
    refused(asked(server, assertion(hospital)), "a key its issuer does not have")
    refused(asked(server, assertion(hospital, header={"kid": "psc-1"})), "signature")


@pytest.mark.parametrize(
    "scopes, asked_for, given",
    [
        (None, None, None),
        ("openid scope_all", None, None),
        (None, "user/*.rs", "user/*.rs"),
        ("openid user/DocumentReference.rs", None, "user/DocumentReference.rs"),
        ("user/DocumentReference.rs", "user/*.cruds", "user/DocumentReference.rs"),
        ("user/DocumentReference.rs", "user/Observation.rs", "none/none"),
    ],
)
def test_scopes_only_narrow(server, private, scopes, asked_for, given):
    answer = asked(server, assertion(private, scope=scopes), **({"scope": asked_for} if asked_for else {}))
    assert told(answer).get("scope") == answer.json().get("scope") == given


def test_claims_that_an_assertion_may_not_bring_are_left_behind(server, private):
    made = told(asked(server, assertion(private, role="admin", patient="p1", ticket="T", level=2, ins="a|b", host="h", amr=["x"])))
    assert not {"role", "patient", "ticket", "level", "ins", "host", "amr", "azp"} & set(made)


def test_who_sends_it_is_believed_only_where_the_assertion_does_not_say(server, private):
    assert told(asked(server, assertion(private), client_id="thief"))["client_id"] == "cabinet-3"
    assert told(asked(server, assertion(private, azp=None), client_id="cabinet-9"))["client_id"] == "cabinet-9"
    assert told(asked(server, assertion(private, client_id="c1"), client_id="thief"))["client_id"] == "c1"


@pytest.mark.parametrize(
    "body, word",
    [
        (b"", "grant_type"),
        (b"grant_type=password&username=a&password=b", "unsupported_grant_type"),
        (b"grant_type=client_credentials", "unsupported_grant_type"),
        (b"assertion=a.b.c", "grant_type"),
        (f"grant_type={GRANT}".encode(), "assertion"),
        (f"grant_type={GRANT}&assertion=".encode(), "assertion"),
        (f"grant_type={GRANT}&assertion=a&assertion=b".encode(), "twice"),
        (f"grant_type={GRANT}&grant_type={GRANT}&assertion=a".encode(), "twice"),
        (f"grant_type={GRANT}&assertion=%ff".encode(), "UTF-8"),
        (b"&".join([b"a=b"] * 100), "form"),
        (f"grant_type={GRANT}&assertion=a.b.c&client_id=a%0ab".encode(), "client_id"),
    ],
)
def test_a_request_of_another_form_is_refused_in_clear_words(server, body, word):
    answer = server.client.post("/auth/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, issue(answer)) == (400, ("error", "invalid")) and word in answer.text


def test_a_token_is_asked_for_in_a_form(server, private):
    answer = server.client.post("/auth/token", json={"grant_type": GRANT, "assertion": assertion(private)})
    assert (answer.status_code, issue(answer)) == (415, ("error", "not-supported"))
    large = server.client.post("/auth/token", data={"grant_type": GRANT, "assertion": "a" * 100_000})
    assert (large.status_code, issue(large)) == (413, ("error", "too-long"))


def test_the_request_is_for_the_body_not_the_address(server, private):
    """An assertion in an address would be in every log on the way."""
    query = {"grant_type": GRANT, "assertion": assertion(private)}
    answer = server.client.post("/auth/token", params=query, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400


def test_a_rotated_key_signs_the_next_token(server, private):
    before = asked(server, assertion(private)).json()["access_token"]
    kid = run("keys", "rotate", "--data", str(server.data)).stdout.strip()
    time.sleep(1.1)
    after = asked(server, assertion(private)).json()["access_token"]
    header = after.split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"] == kid
    for token in (before, after):
        used = server.client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {token}"})
        assert used.status_code in (403, 404)


def test_the_log_says_nothing_of_who_asks(server, private):
    text = assertion(private)
    token = asked(server, text).json()["access_token"]
    assert not any(secret in server.logged() for secret in (text, token, "810001234567", "cabinet-3"))

"""Access tokens: what is accepted, and every known way to cheat. https://www.rfc-editor.org/rfc/rfc8725"""

import hmac
import json
import os

import pytest
from joserfc import jwk

from fhir_dmp.errors import FhirError
from fhir_dmp.identity.issuers import HostIssuer, trusted
from fhir_dmp.identity.tokens import LONGEST_TOKEN, Tokens
from tests.identity.making import AGENT, AUDIENCE, NOW, NOW_MS, es256, issuers_file, jwks, key, part, professional, signed, unsigned


@pytest.fixture
def private():
    return key()


@pytest.fixture
def tokens(tmp_path, private):
    """A store that trusts AGENT for professionals and patients."""
    (tmp_path / "jwks.json").write_text(jwks(private))
    return Tokens(HostIssuer(tmp_path / "data"), trusted(issuers_file(tmp_path), sandbox=True, jwks_seconds=600))


async def refused(tokens, token, now_ms=NOW_MS):
    """Assert that the token is unusable: 401 and the challenge of RFC 6750; the reason."""
    with pytest.raises(FhirError) as caught:
        await tokens.verify(token, now_ms)
    assert (caught.value.status, caught.value.issues[0].code) == (401, "login")
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return caught.value.message


async def test_token_of_a_trusted_issuer_names_the_professional(tokens, private):
    actor = await tokens.verify(signed(professional(specialty=["SM54"], jti="j-1", software="Cabinet 3"), private), NOW_MS)
    assert (actor.kind, actor.issuer, actor.subject_name_id) == ("professional", AGENT, "810001234567")
    assert (actor.professions, actor.specialties, actor.jti, actor.software) == (("10",), ("SM54",), "j-1", "Cabinet 3")
    assert actor.scopes is None and actor.allows("Observation", "r")


@pytest.mark.parametrize(
    "audience, accepted",
    [
        (AUDIENCE, True),
        (["https://other.example", AUDIENCE], True),
        (None, False),
        ("https://other.example", False),
        (["https://other.example"], False),
        ([], False),
        (AUDIENCE + "/", False),
        ({"a": AUDIENCE}, False),
    ],
)
async def test_audience_must_name_this_server(tokens, private, audience, accepted):
    token = signed(professional(aud=audience), private)
    if accepted:
        assert (await tokens.verify(token, NOW_MS)).kind == "professional"
    else:
        await refused(tokens, token)


@pytest.mark.parametrize("issuer", [AGENT + "/", AGENT.upper(), AGENT[:-1], AGENT + "/sub", "", None, 7, ["x"]])
async def test_issuer_must_be_exactly_a_trusted_one(tokens, private, issuer):
    await refused(tokens, signed(professional(iss=issuer), private))


@pytest.mark.parametrize(
    "dates",
    [
        {"exp": NOW - 61},
        {"exp": NOW - 60},
        {"exp": None},
        {"exp": str(NOW + 600)},
        {"exp": True},
        {"exp": 10**400},
        {"exp": -1},
        {"nbf": NOW + 61},
        {"nbf": "soon"},
        {"iat": NOW + 61},
        {"iat": False},
    ],
)
async def test_token_outside_its_time_is_refused(tokens, private, dates):
    await refused(tokens, signed(professional(**dates), private))


@pytest.mark.parametrize("dates", [{"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"exp": NOW + 0.5}, {"iat": None}])
async def test_clocks_may_differ_by_a_minute(tokens, private, dates):
    assert await tokens.verify(signed(professional(**dates), private), NOW_MS)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", "HS256", "ES384", "RS256", None, 1, ["ES256"]])
async def test_algorithm_is_the_one_of_the_issuer_and_no_other(tokens, private, algorithm):
    header = {"alg": algorithm, "typ": "at+jwt", "kid": "k1"}
    for signature in (b"", b"\0" * 64):
        await refused(tokens, unsigned(header, professional(), signature))


async def test_token_without_signature_part_is_refused(tokens):
    token = unsigned({"alg": "none", "typ": "at+jwt", "kid": "k1"}, professional())
    await refused(tokens, token)
    await refused(tokens, token.rstrip("."))


async def test_public_key_cannot_be_used_as_a_secret(tokens, private):
    first = unsigned({"alg": "HS256", "typ": "at+jwt", "kid": "k1"}, professional()).rstrip(".")
    for secret in (private.as_pem(private=False), json.dumps(private.as_dict(private=False)).encode(), private.as_der(private=False)):
        await refused(tokens, f"{first}.{part(hmac.digest(secret, first.encode(), 'sha256'))}")


@pytest.mark.parametrize("r, s", [(0, 0), (0, 1), (1, 0)])
async def test_signature_of_zeros_is_refused(tokens, r, s):
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    await refused(tokens, unsigned({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}, professional(), signature))


async def test_signature_in_another_encoding_is_refused(tokens, private):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    first = unsigned({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}, professional()).rstrip(".")
    await refused(tokens, f"{first}.{part(private.raw_value.sign(first.encode(), ECDSA(hashes.SHA256())))}")


async def test_changed_claims_are_refused(tokens, private):
    header, _, signature = signed(professional(), private).split(".")
    await refused(tokens, f"{header}.{part(json.dumps(professional(sub='899999999999')).encode())}.{signature}")


@pytest.mark.parametrize("kid", ["../../dev/null", {"$ne": ""}, "k2", "", "K1", "k1 ", "k" * 300, None, 1, "k1\u0000"])
async def test_kid_is_compared_and_nothing_else(tokens, private, kid):
    await refused(tokens, signed(professional(), private, kid=kid))


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": key("k1").as_dict(private=False)},
        {"x5c": ["MIIB"]},
        {"crit": ["x"], "x": 1},
        {"crit": []},
        {"crit": ["exp"]},
        {"zip": "DEF"},
        {"b64": False, "crit": ["b64"]},
        {"enc": "A256GCM"},
    ],
)
async def test_header_never_names_keys_addresses_or_extensions(tokens, private, member, monkeypatch):
    calls = []
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *a, **k: calls.append(a))
    monkeypatch.setattr("socket.socket.connect", lambda *a: calls.append(a))
    await refused(tokens, signed(professional(), private, **member))
    assert calls == []


async def test_key_of_the_attacker_in_the_header_is_not_used(tokens):
    thief = key("k1")
    await refused(tokens, signed(professional(), thief, jwk=thief.as_dict(private=False)))
    await refused(tokens, signed(professional(), thief))


@pytest.mark.parametrize("typ", ["JWT", "at", "", None, "id+jwt", 1])
async def test_other_sorts_of_jwt_are_not_access_tokens(tokens, private, typ):
    await refused(tokens, signed(professional(), private, typ=typ))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_type_of_access_tokens_in_its_spellings(tokens, private, typ):
    assert await tokens.verify(signed(professional(), private, typ=typ), NOW_MS)


async def test_duplicate_names_in_a_token_are_refused(tokens, private):
    claims = json.dumps(professional())
    doubled = claims[:-1] + ', "sub": "899999999999"}'
    await refused(tokens, signed(doubled.encode(), private))


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c.d", "a.b.c", "....", "\u00e9.b.c", "eyJ9.e30.x", " ", "[].[].[]", "a.b.c\n", "e30=.e30=.x"]
)
async def test_what_is_not_a_jwt_is_refused(tokens, text):
    await refused(tokens, text)


async def test_token_of_great_length_is_refused(tokens, private):
    await refused(tokens, signed(professional(pad="x" * LONGEST_TOKEN), private))


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"{", b"\xff", b"[" * 5000, b'{"exp": NaN}'])
async def test_claims_that_are_no_object_are_refused(tokens, private, raw):
    await refused(tokens, signed(raw, private))


@pytest.mark.parametrize("kind", ["system", "operator", "support", "host", "feed", "structure", "mandataire", "root", "", None, 1])
async def test_issuer_speaks_only_for_its_kinds(tokens, private, kind):
    extra = {"level": 1, "ticket": "T", "role": "admin", "host": "h", "SubjectOrganizationID": "1"}
    await refused(tokens, signed(professional(dmp_kind=kind, **extra), private))


async def test_system_tokens_are_unusable_outside_a_sandbox(tmp_path):
    from fhir_dmp.settings import load

    real = Tokens.open(load({"data": tmp_path / "d"}, {}).settings)
    token = real.issue("system", {}, now_ms=NOW_MS, random=bytes)
    await refused(real, token)
    sandbox = Tokens.open(load({"data": tmp_path / "d", "sandbox": True}, {}).settings)
    assert (await sandbox.verify(token, NOW_MS)).kind == "system"


async def test_trusted_issuer_cannot_speak_for_system_outside_a_sandbox(tmp_path, private):
    (tmp_path / "jwks.json").write_text(jwks(private))
    path = issuers_file(tmp_path, kinds=["system", "professional"])
    tokens = Tokens(HostIssuer(tmp_path / "data"), trusted(path, sandbox=False, jwks_seconds=600))
    await refused(tokens, signed(professional(dmp_kind="system"), private))


async def test_expiry_is_checked_at_each_use_of_a_known_token(tokens, private):
    token = signed(professional(), private)
    for _ in range(2):
        assert await tokens.verify(token, NOW_MS)
    assert await tokens.verify(token, NOW_MS + 659_000)
    assert await refused(tokens, token, NOW_MS + 660_000) == "access token: expired"


async def test_known_tokens_are_dropped_when_the_issuer_withdraws_its_key(tokens, private, tmp_path):
    token = signed(professional(), private)
    assert await tokens.verify(token, NOW_MS)
    fresh = key("k2")
    (tmp_path / "jwks.json").write_text(jwks(fresh))
    await refused(tokens, token, NOW_MS + 2000)
    assert await tokens.verify(signed(professional(), fresh), NOW_MS + 2000)


async def test_tokens_stop_working_when_the_key_file_disappears(tokens, private, tmp_path):
    token = signed(professional(), private)
    assert await tokens.verify(token, NOW_MS)
    (tmp_path / "jwks.json").unlink()
    await refused(tokens, token, NOW_MS + 2000)


async def test_rotation_of_the_host_key_keeps_tokens_and_forgetting_ends_them(tmp_path):
    host = HostIssuer(tmp_path)
    tokens = Tokens(host)
    token = tokens.issue("feed", {}, now_ms=NOW_MS, random=bytes)
    assert await tokens.verify(token, NOW_MS)
    other = HostIssuer(tmp_path)
    other.rotate(forget=False)
    assert await tokens.verify(token, NOW_MS + 2000)
    other.rotate(forget=True)
    await refused(tokens, token, NOW_MS + 4000)
    assert len(tokens.host.jwks()["keys"]) == 1


async def test_memory_of_known_tokens_is_bounded(tokens, private, monkeypatch):
    monkeypatch.setattr("fhir_dmp.identity.tokens.KEPT", 3)
    for number in range(6):
        await tokens.verify(signed(professional(jti=str(number)), private), NOW_MS)
    assert len(tokens.kept) == 3


async def test_a_key_of_the_wrong_curve_does_not_verify(tmp_path):
    big = key("k1", "P-384")
    (tmp_path / "jwks.json").write_text(jwks(big))
    tokens = Tokens(HostIssuer(tmp_path / "data"), trusted(issuers_file(tmp_path), sandbox=False, jwks_seconds=600))
    await refused(tokens, signed(professional(), big, "ES384", alg="ES256"))
    await refused(tokens, signed(professional(), big, "ES384"))


async def test_rsa_and_eddsa_issuers_work(tmp_path):
    rsa = jwk.import_key({**jwk.RSAKey.generate_key(2048).as_dict(private=True), "kid": "r"}, "RSA")
    edwards = jwk.import_key({**jwk.OKPKey.generate_key("Ed25519").as_dict(private=True), "kid": "e"}, "OKP")
    (tmp_path / "jwks.json").write_text(jwks(rsa, edwards))
    path = issuers_file(tmp_path, algorithms=["RS256", "PS256", "Ed25519"])
    tokens = Tokens(HostIssuer(tmp_path / "data"), trusted(path, sandbox=False, jwks_seconds=600))
    for algorithm, private in (("RS256", rsa), ("PS256", rsa), ("Ed25519", edwards)):
        assert await tokens.verify(signed(professional(), private, algorithm), NOW_MS)
    await refused(tokens, signed(professional(), rsa, "RS512"))


def test_signing_helper_of_these_tests_is_right(private):
    """The octets signed by hand are accepted by an independent check, so a refusal above is not a broken test."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    raw = es256(private, b"octets")
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    private.raw_value.public_key().verify(signature, b"octets", ECDSA(hashes.SHA256()))
    assert len(raw) == 64


async def test_an_expired_token_of_the_host_itself_is_refused_at_once(tmp_path):
    tokens = Tokens(HostIssuer(tmp_path / "data"))
    token = tokens.issue("feed", {}, now_ms=NOW_MS, random=os.urandom, seconds=5)
    assert await tokens.verify(token, NOW_MS + 4_999)
    assert await refused(tokens, token, NOW_MS + 5_000) == "access token: expired"


@pytest.mark.parametrize(
    "changes, spoken",
    [
        ({"SubjectNameID": "3750000001/42"}, True),
        ({"SubjectNameID": "3750000002/42"}, False),
        ({"SubjectNameID": "4750000002/42"}, False),
        ({"SubjectNameID": "810001234567"}, True),
        ({"SubjectOrganizationID": "1750000002"}, False),
    ],
)
async def test_an_issuer_of_one_structure_speaks_for_its_own_users(tmp_path, private, changes, spoken):
    (tmp_path / "jwks.json").write_text(jwks(private))
    path = issuers_file(tmp_path, organizations=["1750000001"])
    tokens = Tokens(HostIssuer(tmp_path / "data"), trusted(path, sandbox=False, jwks_seconds=600))
    token = signed(professional(**{"SubjectOrganizationID": "1750000001", "auth_mode": "AIR", **changes}), private)
    if spoken:
        assert (await tokens.verify(token, NOW_MS)).organization == "1750000001"
    else:
        assert "may not speak" in await refused(tokens, token)

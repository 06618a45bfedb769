"""Level 3 of proof: the author's own signature, in every form that practice software makes."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from joserfc import jwk, jws
from lxml import etree
from pyhanko.pdf_utils.generic import ArrayObject, NumberObject, StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore
from signxml.xades import XAdESSigner

from fhir_dmp.signing.author import Apart, Judge, Signed, verify
from fhir_dmp.signing.authorities import Authorities

RPPS = "10001234567"
NOW = datetime.now(UTC)


class Someone:
    """Who can sign. name: as the certificate names him."""

    def __init__(self, name, issuer=None, *, days=30, begun=1, kind="rsa", usage=True, bits=2048):
        self.key = (
            rsa.generate_private_key(public_exponent=65537, key_size=bits) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        authority = issuer is None
        issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if authority else issuer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=begun))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        flags = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        flags |= {"key_cert_sign": authority, "crl_sign": authority, "encipher_only": False, "decipher_only": False}
        flags |= {"digital_signature": usage, "content_commitment": usage, "key_encipherment": not usage}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def der(self):
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self):
        return self.certificate.public_bytes(Encoding.PEM)

    def jws(self, octets, *, detached=False, alg=""):
        key = jwk.import_key(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        header = {
            "alg": alg or ("RS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES256"),
            "x5c": [base64.b64encode(self.der).decode()],
        }
        registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        text = jws.serialize_compact(header, octets, key, registry=registry)
        first, _, last = text.split(".")
        return (f"{first}..{last}" if detached else text).encode()

    def cms(self, octets, *, detached=False):
        options = [pkcs7.PKCS7Options.Binary] + ([pkcs7.PKCS7Options.DetachedSignature] if detached else [])
        builder = pkcs7.PKCS7SignatureBuilder().set_data(octets).add_signer(self.certificate, self.key, hashes.SHA256())
        return builder.sign(Encoding.DER, options)

    async def message(self, digest):
        """CMS around TEXT, with any digest."""
        return (await self._signer().async_sign_general_data(TEXT, digest, detached=False)).dump()

    def _signer(self):
        own = asn1_keys.PrivateKeyInfo.load(self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        return signers.SimpleSigner(asn1_x509.Certificate.load(self.der), own, SimpleCertificateStore())

    def xml(self, octets):
        tree = etree.fromstring(octets)
        signer = XAdESSigner(signature_algorithm="rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ecdsa-sha256")
        return etree.tostring(signer.sign(tree, key=self.key, cert=self.pem.decode()))

    async def pdf(self, octets):
        told = signers.PdfSignatureMetadata(field_name="auteur", md_algorithm="sha256")
        out = await signers.async_sign_pdf(IncrementalPdfFileWriter(io.BytesIO(octets)), told, self._signer())
        return out.getvalue()


@pytest.fixture(scope="module")
def authority():
    return Someone("IGC-SANTE ESSAI", days=400)


@pytest.fixture(scope="module")
def anna(authority):
    return Someone(f"8{RPPS}", authority)


@pytest.fixture
def judge(authority, tmp_path):
    (tmp_path / "authority.pem").write_bytes(authority.pem)
    return Judge(Authorities(tmp_path), frozenset({f"8{RPPS}", RPPS}), NOW)


def pdf():
    """A page with nothing on it."""
    writer = PdfFileWriter()
    stream = writer.add_object(StreamObject(stream_data=b"q Q"))
    box = ArrayObject(map(NumberObject, (0, 0, 200, 200)))
    writer.insert_page(PageObject(contents=stream, media_box=box))
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


CDA = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Compte rendu</title><text>rien &#233;</text></ClinicalDocument>'
TEXT = b"compte rendu"

# form -> how somebody signs in it
FORMS = {
    "jws": lambda who: Signed(who.jws(TEXT), "application/jose"),
    "jws apart": lambda who: Signed(TEXT, "text/plain", (Apart("application/jose", who.jws(TEXT, detached=True)),)),
    "cms": lambda who: Signed(who.cms(TEXT), "application/pkcs7-mime"),
    "cms apart": lambda who: Signed(TEXT, "text/plain", (Apart("application/pkcs7-signature", who.cms(TEXT, detached=True)),)),
    "xades": lambda who: Signed(who.xml(CDA), "text/xml"),
}
every_form = pytest.mark.parametrize("form", (*FORMS, "pades"))


async def signed_by(form, who):
    """A document that somebody signed in some form."""
    return Signed(await who.pdf(pdf()), "application/pdf") if form == "pades" else FORMS[form](who)


@every_form
async def test_the_announced_author_with_a_certificate_of_an_authority_passes(form, anna, judge):
    found = await verify(await signed_by(form, anna), judge)
    assert found.status == "passed", found
    assert any("an author of the document" in reason for reason in found.reasons)


@every_form
async def test_somebody_else_than_the_announced_author_is_indeterminate(form, authority, judge):
    found = await verify(await signed_by(form, Someone("899700000000", authority)), judge)
    assert found.status == "indeterminate", found
    assert any("does not announce" in reason for reason in found.reasons)


@every_form
async def test_a_certificate_of_nobody_known_is_indeterminate(form, judge):
    found = await verify(await signed_by(form, Someone(f"8{RPPS}", Someone("UNKNOWN"))), judge)
    assert found.status == "indeterminate", found
    assert any("no authority that is trusted" in reason for reason in found.reasons)


@every_form
async def test_without_authorities_it_is_indeterminate(form, anna, judge):
    found = await verify(await signed_by(form, anna), judge._replace(authorities=Authorities(None)))
    assert found.status == "indeterminate", found


@every_form
async def test_a_document_changed_after_it_was_signed_fails(form, anna, judge):
    signed = await signed_by(form, anna)
    if form == "jws":
        first, middle, last = signed.octets.split(b".")
        octets = b".".join((first, base64.urlsafe_b64encode(b"Compte rendu").rstrip(b"="), last))
    else:
        before, after = {"pades": (b"q Q", b"Q q"), "xades": (b"rien", b"rein")}.get(form, (TEXT, b"Compte rendu"))
        octets = signed.octets.replace(before, after)
    assert octets != signed.octets
    found = await verify(signed._replace(octets=octets), judge)
    assert found.status == "failed", found


@every_form
@pytest.mark.parametrize("days", [-60, 60])
async def test_whether_it_was_signed_while_the_certificate_was_valid_is_not_known(form, anna, judge, days):
    found = await verify(await signed_by(form, anna), judge._replace(moment=NOW + timedelta(days=days)))
    assert found.status == "indeterminate", found
    assert any("was not valid then" in reason for reason in found.reasons)


@pytest.mark.parametrize("form", FORMS)
async def test_a_short_key_proves_nothing(form, authority, judge):
    found = await verify(await signed_by(form, Someone(f"8{RPPS}", authority, bits=1024)), judge)
    assert found.status == "indeterminate", found
    assert any("too weak" in reason for reason in found.reasons)


async def test_a_broken_digest_proves_nothing(anna, judge):
    found = await verify(Signed(await anna.message("sha1"), "application/pkcs7-mime"), judge)
    assert found.status == "indeterminate" and any("too weak" in reason for reason in found.reasons), found
    old = anna.xml(CDA).replace(b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", b"http://www.w3.org/2000/09/xmldsig#rsa-sha1")
    found = await verify(Signed(old, "text/xml"), judge)
    assert found.status == "indeterminate" and any("#rsa-sha1`" in reason for reason in found.reasons), found


@pytest.mark.parametrize(
    ("signers", "certificates", "said"), [(0, 1, "not signed"), (2, 1, "several signatures"), (1, 0, "does not carry the certificate")]
)
async def test_a_message_that_nobody_or_several_signed_cannot_be_judged(anna, judge, signers, certificates, said):
    message = cms.ContentInfo.load(await anna.message("sha256"))
    data = message["content"]
    data["signer_infos"] = cms.SignerInfos([data["signer_infos"][0]] * signers)
    data["certificates"] = cms.CertificateSet([one.chosen for one in data["certificates"]][:certificates])
    found = await verify(Signed(message.dump(force=True), "application/pkcs7-mime"), judge)
    assert found.status == "indeterminate" and said in found.reasons[0], found


async def test_how_a_document_is_presented_is_signed_too_or_nothing_is_said(anna, judge):
    signed = anna.xml(CDA)
    for before, after in ((b'<?xml-stylesheet href="other.xsl"?>', b""), (b"", b"<?other?>")):
        found = await verify(Signed(before + signed + after, "text/xml"), judge)
        assert found.status == "indeterminate" and "beside the document" in found.reasons[0], found
    assert (await verify(Signed(b"<!-- printed -->" + signed, "text/xml"), judge)).status == "passed"


@pytest.mark.parametrize("added", [b"%other\n", b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF\n"])
async def test_what_follows_a_signed_pdf_and_is_no_version_of_it_fails(anna, judge, added):
    signed = await anna.pdf(pdf())
    assert (await verify(Signed(signed + b"\r\n", "application/pdf"), judge)).status == "passed"
    assert (await verify(Signed(signed + added, "application/pdf"), judge)).status == "failed"


async def test_nothing_of_an_author_is_logged(anna, judge, caplog):
    await verify(await signed_by("cms", anna), judge._replace(moment=NOW + timedelta(days=60)))
    assert RPPS not in caplog.text


@every_form
async def test_a_certificate_for_another_use_does_not_pass(form, authority, judge):
    found = await verify(await signed_by(form, Someone(f"8{RPPS}", authority, usage=False)), judge)
    assert found.status in ("failed", "indeterminate"), found


async def test_a_signed_part_inside_of_another_document_fails(anna, judge):
    signed = anna.xml(CDA)
    wrapped = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Autre</title>' + signed + b"</ClinicalDocument>"
    assert (await verify(Signed(wrapped, "text/xml"), judge)).status == "failed"


async def test_a_page_added_to_a_signed_pdf_fails(anna, judge):
    signed = await anna.pdf(pdf())
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    stream = writer.add_object(StreamObject(stream_data=b"q Q"))
    box = ArrayObject(map(NumberObject, (0, 0, 200, 200)))
    writer.insert_page(PageObject(contents=stream, media_box=box))
    out = io.BytesIO()
    writer.write(out)
    assert (await verify(Signed(out.getvalue(), "application/pdf"), judge)).status == "failed"


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256", "crit": ["b64"], "b64": False}])
async def test_weak_headers_fail(header, judge):
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=") + b".YQ.YQ"
    assert (await verify(Signed(text, "application/jose"), judge)).status == "failed"


@pytest.mark.parametrize("octets", [b"<a xmlns:ds='http://www.w3.org/2000/09/xmldsig#'>", b"%PDF-1.7 /ByteRange [0 0 0 0]", b""])
@pytest.mark.parametrize("kind", ["text/xml", "application/pkcs7-mime", "application/jose", "text/plain"])
async def test_what_cannot_be_read_never_passes(octets, kind, judge):
    assert (await verify(Signed(octets, kind), judge)).status in ("failed", "indeterminate")


async def test_elliptic_curves(authority, judge):
    who = Someone(f"8{RPPS}", authority, kind="ec")
    for form in ("jws", "cms", "xades"):
        assert (await verify(await signed_by(form, who), judge)).status == "passed", form

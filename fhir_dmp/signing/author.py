"""The author's own signature: recognised in whatever form it comes, verified against the authorities, answered with reasons.

Level 3 of proof, "signature du document par son auteur". JWS https://www.rfc-editor.org/rfc/rfc7515, CMS https://www.rfc-editor.org/rfc/rfc5652,
PAdES https://www.etsi.org/deliver/etsi_en/319100_319199/31914201/, XAdES https://www.etsi.org/deliver/etsi_en/319100_319199/31913201/
"""

import binascii
import io
import logging
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from asn1crypto import cms, pem, x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate
from joserfc import jwk
from joserfc.errors import JoseError
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESIndeterminate
from pyhanko.sign.general import SigningError
from pyhanko.sign.validation import EmbeddedPdfSignature, async_validate_detached_cms, async_validate_pdf_signature
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import async_validate_cms_signature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import StandardCMSSignatureStatus

from fhir_dmp.identity.issuers import fits
from fhir_dmp.signing import jws, xml
from fhir_dmp.signing.authorities import UNASKED, USES, WEAK, Authorities, names, strong, subject
from fhir_dmp.signing.verdict import Verdict, failed, indeterminate, passed, together

CMS_TYPES = frozenset({"application/pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-mime", "application/cms"})
KINDS = {"EC": ec.EllipticCurvePublicKey, "RSA": rsa.RSAPublicKey, "OKP": ed25519.Ed25519PublicKey}
MOST = 32 * 1024 * 1024
_WEAK = {AdESIndeterminate.CRYPTO_CONSTRAINTS_FAILURE, AdESIndeterminate.CRYPTO_CONSTRAINTS_FAILURE_NO_POE}
_USAGE = KeyUsageConstraints(key_usage=USES, match_all_key_usages=False)


# What they write of a signature that does not hold names its author; the verdict says it to whoever asked.
for _library in ("pyhanko", "pyhanko_certvalidator"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


class Apart(NamedTuple):
    """A signature beside a document. form: its sigFormat. since: when it came, where that was later than the document."""

    form: str
    octets: bytes
    since: datetime | None = None


class Signed(NamedTuple):
    """A document and what may sign it. octets: its content. kind: its contentType. apart: signatures beside it."""

    octets: bytes
    kind: str
    apart: tuple[Apart, ...] = ()


class Judge(NamedTuple):
    """authors: names that the document announces, as certificates write them. moment: at which certificates must have been valid."""

    authorities: Authorities
    authors: frozenset[str]
    moment: datetime

    async def certificate(self, certificate: x509.Certificate, others: Collection[x509.Certificate] = ()) -> Verdict:
        """Whether the signer is who the document announces, and somebody vouches for him."""
        return together([await self.authorities.vouch(certificate, list(others), self.moment), self.announced(certificate)])

    def announced(self, certificate: x509.Certificate) -> Verdict:
        """Whether the certificate names an author of the document."""
        if names(certificate) & self.authors:
            return passed(f"signed by {subject(certificate)}, an author of the document")
        return indeterminate(f"signed by {subject(certificate)}, whom the document does not announce as its author")


async def verify(document: Signed, judge: Judge) -> Verdict:
    """The verdict on all signatures of an author that a document carries, or that are kept beside it."""
    if len(document.octets) > MOST:
        return indeterminate("the document is too large for its signature to be verified here")
    found = []
    for one in document.apart:
        found.append(await _apart(one, document.octets, judge if one.since is None else judge._replace(moment=one.since)))
    if document.octets.startswith(b"%PDF-") and b"/ByteRange" in document.octets:
        found.append(await _pdf(document.octets, judge))
    elif xml.is_signed(document.octets):
        found.append(await _xml(document.octets, judge))
    elif document.kind in CMS_TYPES:
        found.append(await _cms(document.octets, None, judge))
    elif document.kind == jws.FORM:
        found.append(await _jws(document.octets.decode("ascii", "replace").strip(), None, judge))
    return together(found) if found else indeterminate("the document carries no signature of its author")


async def _apart(one: Apart, octets: bytes, judge: Judge) -> Verdict:
    if one.form == jws.FORM:
        return await _jws(one.octets.decode("ascii", "replace").strip(), octets, judge)
    if one.form in CMS_TYPES:
        return await _cms(one.octets, octets, judge)
    return indeterminate(f"a signature in the form `{one.form[:60]}` is not known here")


async def _jws(text: str, octets: bytes | None, judge: Judge) -> Verdict:
    """A JWS with the certificate of its signer. octets: what a detached one signs."""
    try:
        header = jws.header_of(text)
        if not header.certificates:
            return indeterminate("the JWS does not say by which certificate (x5c) it is to be verified")
        certificate, *others = [x509.Certificate.load(one, strict=True) for one in header.certificates]
        if not strong(certificate):
            return together([indeterminate(f"the signature of {subject(certificate)} {WEAK}"), judge.announced(certificate)])
        key = _key(header.certificates[0])
        if not fits(key, header.alg):
            return failed(f"the algorithm {header.alg} is not that of the certificate")
        jws.opened(text, key, header.alg, octets)
    except jws.Refused as error:
        return failed(f"the JWS does not hold: {error}")
    except (ValueError, TypeError, JoseError) as error:
        return failed(f"the certificate of the JWS cannot be read: {error}")
    return await judge.certificate(certificate, others)


def _key(certificate: bytes) -> jwk.Key:
    """The public key of a certificate (DER)."""
    public = load_der_x509_certificate(certificate).public_key()
    kind = next((name for name, one in KINDS.items() if isinstance(public, one)), None)
    if kind is None:
        raise ValueError("its key is of a kind that is not known here")
    return jwk.import_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), kind)


async def _cms(signature: bytes, octets: bytes | None, judge: Judge) -> Verdict:
    """CMS SignedData, around its content or detached from `octets`."""
    try:
        if pem.detect(signature):
            _, _, signature = pem.unarmor(signature)
        content = cms.ContentInfo.load(signature, strict=True)
        if content["content_type"].native != "signed_data":
            return indeterminate("the CMS message is not one of signed data")
        data = content["content"]
        if len(data["signer_infos"]) != 1:
            return indeterminate(
                "the CMS message carries several signatures" if len(data["signer_infos"]) else "the CMS message is not signed"
            )
        context = judge.authorities.context(judge.moment)
        if octets is not None:
            status = await async_validate_detached_cms(octets, data, context, key_usage_settings=_USAGE)
        elif not data["encap_content_info"]["content"].contents:
            return indeterminate("the CMS signature does not hold what it signs")
        else:
            status = await async_validate_cms_signature(
                data, StandardCMSSignatureStatus, validation_context=context, key_usage_settings=_USAGE
            )
    except (SignatureValidationError, SigningError, ValueError, TypeError, KeyError, binascii.Error) as error:
        if getattr(error, "ades_subindication", None) is AdESIndeterminate.NO_SIGNING_CERTIFICATE_FOUND:
            return indeterminate("the CMS signature does not carry the certificate that it is to be verified by")
        return failed(f"the CMS signature cannot be read: {error}")
    return _status(status, judge)


async def _pdf(octets: bytes, judge: Judge) -> Verdict:
    """Every signature of a PDF; what was added after the last one must be of a kind that changes nothing."""
    try:
        signatures = PdfFileReader(io.BytesIO(octets), strict=False).embedded_regular_signatures
        if not signatures:
            return indeterminate("the PDF carries no signature")
        context = judge.authorities.context(judge.moment)
        found = [await async_validate_pdf_signature(one, context, key_usage_settings=_USAGE) for one in signatures]
    except (SignatureValidationError, SigningError, PdfError, ValueError, TypeError, KeyError, RecursionError) as error:
        return failed(f"the signature of the PDF cannot be read: {error}")
    verdicts = [_status(one, judge) for one in found]
    if (any(one.status == "passed" for one in verdicts) and not found[-1].bottom_line) or _added(octets, signatures[-1]):
        verdicts.append(failed("the PDF was changed after it was signed"))
    return together(verdicts)


def _added(octets: bytes, last: EmbeddedPdfSignature) -> bool:
    """Whether anything follows the last signature that is no revision of the PDF: readers disagree about what that means."""
    end = int(last.byte_range[2]) + int(last.byte_range[3])
    return last.signed_revision == last.reader.xrefs.total_revisions - 1 and bool(octets[end:].strip())


def _status(status: StandardCMSSignatureStatus, judge: Judge) -> Verdict:
    """What the library found, in our words."""
    name = subject(status.signing_cert)
    if not status.intact:
        return failed("the document is not the one that was signed: it was changed since")
    if not status.valid:
        return failed(f"the signature is not that of {name}")
    if getattr(status, "docmdp_ok", True) is False:
        return failed("the PDF was changed after it was signed")
    if not judge.authorities.roots:
        return together([indeterminate(f"no authority is trusted here that could vouch for {name}"), judge.announced(status.signing_cert)])
    if not status.trusted:
        return together([indeterminate(_untrusted(status, judge.moment)), judge.announced(status.signing_cert)])
    return together([passed(f"the certificate of {name} leads to an authority; {UNASKED}"), judge.announced(status.signing_cert)])


def _untrusted(status: StandardCMSSignatureStatus, moment: datetime) -> str:
    """Why nobody vouches for a signature that fits."""
    certificate, why = status.signing_cert, status.trust_problem_indic
    name = subject(certificate)
    if why in _WEAK:
        return f"the signature of {name} {WEAK}"
    if not certificate.not_valid_before <= moment <= certificate.not_valid_after:
        return f"the certificate of {name} was not valid then: it was over, or had not begun"
    return f"the certificate of {name} leads to no authority that is trusted here" + (f" ({why.standard_name})" if why else "")


async def _xml(octets: bytes, judge: Judge) -> Verdict:
    try:
        certificates = xml.verified(octets)
    except xml.Broken as error:
        return failed(f"the signature of the XML document does not hold: {error}")
    except xml.Unknown as error:
        return indeterminate(str(error))
    certificate, *others = [x509.Certificate.load(one) for one in certificates]
    return await judge.certificate(certificate, others)

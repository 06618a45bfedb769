"""Signatures inside XML documents (XML-DSig, XAdES): that the whole document is what the certificate in it signed.

https://www.w3.org/TR/xmldsig-core1/ ; https://www.w3.org/TR/xmldsig-bestpractices/ (see what is signed)
"""

import base64

from cryptography.x509 import Certificate, load_der_x509_certificate
from lxml import etree
from signxml import SignatureConfiguration, XMLVerifier
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

DSIG = "http://www.w3.org/2000/09/xmldsig#"
XADES = b"http://uri.etsi.org/01903/"
_CERTIFICATES = f".//{{{DSIG}}}X509Certificate"
_SIGNATURE = f".//{{{DSIG}}}Signature"
# The end of the names of algorithms that prove nothing any more.
_WEAK = {"sha1", "md5", "ripemd160"}


class Broken(ValueError):
    """A signature that does not hold."""


class Unknown(ValueError):
    """One that cannot be judged."""


def is_signed(octets: bytes) -> bool:
    """Whether it looks like an XML document with a signature in it."""
    return octets.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and DSIG.encode() in octets


def verified(octets: bytes) -> list[bytes]:
    """The certificates (DER) a document was signed with, that of the signer first; who issued them, and for when, is not asked here.

    Broken when the signature does not hold, or covers only a part of the document.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(octets, parser)
    except etree.XMLSyntaxError as error:
        raise Broken(f"not well-formed: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Broken("it declares a DTD")
    signatures = root.findall(_SIGNATURE)
    if len(signatures) != 1:
        raise Unknown("the document carries several signatures" if signatures else "the document carries no signature of its author")
    texts = [node.text or "" for node in signatures[0].iterfind(_CERTIFICATES)]
    if not texts:
        raise Unknown("the XML signature does not carry the certificate that it is to be verified by")
    try:
        certificates = [base64.b64decode("".join(text.split()), validate=True) for text in texts]
        signer = load_der_x509_certificate(certificates[0])
    except ValueError as error:
        raise Broken(f"its certificate cannot be read: {error}") from None
    if weak := next((one for one in _algorithms(signatures[0]) if one.rpartition("#")[2].rpartition("-")[2] in _WEAK), None):
        raise Unknown(f"the XML signature is made by `{weak[:80]}`, which is too weak to prove anything")
    covered = _signed(octets, signer)
    document = _unsigned(root, signatures[0])
    if not any(_canonical(one) == document for one in covered):
        raise Broken("it covers a part of the document only")
    if any(isinstance(one, etree._ProcessingInstruction) for one in (*root.itersiblings(preceding=True), *root.itersiblings())):
        raise Unknown("an instruction beside the document, e.g. for its presentation, is not covered by the XML signature")
    return certificates


def _algorithms(signature: etree._Element) -> list[str]:
    """By which the signature, and the digests that it signs, are made."""
    nodes = [signature.find(f"{{{DSIG}}}SignedInfo/{{{DSIG}}}SignatureMethod"), *signature.iterfind(f".//{{{DSIG}}}DigestMethod")]
    return [node.get("Algorithm", "") for node in nodes if node is not None]


def _signed(octets: bytes, signer: Certificate) -> list[etree._Element]:
    """The parts of a document that its signature covers."""
    # Whether the certificate was valid when it matters is judged with those who issued it.
    moment = signer.not_valid_before_utc
    try:
        if XADES in octets:
            config = XAdESSignatureConfiguration(require_x509=True, location=".//", expect_references=True, verification_time=moment)
            found = XAdESVerifier().verify(octets, x509_cert=signer, expect_config=config)
        else:
            config = SignatureConfiguration(require_x509=True, location=".//", expect_references=True, verification_time=moment)
            found = XMLVerifier().verify(octets, x509_cert=signer, expect_config=config)
    except (SignXMLException, InvalidInput, etree.LxmlError, ValueError, TypeError) as error:
        raise Broken(str(error) or type(error).__name__) from None
    results = found if isinstance(found, list) else [found]
    return [one.signed_xml for one in results if one.signed_xml is not None]


def _unsigned(root: etree._Element, signature: etree._Element) -> bytes:
    """The document without its signature: an element of the same name that the signature covers is not the document."""
    parent = signature.getparent()
    if parent is None:
        return b""
    before, tail = signature.getprevious(), signature.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(signature)
    return _canonical(root)


def _canonical(root: etree._Element) -> bytes:
    return etree.tostring(root, method="c14n", exclusive=True, with_comments=False)

"""XML from outside: no entity is expanded, nothing is fetched, depth and size are bounded.

https://owasp.org/www-community/vulnerabilities/XML_External_Entity_(XXE)_Processing ; https://lxml.de/parsing.html
"""

from lxml import etree

from fhir_dmp.errors import FhirError

LARGEST = 64 * 1024 * 1024


def parse(body: bytes) -> etree._Element:
    """The root of a document without DOCTYPE: with one it could define entities, and no format read here has one."""
    if len(body) > LARGEST:
        raise FhirError("too-long", f"an XML document may take {LARGEST} bytes")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=False,
    )
    if b"<!DOCTYPE" in body[: 64 * 1024]:
        raise FhirError("invalid", "XML with a DOCTYPE is not read")
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FhirError("invalid", f"not XML: {str(error)[:200]}") from None
    if root.getroottree().docinfo.doctype:
        raise FhirError("invalid", "XML with a DOCTYPE is not read")
    return root


def text(element: etree._Element | None) -> str:
    """All text within an element, its spaces as one."""
    return "" if element is None else " ".join("".join(element.itertext()).split())

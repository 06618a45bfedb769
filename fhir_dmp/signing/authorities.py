"""Authorities that authors' certificates are traced back to, as the host's folder of certificates names them.

https://www.rfc-editor.org/rfc/rfc5280#section-6 ; the authorities of health professionals in France: http://igc-sante.esante.gouv.fr
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from asn1crypto import pem, x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathError,
    PathValidationError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath

from fhir_dmp.settings import SettingError
from fhir_dmp.signing.verdict import Verdict, failed, indeterminate, passed

USES = {"digital_signature", "non_repudiation"}
WEAK = "is made by an algorithm, or with a key, that is too weak to prove anything"
# Kinds of keys that prove something, from how many bits on; 0 where they have one length.
LEAST_BITS = {"rsa": 2048, "rsassa_pss": 2048, "ec": 256, "ed25519": 0, "ed448": 0}
UNASKED = "whether the certificate was revoked was not asked"


class Authorities:
    """Certificates that are trusted. folder: of PEM files, None for none."""

    def __init__(self, folder: Path | None) -> None:
        self.roots: tuple[x509.Certificate, ...] = ()
        if folder is not None:
            if not folder.is_dir():
                raise SettingError(f"setting `authorities`: there is no folder {folder}")
            files = sorted(path for path in folder.iterdir() if path.suffix in (".pem", ".crt", ".cer"))
            self.roots = tuple(one for path in files for one in _certificates(path))

    def context(self, moment: datetime, others: Iterable[x509.Certificate] = ()) -> ValidationContext:
        """How a chain is judged at a moment. Nothing is fetched: where a certificate says to ask is never asked."""
        return ValidationContext(
            trust_roots=list(self.roots), other_certs=list(others), moment=moment, allow_fetching=False, revocation_mode="soft-fail"
        )

    async def vouch(self, certificate: x509.Certificate, others: Sequence[x509.Certificate], moment: datetime) -> Verdict:
        """Whether a certificate leads to an authority and was valid at a moment."""
        name = subject(certificate)
        if not strong(certificate):
            return indeterminate(f"the signature of {name} {WEAK}")
        if not self.roots:
            return indeterminate(f"no authority is trusted here that could vouch for {name}")
        try:
            validator = CertificateValidator(certificate, others, validation_context=self.context(moment, others))
            path: ValidationPath = await validator.async_validate_usage(set(), extended_optional=True)
        except (ExpiredError, NotYetValidError) as error:
            # Perhaps it was signed in time: nobody here knows.
            return indeterminate(f"the certificate of {name} was not valid then: {error}")
        except DisallowedAlgorithmError as error:
            return indeterminate(f"the certificate of {name} {WEAK}: {error}")
        except PathValidationError as error:
            return failed(f"the certificate of {name} was not valid: {error}")
        except (PathError, ValidationError) as error:
            return indeterminate(f"the certificate of {name} leads to no authority that is trusted here: {error}")
        usage = certificate.key_usage_value
        if usage is not None and not USES & usage.native:
            return failed(f"the certificate of {name} is not for signatures")
        return passed(f"the certificate of {name} was issued by {subject(path.trust_anchor.authority.certificate)}; {UNASKED}")


@lru_cache(maxsize=4)
def authorities(folder: Path | None) -> Authorities:
    """Those of a folder, read once."""
    return Authorities(folder)


def _certificates(path: Path) -> list[x509.Certificate]:
    data = path.read_bytes()
    try:
        blocks = [block for _, _, block in pem.unarmor(data, multiple=True)] if pem.detect(data) else [data]
        found = [x509.Certificate.load(block, strict=True) for block in blocks]
        for one in found:
            subject(one)
        return found
    except (ValueError, TypeError) as error:
        raise SettingError(f"authority {path}: {error}") from None


def subject(certificate: x509.Certificate) -> str:
    """The subject in words."""
    return certificate.subject.human_friendly


def strong(certificate: x509.Certificate) -> bool:
    """Whether the key of a certificate is of a kind and length that proves anything."""
    try:
        key = certificate.public_key
        least = LEAST_BITS.get(key.algorithm)
        return least is not None and (not least or key.bit_size >= least)
    except (ValueError, TypeError, KeyError):
        return False


def names(certificate: x509.Certificate) -> frozenset[str]:
    """Every text of the subject: an IDNPS stands in the common name, a FINESS in the organizational unit, an RPPS in the serial number."""
    found: set[str] = set()
    for value in certificate.subject.native.values():
        found |= set(value) if isinstance(value, list) else {str(value)}
    return frozenset(found)

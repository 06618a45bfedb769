"""Who brings a short message to a person: by mail, or on the terminal while developing.

Internet message https://www.rfc-editor.org/rfc/rfc5322 ; submission with TLS https://www.rfc-editor.org/rfc/rfc8314
"""

import asyncio
import ipaddress
import logging
import re
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Protocol
from urllib.parse import unquote, urlsplit

from fhir_dmp.settings import SettingError, Settings

log = logging.getLogger("fhir_dmp.messages")

SECONDS = 15
PORTS = {"smtp": 587, "smtps": 465}


# The plain form of an address (https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2, with the letters of RFC 6531), without the rest of the
# grammar, about which those who read headers disagree; nor `?`, which encoded words have.
LONGEST_ADDRESS, LONGEST_LOCAL = 254, 64
ADDRESS = re.compile(r"([\w!#$%&'*+/=^`{|}~-]+(?:\.[\w!#$%&'*+/=^`{|}~-]+)*)@[^\W_](?:[\w-]*[^\W_])?(?:\.[^\W_](?:[\w-]*[^\W_])?)*")


class NoAddress(ValueError):
    """No mail can ever be sent to this address. The message does not show it."""


class Sender(Protocol):
    """One way to bring messages. anywhere: it needs no address."""

    anywhere: bool

    async def send(self, address: str, subject: str, text: str, name: str = "") -> None:
        """Bring it. OSError (smtplib's errors are among them) when that fails, NoAddress when it always will.

        name: the same when it is sent again, "" for a new one.
        """


class Terminal:
    """Prints messages to standard error, for development: whoever starts the server reads the codes."""

    anywhere = True

    async def send(self, address: str, subject: str, text: str, name: str = "") -> None:
        """Print it. The address is left out: nothing in the log names a person."""
        log.warning("%s: %s", subject, text)


class Mail:
    """Sends messages by SMTP. url: smtps://user:password@host:port, or smtp:// where STARTTLS follows, unless the host is this machine."""

    anywhere = False

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in PORTS or not parts.hostname or port == -1:
            raise SettingError("setting `smtp_url` must be smtps://HOST or smtp://HOST, with user, password and port where they are needed")
        if "@" not in sender:
            raise SettingError("setting `smtp_from` must be the address that mail is sent from")
        self.host, self.port, self.implicit = parts.hostname, port or PORTS[parts.scheme], parts.scheme == "smtps"
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self.sender = sender

    async def send(self, address: str, subject: str, text: str, name: str = "") -> None:
        """See Sender."""
        if not is_address(address):
            raise NoAddress("the address is none that mail can be sent to")
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, address, subject
        domain = self.sender.rpartition("@")[2]
        message["Message-ID"] = f"<{name}@{domain}>" if name else make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        await asyncio.to_thread(self._deliver, message)

    def _deliver(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        if self.implicit:
            server = smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        with server:
            if not self.implicit and not is_this_machine(self.host):
                server.starttls(context=context)
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)


def mail_of(person: Mapping[str, object]) -> str:
    """Where a person has mail sent, as `telecom` of a resource says it, "" for nowhere."""
    listed = (one for one in person.get("telecom") or () if one.get("system") == "email" and one.get("use") != "old")
    return next((one["value"] for one in listed if is_address(one.get("value", ""))), "")


def is_address(text: str) -> bool:
    """Whether mail can be sent to what somebody says is his address.

    >>> [is_address(one) for one in ("a.b+c@example.org", "é@b.fr", "a@b-c.example")]
    [True, True, True]
    >>> [is_address(one) for one in ("", "a@[", 'a"b@c.fr', "a@b\\nBcc: c@d", "a@b.fr\\n", "a..b@c", "a@b@c", "a@-b.fr", "=?x@b.fr")]
    [False, False, False, False, False, False, False, False, False]
    """
    found = ADDRESS.fullmatch(text) if len(text) <= LONGEST_ADDRESS else None
    return found is not None and len(found[1]) <= LONGEST_LOCAL


def of(settings: Settings) -> Sender | None:
    """The sender of one-time codes that the settings name."""
    return named(settings.login_sender or ("terminal" if settings.sandbox else "none"), settings)


def of_notices(settings: Settings) -> Sender | None:
    """The sender of notices that the settings name; None when notices stay in the dossier."""
    return named(settings.notice_sender or settings.login_sender or "none", settings)


def named(name: str, settings: Settings) -> Sender | None:
    """smtp, terminal, or none."""
    if name == "smtp":
        return Mail(settings.smtp_url, settings.smtp_from)
    return Terminal() if name == "terminal" else None


def is_this_machine(host: str) -> bool:
    """Whether a message to this host leaves the machine.

    >>> is_this_machine("localhost"), is_this_machine("127.0.0.1"), is_this_machine("mail.example.org")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

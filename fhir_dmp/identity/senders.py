"""Who brings a short message to a person: by mail, or on the terminal while developing.

Internet message https://www.rfc-editor.org/rfc/rfc5322 ; submission with TLS https://www.rfc-editor.org/rfc/rfc8314
"""

import asyncio
import ipaddress
import logging
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Protocol
from urllib.parse import unquote, urlsplit

from fhir_dmp.settings import SettingError, Settings

log = logging.getLogger("fhir_dmp.messages")

SECONDS = 15
PORTS = {"smtp": 587, "smtps": 465}


class Sender(Protocol):
    """One way to bring messages. anywhere: it needs no address."""

    anywhere: bool

    async def send(self, address: str, subject: str, text: str, name: str = "") -> None:
        """Bring it. OSError (smtplib's errors are among them) when that fails. name: the same when it is sent again, "" for a new one."""


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

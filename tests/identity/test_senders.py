"""Messages by mail, through a real SMTP server, and on the terminal. https://www.rfc-editor.org/rfc/rfc5321"""

import logging
import smtplib
import socket
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from fhir_dmp.identity import senders
from fhir_dmp.identity.senders import Mail, Terminal
from fhir_dmp.settings import SettingError, load

# The server of these tests asks for a password without TLS: it is this machine.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")

FROM = "dmp@host.example.org"


class Kept:
    """What a mail server took."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 taken"


def known(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"us/er", b"p@ss")
    return AuthResult(success=right, handled=False)


@pytest.fixture
def mailbox():
    """A mail server on this machine that asks who sends."""
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        kept.port = probe.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=kept.port, authenticator=known, auth_required=True, auth_require_tls=False)
    controller.start()
    yield kept
    controller.stop()


async def test_a_message_reaches_the_mail_server(mailbox):
    mail = Mail(f"smtp://us%2Fer:p%40ss@127.0.0.1:{mailbox.port}", FROM)
    await mail.send("holder@example.org", "Code de connexion à usage unique", "123456 (à saisir)")
    ((sender, receivers, message),) = mailbox.taken
    assert (sender, receivers) == (FROM, ["holder@example.org"])
    assert message["Subject"] == "Code de connexion à usage unique"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().strip() == "123456 (à saisir)"


async def test_a_wrong_password_or_a_silent_server_is_an_os_error(mailbox):
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await Mail(f"smtp://us%2Fer:wrong@127.0.0.1:{mailbox.port}", FROM).send("holder@example.org", "s", "t")
    with pytest.raises(OSError):
        await Mail("smtp://127.0.0.1:1", FROM).send("holder@example.org", "s", "t")
    assert mailbox.taken == [] and issubclass(smtplib.SMTPException, OSError)


async def test_no_message_leaves_the_machine_unencrypted(mailbox, monkeypatch):
    monkeypatch.setattr(senders, "is_this_machine", lambda host: False)
    with pytest.raises(smtplib.SMTPNotSupportedError):
        await Mail(f"smtp://us%2Fer:p%40ss@127.0.0.1:{mailbox.port}", FROM).send("holder@example.org", "s", "t")
    assert mailbox.taken == []


async def test_an_address_cannot_add_headers_or_receivers(mailbox):
    mail = Mail(f"smtp://us%2Fer:p%40ss@127.0.0.1:{mailbox.port}", FROM)
    with pytest.raises(ValueError):
        await mail.send("a@example.org\r\nBcc: thief@example.org", "s", "t")
    assert mailbox.taken == []


async def test_the_terminal_shows_the_message_and_not_whose_it_is(caplog):
    with caplog.at_level(logging.WARNING):
        await Terminal().send("holder@example.org", "Code", "123456")
    assert "Code: 123456" in caplog.text and "holder" not in caplog.text


@pytest.mark.parametrize("url", ["", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://h:port", "smtp://h:99999"])
def test_a_mail_server_that_cannot_be_meant_is_refused(url):
    with pytest.raises(SettingError, match="smtp_url"):
        Mail(url, FROM)
    with pytest.raises(SettingError, match="smtp_from"):
        Mail("smtps://mail.example.org", "dmp")


@pytest.mark.parametrize(
    "given, kind",
    [
        ({}, None),
        ({"sandbox": True}, Terminal),
        ({"sandbox": True, "login_sender": "none"}, None),
        ({"login_sender": "terminal"}, Terminal),
        ({"login_sender": "smtp", "smtp_url": "smtps://mail.example.org", "smtp_from": FROM}, Mail),
    ],
)
def test_settings_choose_the_sender(given, kind):
    found = senders.of(load(given, {}).settings)
    assert found is None if kind is None else type(found) is kind


def test_an_unknown_sender_is_refused():
    with pytest.raises(SettingError, match="login_sender"):
        load({"login_sender": "pigeon"}, {})

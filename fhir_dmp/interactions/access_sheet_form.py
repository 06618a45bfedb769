"""The access sheet as text and as PDF: identifier, first password, one-time codes, and the QR code of an application that makes them.

PDF ISO 32000-1; QR code ISO/IEC 18004; otpauth addresses as https://github.com/google/google-authenticator/wiki/Key-Uri-Format

It says nothing about whose it is: a sheet that is lost opens a dossier to nobody who does not know more.
"""

import io
import textwrap
from dataclasses import dataclass

import pydyf
import segno

TITLE = "Accès à mon dossier médical partagé"
WHERE = "À cette adresse (address)"
IDENTIFIER = "Identifiant (identifier)"
PASSWORD = "Mot de passe (password)"
CODES = "Codes à usage unique (one-time codes)"
APPLICATION = "Application (TOTP)"
# The blanks before colons do not break.
ADVICE = (
    "Cette feuille est personnelle : ne la confiez à personne et ne la laissez pas avec vos papiers.",
    "À chaque connexion, saisissez l'identifiant et le mot de passe, puis un code que vous rayez : chaque code sert une fois.",
    "Une application d'authentification peut donner les codes à la place de la liste : elle lit le carré ci-dessous.",
    "Perdue, vue par un autre ou épuisée : demandez une nouvelle feuille, qui annule celle-ci.",
)
WIDTH = 92
CODES_A_ROW = 5
A4 = (595, 842)
MARGIN = 56


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is handed to one person, once; nothing of it is kept readable.

    identifier, password: as printed, in groups. codes: digits. totp: otpauth address. address: where to log in. issued: a date in words.
    """

    identifier: str
    password: str
    codes: tuple[str, ...]
    totp: str
    address: str
    issued: str


def rows_of_codes(sheet: Sheet) -> list[str]:
    """The codes, numbered, five a row."""
    numbered = [f"{number:2}. {code}" for number, code in enumerate(sheet.codes, 1)]
    return ["   ".join(numbered[at : at + CODES_A_ROW]) for at in range(0, len(numbered), CODES_A_ROW)]


def text(sheet: Sheet) -> str:
    """The sheet as plain text."""
    advice = [line for one in ADVICE for line in textwrap.wrap(one, WIDTH, initial_indent="- ", subsequent_indent="  ")]
    return "\n".join(
        (
            TITLE,
            "=" * len(TITLE),
            f"Feuille du {sheet.issued}",
            "",
            f"{WHERE}: {sheet.address}",
            f"{IDENTIFIER}: {sheet.identifier}",
            f"{PASSWORD}: {sheet.password}",
            "",
            f"{CODES}:",
            *(f"  {row}" for row in rows_of_codes(sheet)),
            "",
            f"{APPLICATION}: {sheet.totp}",
            "",
            *(one.replace("le carré ci-dessous", "l'adresse ci-dessus") for one in advice),
            "",
        )
    )


class Page:
    """One page of A4 that is written from top to bottom."""

    def __init__(self) -> None:
        self.stream, self.y = pydyf.Stream(), A4[1] - MARGIN

    def write(self, text: str, font: str = "Sans", size: float = 11, *, space: float = 6, left: float = MARGIN) -> None:
        """One line of text. font: Sans, Bold or Fixed. space: below it, in points."""
        self.y -= size
        self.stream.begin_text()
        self.stream.set_font_size(font, size)
        self.stream.set_text_matrix(1, 0, 0, 1, left, self.y)
        self.stream.show_text_string(text.encode("cp1252", "replace"))
        self.stream.end_text()
        self.y -= space

    def square(self, content: str, side: float) -> None:
        """A QR code."""
        matrix = [list(row) for row in segno.make(content, error="m", micro=False).matrix]
        step = side / len(matrix)
        self.y -= side
        for number, row in enumerate(matrix):
            for at, dark in enumerate(row):
                if dark:
                    self.stream.rectangle(MARGIN + at * step, self.y + side - (number + 1) * step, step, step)
        self.stream.fill()


def pdf(sheet: Sheet) -> bytes:
    """The sheet as a PDF of one page, in the fonts every reader has."""
    page = Page()
    page.write(TITLE, "Bold", 18, space=10)
    page.write(f"Feuille du {sheet.issued}", space=24)
    for name, value in ((WHERE, sheet.address), (IDENTIFIER, sheet.identifier), (PASSWORD, sheet.password)):
        page.write(name, "Bold", space=4)
        page.write(value, "Fixed", 14, space=14)
    page.write(CODES, "Bold", space=6)
    for row in rows_of_codes(sheet):
        page.write(row, "Fixed", 11)
    page.y -= 12
    for one in ADVICE:
        for line in textwrap.wrap(one, WIDTH):
            page.write(line, size=10, space=4)
        page.y -= 4
    page.y -= 8
    page.write(APPLICATION, "Bold", space=10)
    page.square(sheet.totp, 140)
    page.y -= 10
    for line in textwrap.wrap(sheet.totp, 84):
        page.write(line, "Fixed", 8, space=2)
    return document(page.stream)


def document(stream: pydyf.Stream) -> bytes:
    """A PDF of one page with this content."""
    made = pydyf.PDF()
    fonts = pydyf.Dictionary()
    for name, base in (("Sans", "Helvetica"), ("Bold", "Helvetica-Bold"), ("Fixed", "Courier")):
        kind = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": f"/{base}", "Encoding": "/WinAnsiEncoding"}
        font = pydyf.Dictionary(kind)
        made.add_object(font)
        fonts[name] = font.reference
    made.add_object(stream)
    made.info["Title"] = pydyf.String(TITLE)
    made.catalog["Lang"] = pydyf.String("fr-FR")
    page = {
        "Type": "/Page",
        "Parent": made.pages.reference,
        "MediaBox": pydyf.Array([0, 0, *A4]),
        "Contents": stream.reference,
        "Resources": pydyf.Dictionary({"Font": fonts}),
    }
    made.add_page(pydyf.Dictionary(page))
    written = io.BytesIO()
    made.write(written)
    return written.getvalue()

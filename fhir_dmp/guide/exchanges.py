"""An exchange that took place, on a page: who asks, the request in four notations, the answer as it came.

https://www.rfc-editor.org/rfc/rfc9110#name-example-message-exchange
"""

import json
import shlex

from jinja2 import Environment

from fhir_dmp.guide import snippets
from fhir_dmp.guide.holding import Held
from fhir_dmp.guide.layout import pretty
from fhir_dmp.guide.writing import coloured

# Of an answer, what a page shows at most, in lines.
MOST_LINES = 400


def html(held: Held, language: str, templates: Environment) -> str:
    """The section of a page."""
    asked, answer = held.asked, held.answer
    panels = [("HTTP", coloured(request(held), "http"))]
    panels += [(shown, coloured(text, name)) for shown, name, text in snippets.all_of(asked)]
    return templates.get_template("exchange.html").render(
        name=asked.name,
        title=asked.title.get(language, ""),
        by=held.person[language] if held.person else "",
        token=[shlex.quote(word) for word in held.person["token"]] if held.person else [],
        run=asked.run,
        panels=panels,
        status=answer.status,
        reason=answer.reason,
        answer=coloured(response(held), "http"),
    )


def request(held: Held) -> str:
    """As it travels; the token is left out, the body laid out for people."""
    asked = held.asked
    head = [f"{asked.method} {'' if asked.outside else '/fhir'}{asked.path} HTTP/1.1", "Host: dmp.example.org"]
    head += ["Authorization: Bearer $TOKEN"] if held.person else []
    head += [f"{name}: {value}" for name, value in asked.headers]
    return "\n".join(head) + (f"\n\n{laid_out(asked.body)}" if asked.body else "")


def response(held: Held) -> str:
    """Status line, the headers that matter, body."""
    answer = held.answer
    head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    head += [f"{'-'.join(part.capitalize() for part in name.split('-'))}: {value}" for name, value in answer.headers.items()]
    lines = laid_out(answer.body).split("\n")
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], "..."]
    return "\n".join(head) + ("\n\n" + "\n".join(lines) if answer.body else "")


def laid_out(body: str) -> str:
    """JSON on several lines; anything else as it is."""
    try:
        return pretty(json.loads(body))
    except ValueError:
        return body

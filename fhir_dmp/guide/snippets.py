"""An exchange as a developer would write it: curl, Python (httpx), JavaScript (fetch).

https://hl7.org/fhir/R4/http.html
"""

import json
import shlex

from fhir_dmp.guide.conversations import Exchange

LANGUAGES = (("curl", "bash"), ("Python", "python"), ("JavaScript", "javascript"))


def curl(asked: Exchange) -> str:
    """For a POSIX shell in which BASE and TOKEN are set."""
    lines = ["curl" if asked.method == "GET" else f"curl -X {asked.method}"]
    lines[0] += f' "{"${BASE%/fhir}" if asked.outside else "$BASE"}{escaped(asked.path)}"'
    if asked.who:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in asked.headers]
    if asked.body:
        lines.append(f"--data-binary {shlex.quote(asked.body)}")
    return " \\\n  ".join(lines)


def python(asked: Exchange) -> str:
    """For a program in which BASE and TOKEN are set."""
    lines = ["import httpx", ""]
    base = 'BASE.removesuffix("/fhir")' if asked.outside else "BASE"
    inner = [f'"{asked.method}"', f'{base} + "{asked.path}"', f"headers={{{python_headers(asked)}}}"]
    if asked.body:
        lines += [f"body = {python_body(asked)}"]
        inner.append("json=body" if plain_json(asked) else "content=body")
    lines += ["answer = httpx.request(", *(f"    {each}," for each in inner), ")", "print(answer.status_code, answer.text)"]
    return "\n".join(lines)


def javascript(asked: Exchange) -> str:
    """For a browser or Node.js, in a module in which BASE and TOKEN are set."""
    headers = [f'"{name}": "{value}"' for name, value in asked.headers]
    if asked.who:
        headers.insert(0, '"Authorization": `Bearer ${TOKEN}`')
    options = (
        [f'method: "{asked.method}"', "headers: {\n    " + ",\n    ".join(headers) + "\n  }"] if headers else [f'method: "{asked.method}"']
    )
    if asked.body:
        text = indented(asked.body) if is_json(asked) else json.dumps(asked.body, ensure_ascii=False)
        options.append(f"body: JSON.stringify({text})" if is_json(asked) else f"body: {text}")
    base = 'BASE.replace(/\\/fhir$/, "")' if asked.outside else "BASE"
    return (
        f'const answer = await fetch({base} + "{asked.path}", {{\n  '
        + ",\n  ".join(options)
        + "\n});\nconsole.log(answer.status, await answer.text());"
    )


def python_headers(asked: Exchange) -> str:
    pairs = ['"Authorization": f"Bearer {TOKEN}"'] if asked.who else []
    return ", ".join([*pairs, *(f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in asked.headers)])


def python_body(asked: Exchange) -> str:
    if plain_json(asked):
        return asked.body.replace(": true", ": True").replace(": false", ": False").replace(": null", ": None")
    return f'"""{asked.body}"""'


def plain_json(asked: Exchange) -> bool:
    """Whether the body can be written as a Python value word for word."""
    return is_json(asked) and 'true"' not in asked.body and '"""' not in asked.body


def is_json(asked: Exchange) -> bool:
    return any(name.lower() == "content-type" and "json" in value for name, value in asked.headers)


def indented(body: str) -> str:
    return body.replace("\n", "\n  ")


def escaped(path: str) -> str:
    """A path inside double quotes of a shell."""
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")


def all_of(asked: Exchange) -> list[tuple[str, str, str]]:
    """(name shown, name for the highlighter, text) for each language."""
    return [(*LANGUAGES[0], curl(asked)), (*LANGUAGES[1], python(asked)), (*LANGUAGES[2], javascript(asked))]

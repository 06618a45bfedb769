#!/usr/bin/env python3
"""Play FHIR TestScripts of DMP transactions against any server: conformance.py BASE_URL TOKEN... [options]

Standard library only. TOKEN: a physician who deposits, the holder of the dossier, a physician who does not know the patient, in this order.
https://hl7.org/fhir/R4/testscript.html ; exit 0 when everything passes, 1 when something fails, 2 for a wrong command.
"""

import argparse
import base64
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

SCRIPTS = Path(__file__).resolve().parents[1] / "profiles"
TIMEOUT = 60
# R4 names of answers; https://hl7.org/fhir/R4/valueset-assert-response-code-types.html
STATUSES = {
    "okay": 200,
    "created": 201,
    "noContent": 204,
    "notModified": 304,
    "bad": 400,
    "forbidden": 403,
    "notFound": 404,
    "methodNotAllowed": 405,
    "conflict": 409,
    "gone": 410,
    "preconditionFailed": 412,
    "unprocessable": 422,
}
METHODS = {"read": "GET", "vread": "GET", "search": "GET", "history": "GET", "capabilities": "GET"} | {
    "create": "POST",
    "transaction": "POST",
    "batch": "POST",
    "update": "PUT",
    "updateCreate": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
SLOT = re.compile(r"\$\{([\w-]+)\}")


class Failed(Exception):
    """An assertion that does not hold, or an action that cannot be done."""


class Answer(NamedTuple):
    """headers: names in lower case. body: as text."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def resource(self) -> Any:
        return json.loads(self.body) if "json" in self.headers.get("content-type", "") and self.body else None


# ---- the part of FHIRPath that the scripts use


TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(\d+(?:\.\d+)?)|([A-Za-z_]\w*|\$this)|(!=|>=|<=|[=<>().,\[\]]))")


class Expression:
    """An expression: paths, [n], where(), exists(), empty(), count(), first(), last(), not(), startsWith(), =, !=, <, >, in, and, or."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, at = text, [], 0
        while at < len(text.rstrip()):
            if not (found := TOKEN.match(text, at)):
                raise Failed(f"cannot read the expression {text}")
            self.tokens.append(found[0].strip())
            at = found.end()
        self.at = 0

    def of(self, focus: Any) -> list:
        """What it selects."""
        self.at = 0
        found = self.either([focus])
        if self.at < len(self.tokens):
            raise Failed(f"cannot read the expression {self.text} from {self.tokens[self.at]}")
        return found

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token:
            raise Failed(f"the expression {self.text} ends too soon")
        if wanted and token != wanted:
            raise Failed(f"cannot read the expression {self.text}: {wanted} is missing")
        self.at += 1
        return token

    def either(self, focus: list) -> list:
        value = self.both(focus)
        while self.peek() == "or":
            self.take()
            other = self.both(focus)
            value = [truth(value) or truth(other)]
        return value

    def both(self, focus: list) -> list:
        value = self.compared(focus)
        while self.peek() == "and":
            self.take()
            other = self.compared(focus)
            value = [truth(value) and truth(other)]
        return value

    def compared(self, focus: list) -> list:
        value = self.path(focus)
        if self.peek() in ("=", "!=", "<", ">", "<=", ">=", "in"):
            sign = self.take()
            other = self.path(focus)
            if sign == "in":
                return [bool(value) and value[0] in other]
            if not value or not other:
                return []
            left, right = value[0], other[0]
            return [{"=": value == other, "!=": value != other}[sign] if sign in ("=", "!=") else ordered(left, sign, right)]
        return value

    def path(self, focus: list) -> list:
        value = self.term(focus)
        while self.peek() in (".", "["):
            if self.take() == "[":
                index = int(self.take())
                self.take("]")
                value = value[index : index + 1]
            else:
                value = self.step(value, self.take())
        return value

    def term(self, focus: list) -> list:
        token = self.take()
        if token == "(":
            value = self.either(focus)
            self.take(")")
            return value
        if token.startswith("'"):
            return [token[1:-1].replace("\\'", "'")]
        if token[:1].isdigit():
            return [float(token) if "." in token else int(token)]
        if token in ("true", "false"):
            return [token == "true"]
        if token == "$this":
            return focus
        if token[:1].isupper() and all(isinstance(one, dict) and one.get("resourceType") for one in focus):
            return [one for one in focus if one["resourceType"] == token]
        return self.step(focus, token)

    def step(self, value: list, name: str) -> list:
        if self.peek() != "(":
            found = [one[name] for one in value if isinstance(one, dict) and name in one]
            return [part for one in found for part in (one if isinstance(one, list) else [one])]
        self.take("(")
        start = self.at
        if name in ("where", "exists", "all") and self.peek() != ")":
            kept = []
            for one in value:
                self.at = start
                if truth(self.either([one])):
                    kept.append(one)
            if not value:
                self.skip()
            self.take(")")
            return kept if name == "where" else [bool(kept)] if name == "exists" else [len(kept) == len(value)]
        argument = self.either(value) if self.peek() != ")" else []
        self.take(")")
        match name:
            case "exists" | "empty":
                return [bool(value) == (name == "exists")]
            case "count":
                return [len(value)]
            case "first" | "last":
                return value[:1] if name == "first" else value[-1:]
            case "not":
                return [not truth(value)] if value else []
            case "startsWith" | "contains" | "endsWith":
                return (
                    [{"startsWith": str.startswith, "contains": str.__contains__, "endsWith": str.endswith}[name](value[0], argument[0])]
                    if value
                    else []
                )
        raise Failed(f"the function {name}() is not known here")

    def skip(self) -> None:
        """Over an argument that nothing is asked of."""
        depth = 0
        while depth or self.peek() != ")":
            depth += {"(": 1, ")": -1}.get(self.take(), 0)


def truth(value: list) -> bool:
    return bool(value) and value[0] is not False


def ordered(left: Any, sign: str, right: Any) -> bool:
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign]


def shown(value: Any) -> str:
    """A value as the text that scripts compare with."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---- one script


class Run:
    """One TestScript against one server. log: one line for each action: (section, what, "pass", "fail", "warning", why)."""

    def __init__(self, script: dict, base: str, given: dict[str, str], verbose: bool) -> None:
        self.script, self.base, self.verbose = script, base.rstrip("/"), verbose
        self.given = given
        self.fixtures = {one["id"]: self.contained(one["resource"]["reference"]) for one in script.get("fixture", ())}
        self.answers: dict[str, Answer] = {}
        self.latest: Answer | None = None
        self.log: list[tuple[str, str, str, str]] = []

    def contained(self, reference: str) -> dict:
        found = next((one for one in self.script.get("contained", ()) if f"#{one['id']}" == reference), None)
        if found is None:
            raise Failed(f"the script has no fixture {reference}")
        return found

    def play(self) -> bool:
        """Whether everything passed. A setup that fails ends the script; a test that fails ends that test."""
        sound = self.actions("setup", self.script.get("setup", {}).get("action", ()))
        for test in self.script.get("test", ()) if sound else ():
            sound = self.actions(test.get("name", "test"), test["action"]) and sound
        self.actions("teardown", self.script.get("teardown", {}).get("action", ()))
        return not any(result == "fail" for _, _, result, _ in self.log)

    def actions(self, section: str, actions: list[dict]) -> bool:
        for action in actions:
            one = action.get("operation") or action["assert"]
            what = one.get("description") or one.get("label") or ("operation" if "operation" in action else "assert")
            try:
                self.operate(one) if "operation" in action else self.judge(one)
                self.log.append((section, what, "pass", ""))
            except Failed as error:
                self.log.append((section, what, "warning" if one.get("warningOnly") else "fail", str(error)))
                if not one.get("warningOnly"):
                    return False
        return True

    def value(self, name: str) -> str:
        """Of a variable: given from outside, taken from an answer, or its default."""
        if name in self.given:
            return self.given[name]
        known = next((one for one in self.script.get("variable", ()) if one["name"] == name), None)
        if known is None:
            raise Failed(f"the script has no variable {name}")
        answer = self.answers.get(known.get("sourceId", ""))
        if answer is not None and "headerField" in known:
            if known["headerField"].lower() in answer.headers:
                return answer.headers[known["headerField"].lower()]
        elif answer is not None and "expression" in known and (found := Expression(self.filled(known["expression"])).of(answer.resource)):
            return shown(found[0])
        if "defaultValue" in known:
            return known["defaultValue"]
        raise Failed(f"the variable {name} has no value: {known.get('hint', 'nothing to take it from')}")

    def filled(self, text: str) -> str:
        while (after := SLOT.sub(lambda found: self.value(found[1]), text)) != text:
            text = after
        return text

    def operate(self, one: dict) -> None:
        """Send a request; its answer is remembered by responseId."""
        code = one.get("type", {}).get("code", "")
        method = one["method"].upper() if "method" in one else METHODS.get(code, "POST")
        target = self.filled(one["url"]) if "url" in one else self.base + self.path(one, code)
        headers = {"Accept": one.get("accept", "application/fhir+json")}
        headers |= {header["field"]: self.filled(header["value"]) for header in one.get("requestHeader", ())}
        body = None
        if "sourceId" in one and method in ("POST", "PUT", "PATCH"):
            fixture = self.fixtures[one["sourceId"]]
            if fixture["resourceType"] == "Binary" and one.get("resource") != "Binary":
                # What is no valid resource, a patch or a fault, travels in a Binary.
                text = base64.b64decode(fixture["data"]).decode()
            else:
                text = json.dumps({name: value for name, value in fixture.items() if name != "id"}, ensure_ascii=False)
            body = self.filled(text)
            headers["Content-Type"] = one.get("contentType", "application/fhir+json")
        self.latest = send(method, target, headers, body)
        if self.verbose:
            print(f"  > {method} {target}\n  < {self.latest.status} {self.latest.body[:400]}", file=sys.stderr)
        if "responseId" in one:
            self.answers[one["responseId"]] = self.latest

    def path(self, one: dict, code: str) -> str:
        """Below the base: resource type, then parameters or the id of an earlier answer."""
        kind = f"/{one['resource']}" if "resource" in one else ""
        if "params" in one:
            return kind + self.filled(one["params"])
        if "targetId" in one:
            resource = self.answers[one["targetId"]].resource
            return f"/{resource['resourceType']}/{resource['id']}"
        return kind

    def judge(self, one: dict) -> None:
        """Raise Failed unless the assertion holds."""
        answer = self.answers[one["sourceId"]] if "sourceId" in one else self.latest
        if answer is None:
            raise Failed("there is no answer to judge")
        sign, wanted = one.get("operator", "equals"), self.filled(one.get("value", ""))
        if "response" in one:
            self.hold(str(answer.status), "equals", str(STATUSES[one["response"]]), answer)
        elif "responseCode" in one:
            self.hold(str(answer.status), sign, one["responseCode"], answer)
        elif "resource" in one:
            self.hold((answer.resource or {}).get("resourceType", ""), sign, one["resource"], answer)
        elif "contentType" in one:
            self.hold(answer.headers.get("content-type", "").partition(";")[0], sign, one["contentType"], answer)
        elif "headerField" in one:
            self.hold(answer.headers.get(one["headerField"].lower(), ""), sign, wanted, answer)
        elif "expression" in one:
            found = Expression(self.filled(one["expression"])).of(answer.resource)
            if "compareToSourceId" in one:
                other = Expression(self.filled(one["compareToSourceExpression"])).of(self.answers[one["compareToSourceId"]].resource)
                self.hold(shown(found), sign, shown(other), answer)
                return
            if "value" in one or "operator" in one:
                self.hold(shown(found[0]) if found else "", sign, wanted, answer)
            elif not truth(found):
                raise Failed(f"{one['expression']} does not hold in {answer.body[:400]}")
        else:
            raise Failed("this kind of assertion is not known here")

    def hold(self, value: str, sign: str, wanted: str, answer: Answer) -> None:
        held = {
            "equals": value == wanted,
            "notEquals": value != wanted,
            "in": value in [each.strip() for each in wanted.split(",")],
            "notIn": value not in [each.strip() for each in wanted.split(",")],
            "contains": wanted in value,
            "notContains": wanted not in value,
            "empty": value == "",
            "notEmpty": value != "",
            "greaterThan": number(value) > number(wanted),
            "lessThan": number(value) < number(wanted),
        }
        if sign not in held:
            raise Failed(f"the operator {sign} is not known here")
        if not held[sign]:
            raise Failed(f"`{value[:200]}` instead of {sign} `{wanted[:200]}`: {answer.status} {answer.body[:400]}")

    def report(self, passed: bool) -> dict:
        """A TestReport."""
        made: dict[str, list] = {}
        for section, what, result, why in self.log:
            action = {"result": result, "message": f"{what}: {why}" if why else what}
            made.setdefault(section, []).append({"operation": action})
        tests = [{"name": name, "action": actions} for name, actions in made.items() if name not in ("setup", "teardown")]
        parts = {name: {"action": made[name]} for name in ("setup", "teardown") if name in made}
        return {
            "resourceType": "TestReport",
            "status": "completed",
            "testScript": {"reference": self.script["url"]},
            "result": "pass" if passed else "fail",
            "issued": datetime.now(UTC).isoformat(timespec="seconds"),
            "participant": [{"type": "server", "uri": self.base}],
            **parts,
            **({"test": tests} if tests else {}),
        }


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def send(method: str, url: str, headers: dict[str, str], body: str | None) -> Answer:
    """One request. Refusals are answers too."""
    url = urllib.parse.quote(url, safe=":/?&=$,;@!*'()~%+-._#[]")
    request = urllib.request.Request(url, body.encode() if body is not None else None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return Answer(response.status, lower(response.headers), response.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return Answer(error.code, lower(error.headers), error.read().decode("utf-8", "replace"))
    except OSError as error:
        raise Failed(f"{url} does not answer: {error}") from None


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# ---- all scripts


def claims(token: str) -> dict:
    """What a token says of itself; {} for one that is no JWT. Nothing is checked: that is the server's work."""
    part = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}


def variables(tokens: list[str], settings: list[str]) -> dict[str, str]:
    """Values that scripts may name: tokens, what they say, a fresh identifier, and what the command line sets."""
    given = {"run": str(uuid.uuid4())}
    for number, token in enumerate(tokens, 1):
        said = claims(token)
        given[f"token{number}"] = token
        if "SubjectNameID" in said:
            given[f"idnps{number}"] = said["SubjectNameID"]
        if "|" in str(said.get("ins", "")):
            system, _, given["ins"] = said["ins"].partition("|")
            given["ins-urn"] = system.removeprefix("urn:")
    for setting in settings:
        name, _, value = setting.partition("=")
        given[name] = value
    return given


def main() -> int:
    parser = argparse.ArgumentParser(description="Play FHIR TestScripts of DMP transactions against any server.")
    parser.add_argument("base", metavar="BASE_URL", help="FHIR base, e.g. https://dmp.example.org/fhir")
    parser.add_argument(
        "tokens", metavar="TOKEN", nargs="+", help="a physician who deposits, the holder, a physician unknown to the patient"
    )
    parser.add_argument("--scripts", type=Path, default=SCRIPTS, help="folder of TestScript-*.json (default: %(default)s)")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="only scripts whose id contains NAME")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="value of a variable")
    parser.add_argument("--report", type=Path, help="write TestReports there, as NDJSON")
    parser.add_argument("--verbose", action="store_true", help="show every request and the beginning of its answer")
    options = parser.parse_args()
    paths = [
        path
        for path in sorted(options.scripts.glob("TestScript-*.json"))
        if not options.only or any(one in path.stem for one in options.only)
    ]
    if not paths:
        parser.error(f"there is no such TestScript in {options.scripts}")
    given, reports, failed = variables(options.tokens, options.set), [], 0
    for path in paths:
        run = Run(json.loads(path.read_text("utf-8")), options.base, given, options.verbose)
        passed = run.play()
        failed += not passed
        reports.append(run.report(passed))
        print(f"{'pass' if passed else 'FAIL'}  {run.script['id']}  {run.script.get('title', '')}")
        for section, what, result, why in run.log:
            if result != "pass":
                print(f"      {result}: {section}: {what}: {why}")
    if options.report:
        options.report.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in reports), "utf-8")
    print(f"{len(paths) - failed} of {len(paths)} scripts pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

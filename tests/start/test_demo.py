"""The demonstration: told by a server that is asked to, once it serves; the same when it is told again."""

import re

from tests.serving import run, serving


def exported(text: str) -> dict[str, str]:
    """NAME -> value of the lines for a shell, tokens left out: they are new each time."""
    return {name: value for name, value in re.findall(r"^export (\w+)=([a-z2-7]{26})$", text, re.MULTILINE)}


def tokens(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(ey\S+)$", text, re.MULTILINE))


def test_it_is_told_once_the_server_serves_and_changes_nothing_the_second_time(tmp_path):
    with serving(tmp_path, "--demo", sandbox=False) as server:
        first = ""
        while not tokens(first):  # they come last
            line = server.process.stdout.readline()
            assert line, server.logged()
            first += line
        assert first.startswith("# who is who") and "ANNA" in first.splitlines()[1]
        second = run("demo", "--data", str(server.data))
        assert second.returncode == 0, second.stderr
        told, again = exported(first), exported(second.stdout)
        assert {name for name in told if name.endswith("_ID")} == {f"{name}_ID" for name in ("LINA", "JEAN", "SOFIA", "PAUL", "EMMA")}
        # Of a dossier that is closed no document is named again.
        assert again == {name: told[name] for name in again}
        for holder in ("PAUL", "EMMA"):  # nobody is shown a dossier that is closed
            path = f"/fhir/DocumentReference?patient={told[holder + '_ID']}"
            answer = server.client.get(path, headers={"Authorization": f"Bearer {tokens(second.stdout)['ANNA']}"})
            assert answer.status_code == 403
        assert server.stop() == 0
        assert tokens(first + server.process.stdout.read()).keys() == tokens(second.stdout).keys()

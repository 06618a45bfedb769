"""The demonstration: told once, the same when it is told again; served with --demo."""

import re

from tests.serving import run, serving


def exported(text: str) -> dict[str, str]:
    """NAME -> value of the lines for a shell, tokens left out: they are new each time."""
    return {name: value for name, value in re.findall(r"^export (\w+)=([a-z2-7]{26})$", text, re.MULTILINE)}


def test_the_demonstration_is_told_once_and_changes_nothing_the_second_time(tmp_path):
    with serving(tmp_path, sandbox=False) as server:
        first, second = run("demo", "--data", str(server.data)), run("demo", "--data", str(server.data))
        assert first.returncode == second.returncode == 0, first.stderr + second.stderr
        told, again = exported(first.stdout), exported(second.stdout)
        assert {name for name in told if name.endswith("_ID")} == {f"{name}_ID" for name in ("LINA", "JEAN", "SOFIA", "PAUL", "EMMA")}
        assert {name: told[name] for name in again} == again
        tokens = dict(re.findall(r"^export (\w+)=(ey\S+)$", first.stdout, re.MULTILINE))
        for holder in ("PAUL", "EMMA"):  # nobody is shown a dossier that is closed
            path = f"/fhir/DocumentReference?patient={told[holder + '_ID']}"
            assert server.client.get(path, headers={"Authorization": f"Bearer {tokens['ANNA']}"}).status_code == 403


def test_serve_tells_it_once_it_serves(tmp_path):
    with serving(tmp_path, "--demo", sandbox=False) as server:
        told = [server.process.stdout.readline() for _ in range(3)]
        assert told[0].startswith("# who is who") and "ANNA" in told[1], server.logged()

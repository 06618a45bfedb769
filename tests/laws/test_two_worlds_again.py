"""The other half of the histories of the two-world test, in a file of its own: files are shared out among processes. access-rules 6"""

from tests.laws.test_two_worlds import hold, runner, worlds  # noqa: F401  fixtures


def test_what_is_hidden_changes_no_answer(runner, worlds, histories, pytestconfig):  # noqa: F811
    hold(runner, worlds, histories(46, 1_000), pytestconfig.getoption("--laws"), 2)

"""A source brings a document together with its own contents: what came for one person stays his."""

from tests.exchange.test_other_person import held, opened
from tests.exchange.test_sources import Sender, command, issues, load, server, world  # noqa: F401  fixtures
from tests.interactions.making import bundle, entry


def test_a_document_comes_with_no_content_of_somebody_else(load, world):  # noqa: F811
    """It would be in a dossier where its holder reads it not, and hides it not."""
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender, other = Sender(world, first), Sender(world, second)
    own = sender.document("a", description="a"), sender.binary("a")
    assert load(sender.patient(), sender.practitioner(), other.patient(), other.practitioner(), *own)[0] == 0
    wrong = other.document("b", description="b", content=own[0]["content"])
    for sent, name in ((wrong, "b.ndjson"), (bundle("transaction", entry("POST", "DocumentReference", wrong)), "t.json")):
        code, (line, *_), _ = load(sent, name=name)
        assert (code, line["status"]) == (3, 422) and "came for somebody else" in issues(line), line
    assert (held(world, first), held(world, second)) == (["a"], [])
    right = {**wrong, "content": other.document("b")["content"]}
    assert load(right, other.binary("b"), name="r.ndjson")[0] == 0

"""What tests of the store share."""

import pytest


@pytest.fixture
def folder(tmp_path):
    """A data folder of this test's own."""
    folder = tmp_path / "host"
    folder.mkdir(mode=0o700)
    return folder

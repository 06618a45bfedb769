"""One server for real use, shared by the tests of this room."""

from tests.access.conftest import access_server, world

__all__ = ["access_server", "world"]

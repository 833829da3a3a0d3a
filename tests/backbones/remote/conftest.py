"""Every test here has a cache of its own; see remote_place.py."""

import pytest
from remote_place import opened, own

__all__ = ["opened", "own"]


@pytest.fixture(autouse=True)
def nothing_of_the_user_s(own):
    """Also in tests that do not ask for it."""

import pytest
from hypothesis import settings


@pytest.fixture
def default_profile():
    """Twenty examples, always the same ones, whatever profile the tests run with."""
    profile = settings.get_current_profile_name()
    settings.load_profile("default")
    yield
    settings.load_profile(profile)

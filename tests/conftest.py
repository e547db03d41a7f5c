import os

import hypothesis
import pytest
import torch

# "long" tries what a coffee break allows; "quick" is what every run can afford, and draws the same
# each time: whether a change passes depends on the change.
hypothesis.settings.register_profile("quick", max_examples=30, deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", max_examples=2_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread_each():
    """Two test processes with two threads each would wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _threads_as_before():
    """Commands and benchmarks set how many there are."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fresh_dynamo():
    """Nothing that another test had compiled, and nothing left of what this one has."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def default_profile():
    """Hypothesis's own profile, by which the kit takes twenty examples, always the same ones."""
    profile = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.load_profile("default")
    yield
    hypothesis.settings.load_profile(profile)


# Read by mypy, not run.
collect_ignore = ["typing"]

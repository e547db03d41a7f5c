"""Searches for the config and the recipe whose loss is least, with Optuna."""

from typedwave.lab.sweeps.search import Search
from typedwave.lab.sweeps.space import Choices, Range
from typedwave.lab.sweeps.storage import SweepError
from typedwave.lab.sweeps.sweep import Sweep, read_sweep
from typedwave.lab.sweeps.trials import Trial, ranked, write_trials

__all__ = [
    "Choices",
    "Range",
    "Search",
    "Sweep",
    "SweepError",
    "Trial",
    "ranked",
    "read_sweep",
    "write_trials",
]

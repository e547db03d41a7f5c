"""The samplers and pruners of Optuna, by name."""

import inspect
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

__all__ = ["Pruner", "Sampler", "pruner_of", "quiet", "sampler_of"]

Sampler = Literal["tpe", "random", "grid", "qmc", "gp", "cmaes"]
"""Who chooses the values of a trial."""

Pruner = Literal["none", "median", "percentile", "halving", "hyperband", "threshold"]
"""Who ends a trial that does not look good."""

_SAMPLERS: Final = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "qmc": "QMCSampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
}
_LIKE: Final = {bool: (bool,), int: (int,), float: (int, float)}
_NEEDS: Final = {"cmaes": "cmaes", "gp": "scipy", "qmc": "scipy"}
_PRUNERS: Final = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna neither logs what is no error, nor says that something is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def pruner_of(name: Pruner, options: Mapping[str, Any]) -> BasePruner:
    """The pruner with these options.

    Raises:
        ValueError: It has no such options.
    """
    ours = {"percentile": 25.0} if name == "percentile" else {}
    cls = getattr(optuna.pruners, _PRUNERS[name])
    found: BasePruner = _made("pruner", name, cls, ours, options)
    return found


def sampler_of(
    name: Sampler,
    options: Mapping[str, Any],
    *,
    seed: int,
    number: int,
    grid: Sequence[Mapping[str, Any]],
) -> BaseSampler:
    """The sampler of one trial.

    Each trial has one of its own, for its draws to depend on its number and on the trials before
    it, and not on who draws.

    Args:
        name: Of the sampler.
        options: Of it.
        seed: Of the sweep.
        number: Of the trial, from 1.
        grid: The values of each trial, for the sampler grid.

    Raises:
        ValueError: It has no such options, or needs a package that is not installed.
    """
    if name == "grid":
        _check_options("sampler", name, options, {})
        order = random.Random(seed).sample(range(len(grid)), len(grid))
        return _Given(grid[order[(number - 1) % len(grid)]])
    own = random.Random(f"{seed} {number}").getrandbits(32)
    ours: dict[str, Any] = {"seed": own}
    if name == "qmc":  # a point of one sequence for all; what is not in it is drawn
        ours = {"seed": seed, "independent_sampler": RandomSampler(own)}
    elif name == "tpe":
        ours["constant_liar"] = True  # other workers are near there already
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        raise ValueError(
            f"the sampler {name} needs a package that is not installed: pip install {_NEEDS[name]}"
        )
    cls = getattr(optuna.samplers, _SAMPLERS[name])
    found: BaseSampler = _made("sampler", name, cls, ours, options)
    return found


def _made(
    what: str, name: str, cls: Any, ours: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    takes = {n: p.default for n, p in inspect.signature(cls).parameters.items() if n != "seed"}
    _check_options(what, name, options, takes)
    try:
        with quiet():
            return cls(**{**ours, **options})
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {what} {name}: {error}") from None


def _check_options(
    what: str, name: str, options: Mapping[str, Any], takes: Mapping[str, Any]
) -> None:
    """Refuses an option that is not there, or is of another type than its default."""
    for option, value in options.items():
        if option not in takes:
            there = f"there are {', '.join(takes)}" if takes else "it has none"
            raise ValueError(f"the {what} {name} has no option {option!r}; {there}")
        if type(value) not in (bool, int, float, str):
            raise ValueError(
                f"{option} of the {what} {name} is {value!r}, but has to be a number, a string, "
                "true or false"
            )
        like = takes[option]
        if type(value) not in _LIKE.get(type(like), (type(value),)):
            raise ValueError(
                f"{option} of the {what} {name} is {value!r}, but has to be like its default, "
                f"{like!r}"
            )


class _Given(BaseSampler):
    """Draws what is given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._values[param_name]

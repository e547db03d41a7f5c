"""What a config may hold."""

from typing import Any

__all__ = ["check_choice", "check_counts", "check_share"]


def check_choice(name: str, value: Any, *choices: str) -> None:
    """Refuses what is none of the choices.

    Raises:
        ValueError: It is not.
    """
    if value not in choices:
        there = f"there are {', '.join(choices[:-1])} and {choices[-1]}"
        raise ValueError(
            f"{name} is {value!r}, but {there if len(choices) > 1 else f'it is {choices[0]}'}"
        )


def check_counts(config: Any, **least: int) -> None:
    """Refuses fields of a config that are no whole numbers, or too small.

    Raises:
        ValueError: One is.
    """
    for name, low in least.items():
        value = getattr(config, name)
        if type(value) is not int:
            raise ValueError(f"{name} is {value!r}, but has to be a whole number")
        if value < low:
            raise ValueError(f"{name} is {value}, but has to be at least {low}")


def check_share(name: str, value: Any) -> None:
    """Refuses what is not at least 0 and less than 1.

    Raises:
        ValueError: It is not.
    """
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}, but has to be at least 0 and less than 1")

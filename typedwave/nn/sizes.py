"""Sizes that layers are made with."""

__all__ = ["check_sizes"]


def check_sizes(layer: str, least: int, **sizes: object) -> None:
    """Refuses what is no size.

    Args:
        layer: Whose arguments they are.
        least: The smallest that makes sense.
        sizes: By the names of the arguments.

    Raises:
        ValueError: One is not a whole number, or less than the least.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < least:
            raise ValueError(
                f"{layer}: {name} is {size!r}, but has to be a whole number of at least {least}"
            )

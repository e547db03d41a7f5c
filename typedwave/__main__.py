"""``python -m typedwave``, and the command ``typedwave``."""

import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line, or says what it needs."""
    try:
        from typedwave.cli import run

        return run(sys.argv[1:])
    except ModuleNotFoundError as error:  # also of what a command imports when it is asked for
        needs = "pip install 'typedwave[lab]'"
        print(f"typedwave: the command line needs {error.name}: {needs}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # while the command was imported


if __name__ == "__main__":
    sys.exit(main())

"""``python -m typedwave``, and the command ``typedwave``."""

import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line, or says what it needs."""
    try:
        from typedwave.cli import run
    except ModuleNotFoundError as error:
        needs = "pip install 'typedwave[lab]'"
        print(f"typedwave: the command line needs {error.name}: {needs}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # while torch was imported
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

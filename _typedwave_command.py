"""The command ``typedwave``, which Ctrl-C ends also while torch is imported for a second."""

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line; Ctrl-C before it runs ends the process, as it does any."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # whose interrupt an import may swallow
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from typedwave.__main__ import main

    signal.signal(signal.SIGINT, before)
    return main()


if __name__ == "__main__":
    sys.exit(main())

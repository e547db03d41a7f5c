"""The pytest option ``--typedwave-packages``.

Every run of pytest where typedwave is installed imports this module. It is outside of the package,
and imports nothing of it before the option is used, since that would import torch.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typedwave.contract.importing import ImportHook

_HOOK: pytest.StashKey["ImportHook"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option, and its setting of the same name for a configuration file."""
    parser.getgroup("typedwave").addoption(
        "--typedwave-packages",
        metavar="NAMES",
        help="packages whose annotated functions and modules typedwave checks, with commas "
        "between them; instead of those in the configuration",
    )
    about = "packages whose annotated functions and modules typedwave checks, one a line"
    parser.addini("typedwave_packages", about, type="linelist")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Installs the import hook before any conftest is imported."""
    option = early_config.known_args_namespace.typedwave_packages
    packages = early_config.getini("typedwave_packages") if option is None else option.split(",")
    names = [name.strip() for name in packages if name.strip()]
    if not names:
        return
    from typedwave.contract.importing import install_import_hook

    try:
        hook = install_import_hook(*names)
    except (ValueError, UserWarning) as error:  # a warning where the configuration wants errors
        raise pytest.UsageError(f"typedwave_packages: {error}") from None
    early_config.stash[_HOOK] = hook
    early_config.add_cleanup(hook.uninstall)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Says what is checked."""
    hook = config.stash.get(_HOOK, None)
    return None if hook is None else f"typedwave: checks {', '.join(hook.packages)}"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says so if a package was never imported: its name may have been mistyped.

    The tests of pytest-xdist run in other processes, which do not tell.
    """
    hook = config.stash.get(_HOOK, None)
    if hook is None or config.getoption("dist", "no") != "no":
        return
    missing = [name for name in hook.packages if name not in hook.found]
    if missing:
        terminalreporter.write_line(f"typedwave: never imported: {', '.join(missing)}")

"""The pytest options ``--typedwave-packages`` and ``--typedwave-module``, and what they report.

Every run of pytest where typedwave is installed imports this module. It is outside of the package,
and imports nothing of it before the option is used, since that would import torch.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typedwave.contract.importing import ImportHook
    from typedwave.testing.checker import Checker

_HOOK: pytest.StashKey["ImportHook"] = pytest.StashKey()
_CHECKERS: pytest.StashKey[dict[str, "Checker"]] = pytest.StashKey()


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
    parser.getgroup("typedwave").addoption(
        "--typedwave-module",
        metavar="PACKAGE.MODULE:FACTORY",
        action="append",
        default=[],
        help="a module, or what makes one, that gets a test for each law; can be repeated",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker of the tests of laws."""
    config.addinivalue_line("markers", "typedwave: a law of typedwave.testing, tried on a module")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Loads the modules of the option, before pytest-xdist starts its workers."""
    targets = dict.fromkeys(session.config.getoption("typedwave_module"))
    if targets:
        from typedwave.testing.items import checker_of

        session.config.stash[_CHECKERS] = {target: checker_of(target) for target in targets}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Adds a test for each law and module of the option."""
    for target, checker in config.stash.get(_CHECKERS, {}).items():
        from typedwave.testing.items import law_items

        added = [*law_items(session, target, checker)]
        items += added
        collected = pytest.CollectReport(target, "passed", None, [*added])
        config.hook.pytest_collectreport(report=collected)


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
    """Says which laws hold for which module, and which package was never imported."""
    _report_laws(terminalreporter)
    _report_missing(terminalreporter, config)


def _report_laws(terminalreporter: Any) -> None:
    modules: dict[str, dict[str, list[str]]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "call":
                continue
            for name, value in getattr(report, "user_properties", ()):
                if name == "typedwave":
                    module, law, outcome = value
                    modules.setdefault(module, {}).setdefault(outcome, []).append(law)
    if modules:
        terminalreporter.section("laws of typedwave")
    for module, outcomes in modules.items():
        terminalreporter.write_line(module)
        for outcome in ("held", "broken", "say", "not tried"):
            if outcome in outcomes:
                terminalreporter.write_line(f"  {outcome:<9}  {', '.join(outcomes[outcome])}")


def _report_missing(terminalreporter: Any, config: pytest.Config) -> None:
    """A package that was never imported: its name may have been mistyped.

    The tests of pytest-xdist run in other processes, which do not tell.
    """
    hook = config.stash.get(_HOOK, None)
    if hook is None or config.getoption("dist", "no") != "no":
        return
    missing = [name for name in hook.packages if name not in hook.found]
    if missing:
        terminalreporter.write_line(f"typedwave: never imported: {', '.join(missing)}")

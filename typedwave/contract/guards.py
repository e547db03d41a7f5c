"""What a compiled model is not to look at before it runs: our own code.

Dynamo has a compiled model compare, at every call, whatever its trace has read with what it was.
It has read the code of the contracts too, which nobody changes. To compare that as well would
take a small model a fiftieth of its step.
"""

import re
from typing import Any, Final

from typedwave.contract.attributes import Attribute
from typedwave.contract.function import CONTRACTS
from typedwave.contract.written import PREFIX

__all__ = ["drop_own_guards"]

# Of torch's hooks that are for all modules, which are read by a module of ours, is not our own.
_NAME_OF_OURS: Final = re.compile(
    rf"G\[.*(\['{PREFIX}\w+'\]|__import_typedwave_dot_contract_dot_\w+'\])(?!.*\btorch_module\b)"
    rf"|G\['{PREFIX}"
)
_IN_A_CLASS: Final = re.compile(r"(dict\(type\(.+\)\.__dict__\)\['\w+'\])(\.\w+)?")
_IN_A_CELL: Final = re.compile(r"(.+\.__closure__\[\d+\]\.cell_contents)(\.__code__)?")


def drop_own_guards(context: Any) -> None:
    """Has the trace that `comptime` is in end without guards of ours."""
    output = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    if not any(isinstance(finalizer, _Dropping) for finalizer in output.register_finalizer_fns):
        output.add_graph_finalizer(_Dropping(output))


class _Dropping:
    """What is done once a graph is whole, and before its guards are built."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self._functions = {contract.function for contract in CONTRACTS.values()}

    def __call__(self, _: Any) -> None:
        guards = self._output.guards
        kept = [guard for guard in guards if not self._is_ours(guard.name)]
        guards.clear()
        for guard in kept:
            guards.add(guard, collect_debug_stack=False)

    def _is_ours(self, name: str) -> bool:
        if _NAME_OF_OURS.match(name):
            return True
        if found := _IN_A_CLASS.fullmatch(name):
            return isinstance(self._value(found[1]), Attribute)
        if found := _IN_A_CELL.fullmatch(name):
            return self._value(found[1]) in self._functions
        return False

    def _value(self, name: str) -> Any:
        """What a guard of this name would look at."""
        return eval(name, {"L": self._output.local_scope, "G": self._output.global_scope})

"""What a compiled model is not to look at before it runs: our own code.

Dynamo has a compiled model compare, at every call, whatever its trace has read with what it was.
It has read the code of the contracts too, which nobody changes. To compare that as well would
take a small model a fiftieth of its step.
"""

import inspect
import re
from typing import Any, Final

from typedwave.contract.attributes import Attribute
from typedwave.contract.function import CONTRACTS
from typedwave.contract.written import PREFIX

__all__ = ["drop_own_guards"]

# torch's hooks for all modules are read through a module of ours; what they are is not ours.
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
        kept = [guard for guard in guards if not self._is_ours(guard)]
        guards.clear()
        for guard in kept:
            guards.add(guard, collect_debug_stack=False)

    def _is_ours(self, guard: Any) -> bool:
        if _NAME_OF_OURS.match(guard.name):
            return True
        if found := _IN_A_CLASS.fullmatch(guard.name):
            return isinstance(self._value(found[1]), Attribute)
        if found := _IN_A_CELL.fullmatch(guard.name):
            return self._value(found[1]) in self._functions
        if getattr(guard.create_fn, "func", None) is _guard_on_absence():
            name = guard.create_fn.keywords["attr"]
            # Python looks for __call__ on the class, whatever the object has.
            return name == "__call__" or self._is_read_in_place(guard.name, name)
        return False

    def _is_read_in_place(self, module: str, name: str) -> bool:
        """Whether a module is searched for an attribute only because its class is ours.

        Without us Dynamo reads it where it is, too, and guards that.
        """
        cls = type(self._value(module))
        return isinstance(inspect.getattr_static(cls, name, None), Attribute)

    def _value(self, name: str) -> Any:
        """What a guard of this name would look at; None if only Dynamo can read the name."""
        try:
            return eval(name, {"L": self._output.local_scope, "G": self._output.global_scope})
        except Exception:  # of whatever kind: then the guard stays
            return None


def _guard_on_absence() -> Any:
    """What guards that an attribute is not in the ``__dict__`` of an object."""
    from torch._dynamo.guards import GuardBuilder  # imported late, as it takes a second

    return GuardBuilder.NOT_PRESENT_IN_GENERIC_DICT

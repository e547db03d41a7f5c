"""Contracts under torch.compile and torch.export: checked once, while the model is traced.

Dynamo runs no code of ours in the compiled model. While it traces, it lets a function look at
the variables of the frame that it is in: tensors without data, whose sizes may be symbols. The
claims are held against the sizes that the example had, so that no guard is added to the graph.
jaxtyping cannot be asked here: comparing symbols would specialise them.
"""

from typing import Any, Final

from torch import Tensor
from torch.nn import Module

from typedwave.contract.explain import drift_error
from typedwave.contract.function import CONTRACTS, FunctionContract
from typedwave.contract.guards import drop_own_guards
from typedwave.contract.hints import sizes
from typedwave.contract.state import StateContract
from typedwave.contract.switch import is_off
from typedwave.contract.trail import note
from typedwave.contract.written import PREFIX

__all__ = ["before_body", "local", "seen"]

_UNSEEN: Final = object()


def before_body(context: Any) -> None:
    """What Dynamo calls before it traces the body of a function: checks state and arguments."""
    drop_own_guards(context)
    contract, arguments, owner = _call(context)
    if not is_off(owner):
        contract.examine(arguments)
        note((contract.who(owner),))


def seen(number: int, values: tuple[Any, ...], result: Any) -> Any:
    """Passes a result on, and has Dynamo check it when it traces this.

    A function of its own, so that no variable of ours names the result in the graph.
    """
    from torch._dynamo.comptime import comptime  # imported late, as it takes a second

    comptime(_after_body)
    return result


def _after_body(context: Any) -> None:
    """Checks the result and the state that a body leaves, once it is traced."""
    contract = CONTRACTS[local(context, "number")]
    values = zip(contract.signature.parameters, local(context, "values"), strict=True)
    arguments = {name: value for name, value in values if not _has_unseen(value)}
    owner = contract.owner(arguments)[0]
    if is_off(owner):
        return
    result = local(context, "result")
    contract.examine(arguments, result)
    state = contract.owner(arguments)[1]
    if state is not None:
        _check_drift(owner, state, _variable(context, "values").items[0], context)
    key = ((), (), *map(_fact, arguments.values()))
    note((contract.who(owner), contract, key, _fact(result)))


def _call(context: Any) -> tuple[FunctionContract, dict[str, Any], Any]:
    """The contract, the arguments that can be seen and the object whose method is traced."""
    contract = CONTRACTS[local(context, f"{PREFIX}number")]
    values = {name: local(context, name) for name in contract.signature.parameters}
    arguments = {name: value for name, value in values.items() if not _has_unseen(value)}
    return contract, arguments, contract.owner(arguments)[0]


def _has_unseen(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(map(_has_unseen, value.values() if isinstance(value, dict) else value))
    return value is _UNSEEN


def _fact(value: Any) -> Any:
    return (type(value), value.dtype, sizes(value)) if isinstance(value, Tensor) else None


def _check_drift(module: Module, state: StateContract, variable: Any, context: Any) -> None:
    """Checks what the trace makes of the state; the module itself has not changed yet."""
    tracer = context._i_will_not_complain_if_bc_breaks_InstructionTranslator()
    traced = {
        name: _python(variable.var_getattr(tracer, name))
        for name in state.hints
        if name in module._buffers or name in vars(module)
    }
    error = drift_error(module, state.claims(module), state.claims(module, traced), {})
    if error is not None:
        raise error


def _variable(context: Any, name: str) -> Any:
    return context.get_local(name)._i_will_not_complain_if_bc_breaks_VariableTracker()


def local(context: Any, name: str) -> Any:
    """What a variable of the frame that calls `comptime` stands for."""
    return _python(_variable(context, name))


def _python(variable: Any) -> Any:
    """What a variable of Dynamo stands for, as far as a contract wants to know."""
    from torch._dynamo import variables as kinds

    if isinstance(variable, kinds.LazyVariableTracker):
        if not variable.is_realized() and isinstance(variable.original_value(), Tensor):
            return variable.original_value()  # an input that the graph has not met so far
        variable = variable.realize()
    if isinstance(variable, kinds.TensorVariable):
        return variable.as_proxy().node.meta["example_value"]
    if isinstance(variable, kinds.TupleVariable):
        return tuple(map(_python, variable.items))
    if isinstance(variable, kinds.ListVariable):
        return list(map(_python, variable.items))
    if isinstance(variable, kinds.ConstDictVariable):
        return {_python(key.vt): _python(part) for key, part in variable.items.items()}
    if isinstance(variable, kinds.UserDefinedObjectVariable) and variable.source is not None:
        return variable.value  # a module, or an object that the traced code was given
    if variable.is_python_constant():
        return variable.as_python_constant()
    return _UNSEEN

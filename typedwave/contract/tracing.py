"""Contracts under torch.compile and torch.export: checked once, while the model is traced.

Dynamo runs no code of ours in the compiled model. While it traces, it lets a function look at
the variables of the frame that it is in: tensors without data, whose sizes may be symbols. The
claims are held against the sizes that the example had, so that no guard is added to the graph.
jaxtyping cannot be asked here: comparing symbols would specialise them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch.nn import Module

from typedwave.contract.explain import argument_error, drift_error, state_error
from typedwave.contract.function import FunctionContract
from typedwave.contract.hints import Claim, array_hints
from typedwave.contract.state import StateContract
from typedwave.errors import ContractError

__all__ = ["after_body", "before_body", "check", "local"]

_PENDING: Final = object()
_UNSEEN: Final = object()


def before_body(contract: FunctionContract) -> Callable[[Any], None]:
    """What Dynamo calls before it traces the body: checks state and arguments."""

    def at_trace_time(context: Any) -> None:
        check(contract, local(context, "args"), local(context, "kwargs"))

    return at_trace_time


def after_body(contract: FunctionContract) -> Callable[[Any], None]:
    """What Dynamo calls after it traced the body: checks the result and the state it leaves."""

    def at_trace_time(context: Any) -> None:
        args, kwargs = local(context, "args"), local(context, "kwargs")
        check(contract, args, kwargs, local(context, "result"))
        owner, state = contract.owner(contract.bind(args, kwargs))
        if state is not None:
            _check_drift(owner, state, _variable(context, "args").items[0], context)

    return at_trace_time


def check(
    contract: FunctionContract,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    result: Any = _PENDING,
) -> None:
    """Raises the error of a call on fake tensors, if it has one that can be seen on them."""
    try:
        arguments = contract.bind(args, kwargs)
    except TypeError:
        return  # the call itself says it best
    owner, state = contract.owner(arguments)
    held = [] if state is None else state.claims(owner)
    if held:
        _raise(state_error(owner, held))
    claims = list(contract.argument_claims(arguments))
    if result is not _PENDING:
        claims += contract.result_claims(result)
    seen = [claim for claim in claims if _is_seen(claim)]
    name = contract.name_of(owner)
    _raise(argument_error(name, state=held, claims=seen, arguments=arguments))


def _raise(error: ContractError | None) -> None:
    if error is not None:
        raise error


def _is_seen(claim: Claim) -> bool:
    return any(array_hints(claim.hint)) and not _has_unseen(claim.value)


def _has_unseen(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(map(_has_unseen, value.values() if isinstance(value, dict) else value))
    return value is _UNSEEN


def _check_drift(module: Module, state: StateContract, variable: Any, context: Any) -> None:
    """Checks what the trace makes of the state; the module itself has not changed yet."""
    tracer = context._i_will_not_complain_if_bc_breaks_InstructionTranslator()
    traced = {
        name: _python(variable.var_getattr(tracer, name))
        for name in state.hints
        if name in module._buffers or name in vars(module)
    }
    _raise(drift_error(module, state.claims(module), state.claims(module, traced), {}))


def _variable(context: Any, name: str) -> Any:
    return context.get_local(name)._i_will_not_complain_if_bc_breaks_VariableTracker()


def local(context: Any, name: str) -> Any:
    """What a variable of the frame that calls `comptime` stands for."""
    return _python(_variable(context, name))


def _python(variable: Any) -> Any:
    """What a variable of Dynamo stands for, as far as a contract wants to know."""
    from torch._dynamo import variables as kinds

    if isinstance(variable, kinds.LazyVariableTracker):
        variable = variable.realize()
    if isinstance(variable, kinds.TensorVariable):
        return variable.as_proxy().node.meta["example_value"]
    if isinstance(variable, kinds.TupleVariable):
        return tuple(map(_python, variable.items))
    if isinstance(variable, kinds.ListVariable):
        return list(map(_python, variable.items))
    if isinstance(variable, kinds.ConstDictVariable):
        return {_python(key.vt): _python(part) for key, part in variable.items.items()}
    if isinstance(variable, kinds.UnspecializedNNModuleVariable):
        return variable.value
    if variable.is_python_constant():
        return variable.as_python_constant()
    return _UNSEEN

"""The call of a module: what is compared with the last good one, and when to make it anew.

`torch.nn.Module.__call__` looks for hooks and tracers and then calls ``forward``. What is written
here for each class does the same look and then compares the call with the last one of this
module, so that a call like it costs little more than torch's.
"""

import functools
import operator
from collections.abc import Sequence
from inspect import Parameter
from types import NoneType
from typing import Any, Final

import torch
import torch.nn.modules.module as torch_module
from torch import Tensor
from torch.nn import Module

from typedwave.contract.facts import is_told_by_class, questions_to_self
from typedwave.contract.function import FunctionContract
from typedwave.contract.hints import alternatives, is_array
from typedwave.contract.state import StateContract
from typedwave.contract.switch import ATTRIBUTE, COMPILED, OFF, Memory, is_off
from typedwave.contract.trail import forget, note, reference
from typedwave.contract.written import NAMES, PREFIX, Compared, Kind, write_call

__all__ = ["install_call"]

_BY_POSITION: Final = (
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
)
_TORCH_CALL = Module.__call__
NAMES.update(
    {
        f"{PREFIX}{name}": value
        for name, value in {
            "backward_hooks": torch_module._global_backward_hooks,
            "backward_pre_hooks": torch_module._global_backward_pre_hooks,
            "forget": forget,
            "forward_hooks": torch_module._global_forward_hooks,
            "forward_pre_hooks": torch_module._global_forward_pre_hooks,
            "is_tracing": torch._C._get_tracing_state,
            "note": note,
            "reference": reference,
        }.items()
    }
)


def _has_hooks(module: Module) -> bool:
    own = module._forward_hooks or module._forward_pre_hooks
    own = own or module._backward_hooks or module._backward_pre_hooks
    return bool(
        own
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )


def _traced_call(self: Module, *args: Any, **kwargs: Any) -> Any:
    """The call as Dynamo is to see it, which ends in the checked forward."""
    if _has_hooks(self):
        return Module.__call__(self, *args, **kwargs)
    return self.forward(*args, **kwargs)


def _given(values: tuple[Any, ...], more: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a call as they came."""
    return (*[value for value in values if value is not Parameter.empty], *more)


NAMES[f"{PREFIX}traced_call"] = _traced_call
NAMES[f"{PREFIX}given"] = _given
NAMES[f"{PREFIX}missing"] = Parameter.empty


def install_call(cls: type[Module]) -> None:
    """Gives a class of modules with a checked forward a ``__call__`` written for it.

    A class with a ``__call__`` of its author's keeps that. One whose annotations cannot be
    resolved yet, or whose calls are judged every time, keeps torch's: that one calls the checked
    forward too.
    """
    contract: FunctionContract | None = getattr(cls.forward, "__contract__", None)
    own = cls.__call__ is _TORCH_CALL or hasattr(cls.__call__, "__writes__")
    if contract is None or not contract.is_method or not own:
        return
    try:
        call = _ModuleCall(cls, contract)
    except Exception:  # of whatever kind; the first call says it
        cls.__call__ = _TORCH_CALL  # type: ignore[method-assign]
        return
    cls.__call__ = call.written()  # type: ignore[method-assign]
    setattr(cls, ATTRIBUTE, Memory())
    if cls.compile is Module.compile:
        cls.compile = _compile  # type: ignore[method-assign]


@functools.wraps(Module.compile)
def _compile(self: Module, *args: Any, **kwargs: Any) -> None:
    if vars(self).get(ATTRIBUTE) is not OFF:
        vars(self)[ATTRIBUTE] = COMPILED
    Module.compile(self, *args, **kwargs)


class _ModuleCall:
    """What calls of the modules of one class are compared by."""

    def __init__(self, cls: type[Module], contract: FunctionContract) -> None:
        state: StateContract = cls.__state_contract__  # type: ignore[attr-defined]  # ours
        asked = questions_to_self(contract.hints.values(), contract.judged)
        if asked is None or not contract.is_remembered:
            raise ValueError("calls are judged every time")
        parameters = contract.signature.parameters.values()
        passed = [p.name for p in parameters if p.kind in _BY_POSITION]
        if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            raise ValueError("calls have keywords")
        self._cls = cls
        self._contract = contract
        self._forward = cls.forward
        self._state = state
        self.held = state.held
        self.fact = contract.fact
        self.result_fact = contract.result_fact
        self._compared = Compared(
            arguments={name: _kind(contract, name) for name in contract.judged if name in passed},
            result=_kind(contract, "return") if contract.has_result else None,
            asked=asked,
            places=state.places if state.is_told_by_places else None,
            optional=[n for n, hint in state.hints.items() if NoneType in alternatives(hint)],
        )

    def written(self) -> Any:
        """The code of ``__call__``."""
        names = {
            "cls": self._cls,
            "contract": self,
            "facts": self._state.facts,
            "forward": self._cls.forward,
            "function": self._contract.function,
        }
        signature = self._contract.signature
        call, self._layout = write_call(signature, self._compared, Memory, names)
        call.__writes__ = self._cls  # type: ignore[attr-defined]  # marks what may be replaced
        call.__module__ = self._cls.__module__
        call.__qualname__ = f"{self._cls.__qualname__}.__call__"
        return call

    def other_call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls a module that has no last call of this class, or with keywords."""
        memory = getattr(args[0], ATTRIBUTE)
        if memory is not OFF and memory is not COMPILED:
            return Module.__call__(*args, **kwargs) if kwargs else self.renew(*args)
        return self._unchecked(*args, **kwargs)

    def _unchecked(self, *args: Any, **kwargs: Any) -> Any:
        """Calls what is not checked, or what was compiled: as torch does, where that differs."""
        owner = args[0]
        patched = "forward" in vars(owner) or self._cls.forward is not self._forward
        if patched or owner._compiled_call_impl is not None or _has_hooks(owner):
            return Module.__call__(*args, **kwargs)
        return self._contract.function(*args, **kwargs)

    def renew(self, *args: Any) -> Any:
        """Calls a module as torch does, and keeps the call for the next one if it was good."""
        if is_off(args[0]):  # in a block without checks
            return self._unchecked(*args)
        contract = self._contract
        try:
            arguments = contract.bind(args, {})
        except TypeError:
            return Module.__call__(*args)  # Python words this error best
        key = contract.key(arguments)
        result = Module.__call__(*args)
        known = contract.result_fact(result) if contract.has_result else None
        if key is not None and contract.is_known(known, contract.remembered.get(key, set())):
            self._keep(arguments["self"], key, known)
        return result

    def judge_after(
        self, mark: tuple[Any, ...], held: Sequence[Any], result: Any, *args: Any
    ) -> None:
        """Judges a result or a state that the last call did not leave.

        The mark of that call tells which state this one found, but for the devices, which are not
        compared: those are what is ``held`` still on.
        """
        contract, key = self._contract, mark[2]
        arguments = contract.bind(args, {})
        before = key[0]
        if held:
            places = zip(before[1:], held, strict=True)
            before = (before[0], *[fact and (*fact[:-1], tensor.device) for fact, tensor in places])
        contract.judge_state(arguments["self"], before, arguments)
        known = contract.result_fact(result) if contract.has_result else None
        if not contract.is_known(known, contract.remembered.get(key, set())):
            contract.judge_result(key, result, *args)

    def still_holds(self, module: Module, held: tuple[Any, ...]) -> bool:
        """Whether the state that a call found is there after it, wherever it is kept."""
        return bool(held) and all(map(operator.is_, held, self.held(module)))

    def _keep(self, owner: Module, key: Any, known: Any) -> None:
        last = vars(owner).get(ATTRIBUTE)
        if last is OFF or last is COMPILED or type(owner) is not self._cls:
            return
        who = reference(owner)
        held, asked, *facts = key
        compared = self._compared
        values: dict[str, Any] = {
            "mark": (who, self._contract, key, known),
            "opened": (who,) if owner._modules else None,
            "training": owner.training,
            "h1": owner._forward_hooks,
            "h2": owner._forward_pre_hooks,
            "h3": owner._backward_hooks,
            "h4": owner._backward_pre_hooks,
            "asked": asked,
            "held": held,
        }
        try:
            told = dict(zip(self._contract.judged, facts, strict=True))
            for i, (name, kind) in enumerate(compared.arguments.items()):
                values |= _parts(kind, told[name], str(i))
            if compared.first is not None:
                values["first"] = frozenset([values[f"s{compared.first}"]])
            if compared.places:
                values |= _state_parts(held[1 : 1 + len(compared.places)])
            if compared.result is not None:
                values |= _parts(compared.result, known, "")
        except ValueError:
            return
        memory = self._layout()
        for name in memory.__slots__:
            setattr(memory, name, values[name])
        vars(owner)[ATTRIBUTE] = memory


def _kind(contract: FunctionContract, name: str) -> Kind:
    hint = contract.hints.get(name, Any)
    if not contract.is_plain(name) or not is_told_by_class(hint):
        return "fact"
    members = alternatives(hint)
    arrays = [member for member in members if is_array(member) or member is Tensor]
    others = [member for member in members if member not in arrays]
    if arrays and others in ([], [NoneType]):
        return "optional" if others else "tensor"
    return "fact" if arrays or Any in members or object in members else "class"


def _parts(kind: Kind, fact: Any, i: str) -> dict[str, Any]:
    """Of an argument or result class or fact, and for a tensor dtype and shape."""
    if kind == "fact":
        return {f"c{i}": fact}
    if kind == "class" or fact == (NoneType,):
        return {f"c{i}": fact[0], f"d{i}": None, f"s{i}": None}
    cls, dtype, shape = fact
    if not isinstance(dtype, torch.dtype):
        raise ValueError("an array that is no tensor")
    return {f"c{i}": cls, f"d{i}": dtype, f"s{i}": shape}


def _state_parts(facts: Sequence[Any]) -> dict[str, Any]:
    """Dtype and shape of each tensor of the state."""
    parts: dict[str, Any] = {}
    for i, fact in enumerate(facts):
        if fact is None:
            parts |= {f"e{i}": None, f"t{i}": None}
        elif isinstance(fact, tuple) and len(fact) == 4 and isinstance(fact[1], torch.dtype):
            parts |= {f"e{i}": fact[1], f"t{i}": fact[2]}
        else:
            raise ValueError("no tensor")
    return parts

"""No false findings: torch's own modules keep the laws, but for what a table explains.

The modules and their arguments come from the database that torch tests itself with; what that one
leaves out is in a list at the end. A sample of it gives the arguments of the constructor and the
ranks of the tensors; the batch is the axis N of any size, and most other axes are of any size too.

    PYTHONPATH=. python tests/testing/test_torch_modules.py [examples [samples of a module]]

prints what comes of all of them. One file past 400 lines, since a person who doubts the figures
wants to see in one place what is declared and what is explained away.
"""

import collections
import copy
import importlib.util
import inspect
import random
import re
import sys
import time
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from typedwave.testing import Report, check

if importlib.util.find_spec("expecttest") is None:  # the database imports it, and needs it not
    sys.modules["expecttest"] = types.ModuleType("expecttest")
    sys.modules["expecttest"].TestCase = unittest.TestCase  # type: ignore[attr-defined]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import ModuleInput, module_db

pytestmark = pytest.mark.usefixtures("default_profile")

EXAMPLES, SAMPLES = 5, 3
"""Of a law, and of a module, in the tests; the script takes more."""

# --- what is found, and why it is true ------------------------------------------------------------

EXPLAINED: list[tuple[str, tuple[str, ...], str]] = [
    (
        "BatchNorm.*track_running_stats=False",
        ("independence", "batch_size"),
        "it has no statistics but those of the batch, in eval mode either",
    ),
    (
        "GroupNorm.*affine=False",
        ("batch_size",),
        "with one value in each group it refuses a batch of one, and of that only",
    ),
    (
        "FractionalMaxPool",
        ("purity",),
        "it draws its regions in eval mode too",
    ),
    (
        r"LPPool.*norm_type=1\.5",
        ("finite",),
        "it raises negative numbers to a power that is no integer",
    ),
    (
        r"PoissonNLLLoss\((?!.*log_input=False)",
        ("finite",),
        "the exponential of 1e4 is infinite, and so is the loss",
    ),
    (
        "SoftMarginLoss",
        ("finite",),
        "it adds 1 to the exponential of 1e4; BCEWithLogitsLoss computes the same and is finite",
    ),
    (
        "CTCLoss",
        ("derivatives",),
        "its gradient is that of the logits behind a log_softmax (torch's open issue 52241)",
    ),
    (
        "(MultiLabelSoftMargin|GaussianNLL|PoissonNLL|KLDiv|HingeEmbedding)Loss",
        ("broadcast",),
        "a target of another shape is broadcast in silence; MSELoss and others warn of it",
    ),
    (
        ".*(CrossEntropy|NLL)Loss.*weight=tensor",
        ("mean_of_examples",),
        "positions weigh as their classes do, so that examples do not count alike",
    ),
    (
        r"LinearCrossEntropyLoss\(in_features=8.*ignore_index=\d",
        ("finite",),
        "the mean of no position is NaN, where the only target of no batch is the ignored one",
    ),
    (
        "Embedding.*max_norm",
        ("purity",),
        "it shortens the rows of its weight that it looks up, in eval mode too",
    ),
    (
        r"Sequential\(ReLU",
        ("inputs",),
        "its first layer writes to what it is given",
    ),
]
"""Modules and their arguments, laws, and the reason why the findings are right."""


# --- shapes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """A module with arguments of its constructor, and what is declared about it."""

    text: str
    factory: Callable[[], nn.Module]
    declared: Mapping[str, Any]

    def check(self, examples: int, **more: Any) -> Report:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check(self.factory, examples=examples, **self.declared, **more)


Given = Mapping[str, Any]
Form = Callable[[nn.Module, Given, str], dict[str, Any]]
"""Declarations about a module, the arguments of a sample, and the description of that one."""

SPACES = ("", "L", "H W", "D H W", "D E H W")


def named(rank: int, *, batched: bool, channels: int | None = None) -> str:
    """``N C H W``, or ``C H W``; a number in the place of C if no other one will do."""
    first = ["N"] if batched else []
    if rank > len(first):
        first.append("C" if channels is None else str(channels))
    return " ".join([*first, SPACES[max(rank - len(first), 0)]]).strip()


def hint(tensor: Tensor, shape: str) -> Any:
    kind = Float if tensor.is_floating_point() else Bool if tensor.dtype == torch.bool else Int
    return kind[Tensor, shape]


def usual(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    """One tensor: activations, convolutions, pools, paddings and most norms."""
    ((name, x),) = given.items()
    kind = type(module).__name__
    space = re.search(r"(\d)d$", kind)
    batched = x.ndim > 0 and "no_batch" not in said
    if space and "BatchNorm" not in kind:
        batched &= x.ndim == int(space[1]) + 2
    fixed = re.search("Conv|BatchNorm|InstanceNorm|GroupNorm", kind) or (
        isinstance(module, nn.PReLU) and module.num_parameters > 1
    )
    channels = x.shape[1 if batched else 0] if fixed else None
    return {"spec": {name: hint(x, named(x.ndim, batched=batched, channels=channels))}}


def trailing(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    """Any number of leading axes, and numbers for the last ones."""
    count = len(getattr(module, "normalized_shape", "1"))
    ends = {name: " ".join(map(str, x.shape[x.ndim - count :])) for name, x in given.items()}
    return {"spec": {name: Float[Tensor, f"*N {end}"] for name, end in ends.items()}}


def embedding(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    return {"spec": {"input": Int[Tensor, "*N"]}}


def recurrent(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    """The database has no batches here: those with a bias get one."""
    batch = "N " if module.bias else ""
    order = "T" if not batch else "N T" if getattr(module, "batch_first", False) else "T N"

    def state(h: Any) -> Any:
        if isinstance(h, tuple):
            return tuple[state(h[0]), state(h[1])]
        layers = f"{h.shape[0]} " if isinstance(module, nn.RNNBase) else ""
        return Float[Tensor, f"{layers}{batch}{h.shape[-1]}"]

    spec = {name: state(h) for name, h in given.items()}
    if isinstance(module, nn.RNNBase):
        spec["input"] = Float[Tensor, f"{order} {given['input'].shape[-1]}"]
    return {"spec": spec}


LENGTHS = {"src": "S", "tgt": "T", "memory": "S", "query": "T", "key": "S", "value": "S", "": "S"}


def attention(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    """From positions T to positions S; of multi-head attention, those with a bias get a batch."""
    layers = [*module.modules()]
    batch_first = next(p for p in layers if isinstance(p, nn.MultiheadAttention)).batch_first
    batched = next(iter(given.values())).ndim == 3
    if isinstance(module, nn.MultiheadAttention):
        batched = module.in_proj_bias is not None
    spec: dict[str, Any] = {}
    for name, x in given.items():
        own = LENGTHS[re.sub("_?(key_padding_|attn_)?mask$", "", name)]
        if "padding" in name:
            shape = f"N {own}" if batched else own
        elif name in ("attn_mask", "memory_mask"):
            shape = "T S" if batched or x.ndim == 2 else f"{x.shape[0]} T S"
        elif "mask" in name:
            shape = f"{own} {own}"
        else:
            order = f"N {own}" if batch_first else f"{own} N"
            shape = f"{order if batched else own} {x.shape[-1]}"
        spec[name] = hint(x, shape)
    return {"spec": spec}


# --- losses ---------------------------------------------------------------------------------------

UNIT, SIGNS, POSITIVE = (0, 1), (-1, 1), (0.1, 2)
REDUCES = {"mean": "mean", "sum": "sum", "batchmean": "mean"}


def loss(
    module: nn.Module, given: Given, said: str, *, bounds: Given | None = None, **more: Any
) -> dict[str, Any]:
    """Tensors of the same shape; one of a lower rank is without channels."""
    rank = max(x.ndim for x in given.values())
    batched = rank > 0 and "no_batch" not in said and not said.startswith("1d")
    weight = getattr(module, "weight", None)
    channels = len(weight) if isinstance(weight, Tensor) and weight.ndim else None
    full = named(rank, batched=batched, channels=channels)
    lower = " ".join(axis for axis in full.split() if axis not in ("C", str(channels)))
    spec = {name: hint(x, full if x.ndim == rank else lower) for name, x in given.items()}
    if "var" in given:
        spec["var"] = Float[Tensor, "1 C" if given["var"].shape[0] == 1 else "N 1"]
    return more | {
        "spec": spec,
        "bounds": {name: pair for name, pair in (bounds or {}).items() if name in spec},
        "loss": REDUCES.get(module.reduction) if batched else None,
    }


def counts(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    rates = {} if module.log_input else {"log_input": POSITIVE}
    return loss(module, given, said, bounds={"target": UNIT, **rates})


def classes(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    """Class ids, one of which is ignored: the mean is over all positions that are not."""
    declared = loss(module, given, said)
    if given["target"].is_floating_point():
        return declared | {"bounds": {"target": UNIT}}
    if declared["loss"]:
        declared["ignore"] = module.ignore_index
    return declared | {"loss": {"mean": "positions"}.get(declared["loss"], declared["loss"])}


def linear_classes(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    x, target = given["input"], given["target"]
    batch = "N " * (x.ndim == 2)
    ends = " ".join(map(str, target.shape[x.ndim - 1 :]))
    declared = classes(module, given, said if batch else "no_batch")
    spec = {"input": Float[Tensor, f"{batch}{x.shape[-1]}"], "target": hint(target, batch + ends)}
    return declared | {"spec": spec}


def ctc(module: nn.Module, given: Given, said: str) -> dict[str, Any]:
    return {
        "spec": {"log_probs": Float[Tensor, "T N C"], "targets": Int[Tensor, "N S"]},
        "sizes": {"T": (11, 13), "S": (2, 3, 5), "C": (module.blank + 3, module.blank + 5)},
        "ids": {"targets": "C"},  # it reads beyond its memory where an id is too large
        "target": "targets",
        "loss": REDUCES.get(module.reduction),
    }


class CTCLoss(nn.CTCLoss):
    """Of full lengths, which as lists of numbers have no annotation, and of no blank targets."""

    def forward(self, log_probs: Tensor, targets: Tensor, *lengths: Any) -> Tensor:
        steps, batch, size = log_probs.shape
        full = [torch.full((batch,), length) for length in (steps, targets.shape[1])]
        targets = targets % (size - 1)
        return super().forward(log_probs, targets + (targets >= self.blank).long(), *full)


FORMS: dict[str, Form] = {
    "(Bil|L)inear|(Layer|RMS)Norm": trailing,
    "Embedding": embedding,
    "(RNN|GRU|LSTM)(Cell)?": recurrent,
    "Transformer.*|MultiheadAttention": attention,
    "LinearCrossEntropyLoss": linear_classes,
    "(NLL|CrossEntropy)Loss": classes,
    "BCELoss": partial(loss, bounds={"input": UNIT, "target": UNIT}),
    "BCEWithLogitsLoss|KLDivLoss": partial(loss, bounds={"target": UNIT}),
    "PoissonNLLLoss": counts,
    "GaussianNLLLoss": partial(loss, bounds={"var": POSITIVE}),
    "((Cosine|Hinge)Embedding|SoftMargin)Loss": partial(loss, bounds={"target": SIGNS}),
    "(MarginRanking|MultiLabelSoftMargin)Loss": partial(loss, ids={"target": 2}),
    "CTCLoss": ctc,
    ".*Loss": loss,
    ".*": usual,
}
"""The first that fits counts."""

# --- the database ---------------------------------------------------------------------------------

INFOS = {info.name.removeprefix("nn."): info for info in module_db}


@cache
def samples(name: str) -> list[Sample]:
    """Each pair of arguments of the constructor and ranks of the tensors once, mixed."""
    info = INFOS[name]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        given = {"device": "cpu", "dtype": torch.float32, "requires_grad": False}
        made = info.module_inputs_func(info, training=False, **given)
        different = {
            f"{each.text} {each.declared}": each for each in map(partial(_sample, info), made)
        }
    first, *others = sorted(different.values(), key=lambda each: "N" not in str(each.declared))
    return [first, *random.Random(0).sample(others, len(others))]


def _sample(info: Any, made: ModuleInput) -> Sample:
    name = info.name.removeprefix("nn.")
    cls = CTCLoss if info.module_cls is nn.CTCLoss else info.module_cls
    own = (
        inspect.signature(cls)
        .bind(*made.constructor_input.args, **made.constructor_input.kwargs)
        .arguments
    )
    own.pop("_random_samples", None)  # are for one size of the batch
    own |= own.pop("kwargs", {})

    def factory() -> nn.Module:
        return cls(**copy.deepcopy(own))

    module = factory()
    forward = made.forward_input
    bound = inspect.signature(module.forward).bind(*forward.args, **forward.kwargs).arguments
    given = {key: value for key, value in bound.items() if isinstance(value, Tensor | tuple)}
    given.pop("lengths", None)
    form = next(form for pattern, form in FORMS.items() if re.fullmatch(pattern, name))
    said = ", ".join(f"{key}={_word(value)}" for key, value in own.items())
    return Sample(f"{name}({said})", factory, form(module, given, made.desc or ""))


def _word(value: Any) -> str:
    if isinstance(value, nn.Module):
        return type(value).__name__
    return f"tensor{[*value.shape]}" if isinstance(value, Tensor) else repr(value)


# --- modules that it leaves out -------------------------------------------------------------------
# But containers, what needs the indices of a pool (MaxUnpool) or several processes (SyncBatchNorm).


def more(text: str, spec: Mapping[str, Any], **declared: Any) -> Sample:
    """A module of torch.nn as it is written."""
    return Sample(text, lambda: eval(text, vars(nn)), {"spec": spec, **declared})


IMAGE, PAIR = (
    {"input": Float[Tensor, "N C H W"]},
    {"x1": Float[Tensor, "N C L"], "x2": Float[Tensor, "N C L"]},
)
TRIPLE = dict.fromkeys(("anchor", "positive", "negative"), Float[Tensor, "N C"])
SEQUENCE = {"input": Float[Tensor, "N 4 T"]}
BATCH_FIRST = {"input": Float[Tensor, "N T 4"]}
MASKED = {"src": Float[Tensor, "N T 4"], "src_key_padding_mask": Bool[Tensor, "N T"]}
ATTENTION = {
    "query": Float[Tensor, "N T 4"],
    "key": Float[Tensor, "N S 4"],
    "value": Float[Tensor, "N S 4"],
    "key_padding_mask": Bool[Tensor, "N S"],
}

OTHERS = [
    more("Dropout(0.3)", IMAGE),
    more("Dropout1d(0.3)", {"input": Float[Tensor, "N C L"]}),
    more("Dropout2d(0.3)", IMAGE),
    more("Dropout3d(0.3)", {"input": Float[Tensor, "N C D H W"]}),
    more("AlphaDropout(0.3)", IMAGE),
    more("FeatureAlphaDropout(0.3)", IMAGE),
    more("RReLU()", IMAGE),
    more("Hardsigmoid()", IMAGE),
    more("Identity()", IMAGE),
    more("Flatten()", IMAGE),
    more("Unflatten(1, (2, 3))", {"input": Float[Tensor, "N 6 L"]}),
    more("Fold((4, 5), (2, 3))", {"input": Float[Tensor, "N 12 9"]}),
    more("Unfold(2)", IMAGE),
    more("PixelShuffle(2)", {"input": Float[Tensor, "*N 8 H W"]}),
    more("PixelUnshuffle(2)", {"input": Float[Tensor, "*N C H W"]}),
    more("ChannelShuffle(2)", IMAGE),
    more("Upsample(scale_factor=2)", IMAGE),
    more("Upsample(size=5, mode='linear')", {"input": Float[Tensor, "N C L"]}),
    more("UpsamplingBilinear2d(scale_factor=2)", IMAGE),
    more("UpsamplingNearest2d(scale_factor=3)", IMAGE),
    more("CrossMapLRN2d(3)", IMAGE),
    more("CosineSimilarity()", PAIR),
    more("PairwiseDistance()", PAIR),
    more("TripletMarginLoss()", TRIPLE, loss="mean"),
    more("TripletMarginWithDistanceLoss(reduction='sum')", TRIPLE, loss="sum"),
    more(
        "AdaptiveLogSoftmaxWithLoss(5, 11, [3, 7], div_value=2.0)",
        {"input_": Float[Tensor, "N 5"], "target_": Int[Tensor, "N"]},
    ),
    more("EmbeddingBag(7, 3)", {"input": Int[Tensor, "N L"]}),
    more("EmbeddingBag(7, 3, mode='max', padding_idx=0)", {"input": Int[Tensor, "N L"]}),
    more("Embedding(7, 3, padding_idx=0, max_norm=1.0)", {"input": Int[Tensor, "*N"]}),
    more("Softmax(-1)", {"input": Float[Tensor, "*N C"], "return": Float[Tensor, "*N C"]}),
    more("LazyLinear(3)", {"input": Float[Tensor, "*N 4"]}),
    more("LazyBatchNorm1d()", SEQUENCE),
    more("LazyInstanceNorm1d()", SEQUENCE),
    more(
        "TransformerDecoder(TransformerDecoderLayer(4, 2, 8, 0.3), 2)",
        {"tgt": Float[Tensor, "T N 4"], "memory": Float[Tensor, "S N 4"]},
    ),
    # with what else can be said of them
    more("ReLU(inplace=True)", IMAGE, inplace=True),
    more("Sequential(ReLU(inplace=True), Conv2d(3, 4, 1))", {"input": Float[Tensor, "N 3 H W"]}),
    more("Sequential(Conv2d(3, 4, 1), ReLU(inplace=True))", {"input": Float[Tensor, "N 3 H W"]}),
    more("BatchNorm1d(4)", SEQUENCE, couples=True, equivariant="T"),
    more("Conv1d(4, 5, 3, padding=1)", SEQUENCE, receptive_field=(1, 1)),
    more("Conv1d(4, 6, 3, padding=2, dilation=2, groups=2)", SEQUENCE, receptive_field=(2, 2)),
    more("MaxPool1d(3, 1, 1)", SEQUENCE, receptive_field=(1, 1)),
    more("AdaptiveAvgPool1d(1)", SEQUENCE, equivariant="T"),
    more("LayerNorm(4)", BATCH_FIRST, receptive_field=1, equivariant="T"),
    more("Embedding(7, 3)", {"input": Int[Tensor, "N T"]}, receptive_field=1),
    more("RNN(4, 3, batch_first=True)", BATCH_FIRST, causal=True),
    more("GRU(4, 3, num_layers=2, dropout=0.3, batch_first=True)", BATCH_FIRST, causal=True),
    more("LSTM(4, 3, batch_first=True, proj_size=2)", BATCH_FIRST, causal=True),
    more(
        "TransformerEncoderLayer(4, 2, 8, batch_first=True)",
        MASKED,
        equivariant="T",
        mask="src_key_padding_mask",
        mask_keeps=False,
    ),
    more(
        "MultiheadAttention(4, 2, batch_first=True)",
        ATTENTION,
        equivariant=("T", "S"),
        mask="key_padding_mask",
        mask_keeps=False,
    ),
]

# --- tests ----------------------------------------------------------------------------------------


def explanation(sample: Sample, law: str) -> str | None:
    said = (
        why for pattern, laws, why in EXPLAINED if law in laws and re.match(pattern, sample.text)
    )
    return next(said, None)


def unexplained(sample: Sample, report: Report) -> list[str]:
    new = [each for each in report.findings if explanation(sample, each.law) is None]
    return [f"{sample.text}\n{each}" for each in new]


@pytest.mark.parametrize("name", INFOS)
def test_nothing_but_what_is_true_is_found_in_a_module_of_the_database(name):
    for sample in samples(name)[:SAMPLES]:
        assert unexplained(sample, sample.check(EXAMPLES)) == []


@pytest.mark.parametrize("sample", OTHERS, ids=lambda sample: sample.text)
def test_nothing_but_what_is_true_is_found_in_other_modules(sample):
    assert unexplained(sample, sample.check(EXAMPLES)) == []


@pytest.mark.parametrize(("pattern", "law"), [(p, law) for p, laws, _ in EXPLAINED for law in laws])
def test_what_is_explained_is_found(pattern, law):
    matching = [each for each in everything(None) if re.match(pattern, each.text)]
    assert any(each.check(20, laws=law).findings for each in matching)


class CTCLossOfLogits(CTCLoss):
    def forward(self, log_probs: Tensor, targets: Tensor) -> Tensor:
        return super().forward(log_probs.log_softmax(-1), targets)


def test_the_gradient_of_a_ctc_loss_is_right_behind_a_log_softmax():
    sample = replace(samples("CTCLoss")[0], factory=CTCLossOfLogits)
    assert sample.check(20, laws="derivatives").held == ("derivatives",)


# --- the figures ----------------------------------------------------------------------------------


def everything(limit: int | None) -> Iterator[Sample]:
    for name in INFOS:
        yield from samples(name)[:limit]
    yield from OTHERS


def main(examples: int = 20, limit: int | None = None, only: str = "") -> None:
    """Prints what is not explained, and counts."""
    torch.set_num_threads(1)
    begun, modules, outcomes = time.monotonic(), set(), collections.Counter[str]()
    found, untried = collections.Counter[str](), collections.Counter[str]()
    slow: list[tuple[float, str]] = []
    for sample in everything(limit):
        if not re.match(only, sample.text):
            continue
        started = time.monotonic()
        try:
            report = sample.check(examples)
        except Exception as error:
            print(
                f"--- {sample.text} {sample.declared}\n{type(error).__name__}: {error}", flush=True
            )
            outcomes["crashes"] += 1
            continue
        slow.append((time.monotonic() - started, sample.text))
        modules.add(sample.text.partition("(")[0])
        outcomes["samples"] += 1
        for row in report.rows:
            outcomes[row.outcome] += 1
            outcomes["examples"] += row.examples
            if row.outcome == "not tried" and row.why.startswith("no case"):
                untried[f"{row.law}: {row.why}: {sample.text}"] += 1
            if row.finding is not None:
                why = explanation(sample, row.law)
                found[f"{row.law}: {why or 'NOT EXPLAINED'}"] += 1
                if why is None:
                    print(f"--- {sample.text}\n{row.finding}", flush=True)
    print(f"{len(modules)} modules, {dict(outcomes)}, {time.monotonic() - begun:.0f} s")
    for count in (found, untried):
        print(*(f"{n:6} {text}" for text, n in count.most_common()), sep="\n")
    print("slowest:", *(f"{s:.1f} s {text[:90]}" for s, text in sorted(slow)[:-9:-1]), sep="\n  ")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])

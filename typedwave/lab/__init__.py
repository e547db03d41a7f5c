"""The laboratory: from a corpus to a trained network, its losses, its words and its record."""

from typedwave.lab.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from typedwave.lab.corpus import (
    CorpusError,
    Examples,
    Splits,
    UnknownCharacterError,
    Vocabulary,
    examples,
    read_words,
    split,
)
from typedwave.lab.evaluation import evaluate, evaluating
from typedwave.lab.experiment import Experiment, Point, RunExistsError, claim
from typedwave.lab.names import names_path
from typedwave.lab.recipe import PRESETS, Recipe
from typedwave.lab.report import draw_curve
from typedwave.lab.sampling import sample, sample_new
from typedwave.lab.steps import CompilerError
from typedwave.lab.training import DivergedError, Training

__all__ = [
    "PRESETS",
    "Checkpoint",
    "CheckpointError",
    "CompilerError",
    "CorpusError",
    "DivergedError",
    "Examples",
    "Experiment",
    "Point",
    "Recipe",
    "RunExistsError",
    "Splits",
    "Training",
    "UnknownCharacterError",
    "Vocabulary",
    "claim",
    "draw_curve",
    "evaluate",
    "evaluating",
    "examples",
    "load_checkpoint",
    "names_path",
    "read_words",
    "sample",
    "sample_new",
    "save_checkpoint",
    "split",
]

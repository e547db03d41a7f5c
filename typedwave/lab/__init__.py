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
from typedwave.lab.experiment import Experiment, Point, RunExistsError, claim, losses_of
from typedwave.lab.names import names_path
from typedwave.lab.optimizers import MuonAndAdam
from typedwave.lab.pooling import pooled, save_pool
from typedwave.lab.presets import PRESETS
from typedwave.lab.recipe import AnyRecipe, CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.report import draw_curve
from typedwave.lab.run import Run
from typedwave.lab.sampling import choose, sample, sample_new
from typedwave.lab.sequences import Sequences, sequences
from typedwave.lab.steps import CompilerError
from typedwave.lab.teaching import taught
from typedwave.lab.training import DivergedError, Training
from typedwave.lab.word_training import WordTraining

__all__ = [
    "PRESETS",
    "AnyRecipe",
    "Checkpoint",
    "CheckpointError",
    "CompilerError",
    "CorpusError",
    "CountingRecipe",
    "DivergedError",
    "Examples",
    "Experiment",
    "MuonAndAdam",
    "Point",
    "PoolRecipe",
    "Recipe",
    "Run",
    "RunExistsError",
    "Sequences",
    "Splits",
    "Training",
    "UnknownCharacterError",
    "Vocabulary",
    "WordTraining",
    "WordsRecipe",
    "choose",
    "claim",
    "draw_curve",
    "evaluate",
    "evaluating",
    "examples",
    "load_checkpoint",
    "losses_of",
    "names_path",
    "pooled",
    "read_words",
    "sample",
    "sample_new",
    "save_checkpoint",
    "save_pool",
    "sequences",
    "split",
    "taught",
]

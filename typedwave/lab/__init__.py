"""The laboratory: from a corpus to a trained network, its losses, its words and its record."""

from typedwave.lab.by_word import WordDifference, difference_of_words, losses_by_word
from typedwave.lab.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from typedwave.lab.comparison import (
    Comparison,
    Group,
    Losses,
    compare,
    groups_of,
    losses_of_groups,
)
from typedwave.lab.config_file import config_text, read_config, write_config
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
from typedwave.lab.curves import Curves, curves_of
from typedwave.lab.diagnostics import (
    Activation,
    EmbeddingMap,
    Histogram,
    NetworkGradients,
    PlaceLosses,
    Updates,
    Values,
    WeightGradient,
    activations_of,
    embedding_map,
    gradients_of,
    losses_by_place,
    updates_of,
)
from typedwave.lab.evaluation import evaluate, evaluating
from typedwave.lab.experiment import Experiment, losses_of
from typedwave.lab.folder import RunBusyError, RunExistsError, claim
from typedwave.lab.looking import Look, picture_of_curves
from typedwave.lab.metrics import Metrics, MetricsError, Point, read_metrics
from typedwave.lab.names import names_path
from typedwave.lab.optimizers import MuonAndAdam
from typedwave.lab.page import write_page
from typedwave.lab.plots import save_figure
from typedwave.lab.pooling import pooled
from typedwave.lab.presets import PRESETS
from typedwave.lab.recipe import AnyRecipe, CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.record import Record, RecordError, find_runs, read_record
from typedwave.lab.report import draw_curve
from typedwave.lab.run import Run
from typedwave.lab.sampling import choose, sample, sample_new
from typedwave.lab.sequences import Sequences, sequences
from typedwave.lab.significance import ComparisonError, Difference, Interval, Summary, seeds_needed
from typedwave.lab.stepped import DivergedError
from typedwave.lab.steps import CompilerError
from typedwave.lab.sweeps import Choices, Range, Search, Sweep, SweepError, Trial, read_sweep
from typedwave.lab.teaching import taught
from typedwave.lab.tensorboard import Events, NoTensorBoardError, write_events
from typedwave.lab.training import Training
from typedwave.lab.verdict import tables, verdict, verdict_of_words
from typedwave.lab.word_training import WordTraining

__all__ = [
    "PRESETS",
    "Activation",
    "AnyRecipe",
    "Checkpoint",
    "CheckpointError",
    "Choices",
    "Comparison",
    "ComparisonError",
    "CompilerError",
    "CorpusError",
    "CountingRecipe",
    "Curves",
    "Difference",
    "DivergedError",
    "EmbeddingMap",
    "Events",
    "Examples",
    "Experiment",
    "Group",
    "Histogram",
    "Interval",
    "Look",
    "Losses",
    "Metrics",
    "MetricsError",
    "MuonAndAdam",
    "NetworkGradients",
    "NoTensorBoardError",
    "PlaceLosses",
    "Point",
    "PoolRecipe",
    "Range",
    "Recipe",
    "Record",
    "RecordError",
    "Run",
    "RunBusyError",
    "RunExistsError",
    "Search",
    "Sequences",
    "Splits",
    "Summary",
    "Sweep",
    "SweepError",
    "Training",
    "Trial",
    "UnknownCharacterError",
    "Updates",
    "Values",
    "Vocabulary",
    "WeightGradient",
    "WordDifference",
    "WordTraining",
    "WordsRecipe",
    "activations_of",
    "choose",
    "claim",
    "compare",
    "config_text",
    "curves_of",
    "difference_of_words",
    "draw_curve",
    "embedding_map",
    "evaluate",
    "evaluating",
    "examples",
    "find_runs",
    "gradients_of",
    "groups_of",
    "load_checkpoint",
    "losses_by_place",
    "losses_by_word",
    "losses_of",
    "losses_of_groups",
    "names_path",
    "picture_of_curves",
    "pooled",
    "read_config",
    "read_metrics",
    "read_record",
    "read_sweep",
    "read_words",
    "sample",
    "sample_new",
    "save_checkpoint",
    "save_figure",
    "seeds_needed",
    "sequences",
    "split",
    "tables",
    "taught",
    "updates_of",
    "verdict",
    "verdict_of_words",
    "write_config",
    "write_events",
    "write_page",
]

"""The laboratory: from a corpus to a trained network, its losses, its words and its record."""

from typedwave.lab.comparison.by_word import WordDifference, difference_of_words, losses_by_word
from typedwave.lab.comparison.groups import (
    Comparison,
    Group,
    Losses,
    compare,
    groups_of,
    losses_of_groups,
)
from typedwave.lab.comparison.significance import (
    ComparisonError,
    Difference,
    Interval,
    Summary,
    seeds_needed,
)
from typedwave.lab.comparison.verdict import tables, verdict, verdict_of_words
from typedwave.lab.evaluation import evaluate, evaluating
from typedwave.lab.looking.curves import Curves, curves_of
from typedwave.lab.looking.diagnostics import (
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
from typedwave.lab.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from typedwave.lab.runs.config_file import config_text, read_config, write_config
from typedwave.lab.runs.experiment import Experiment, losses_of
from typedwave.lab.runs.folder import RunBusyError, RunExistsError, claim
from typedwave.lab.runs.metrics import Metrics, MetricsError, Point, read_metrics
from typedwave.lab.runs.pooling import pooled
from typedwave.lab.runs.record import Record, RecordError, find_runs, read_record
from typedwave.lab.runs.run import Run
from typedwave.lab.runs.tensorboard import Events, NoTensorBoardError, write_events
from typedwave.lab.sampling import choose, sample, sample_new
from typedwave.lab.sweeps import Choices, Range, Search, Sweep, SweepError, Trial, read_sweep
from typedwave.lab.training.compiled import CompilerError
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.optimizers import MuonAndAdam
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import AnyRecipe, CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.training.stepped import DivergedError
from typedwave.lab.training.teaching import taught
from typedwave.lab.words.corpus import (
    CorpusError,
    Examples,
    Splits,
    UnknownCharacterError,
    Vocabulary,
    examples,
    read_words,
    split,
)
from typedwave.lab.words.names import names_path
from typedwave.lab.words.sequences import Sequences, sequences

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
    "pooled",
    "read_config",
    "read_metrics",
    "read_record",
    "read_sweep",
    "read_words",
    "sample",
    "sample_new",
    "save_checkpoint",
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
]

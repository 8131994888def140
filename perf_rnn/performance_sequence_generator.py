"""The classes of `perf_rnn.magenta.performance_sequence_generator` by Magenta's name."""

from perf_rnn.magenta.performance_sequence_generator import (
    PerformanceRnnSequenceGenerator,
    get_generator_map,
)
from perf_rnn.magenta.sequence_generator import SequenceGeneratorError

__all__ = ["PerformanceRnnSequenceGenerator", "SequenceGeneratorError", "get_generator_map"]

"""The classes of `perf_rnn.magenta.performance_model` by Magenta's names."""

from perf_rnn.magenta.performance_model import EventSequenceRnnModelError, PerformanceRnnModel
from perf_rnn.magenta.performance_model import MagentaConfig as PerformanceRnnConfig
from perf_rnn.magenta.performance_model import magenta_configs as default_configs

__all__ = [
    "EventSequenceRnnModelError",
    "PerformanceRnnConfig",
    "PerformanceRnnModel",
    "default_configs",
]

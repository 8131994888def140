"""Magenta's name of `perf_rnn.magenta.performance_sequence_generator`."""

from perf_rnn.magenta.performance_sequence_generator import *  # noqa: F403

"""Magenta's name of `perf_rnn.magenta.performance_model`."""

from perf_rnn.magenta.performance_model import *  # noqa: F403

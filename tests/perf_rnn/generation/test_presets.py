import pytest

from perf_rnn.configs import get_config
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_controls_take(name):
    conditioning = get_config("multiconditioned_performance_with_dynamics").conditioning
    assert PRESETS[name].keys() == {signal.name for signal in conditioning.signals}
    ControlSchedule(conditioning, PRESETS[name], 3000)

"""What the studio's engine is asked to compute, and what Python computes in its place."""

import dataclasses
import functools
import pathlib

import numpy as np
from numpy.typing import NDArray

from perf_rnn.configs import default_configs
from perf_rnn.events.scales import scale_histogram
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.guidance import GuidedNetwork
from perf_rnn.generation.openings import Opening, from_notes, silence
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import Sampler
from perf_rnn.models import Model, load_model
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain

TESTDATA = pathlib.Path(__file__).parent / "testdata"
BUNDLES = TESTDATA / "magenta_bundles"
# One of each config, and networks with attention and residual connections.
_NETWORKS = (*default_configs, "attention", "residual", "attention_residual")
_OPTIONAL = "optional_multiconditioned_performance_with_dynamics"
# A name for each small case, its network and guidance.
_SMALL = (
    *((name, name, 1.0) for name in _NETWORKS),
    ("guidance", _OPTIONAL, 2.0),
    ("guidance_of_density", _OPTIONAL, 1.5),
)
NAMES = [name for name, _, _ in _SMALL]

# Every limit in one of them, and controls where the model has such.
_LIMITS = (
    SamplingOptions(),
    SamplingOptions(0.8, top_p=0.9, pitch_min_p=0.0),
    SamplingOptions(1.2, top_k=30, min_p=0.02),
)
_ASKED = (
    {"notes_per_second": 3.0, "pitch_class_histogram": "C minor"},
    {"notes_per_second": 11.0},
    {},
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A model, and how it is used; the number chooses limits, controls, seed and opening."""

    name: str
    model: Model
    number: int
    midi_file: pathlib.Path
    num_read: int
    num_drawn: int
    guidance: float = 1.0

    @functools.cached_property
    def _real(self) -> Opening:
        """The beginning of a real performance."""
        opening = from_notes(apply_sustain(read_midi_file(self.midi_file)), self.model.config)
        return dataclasses.replace(opening, events=opening.events[: self.num_read])

    @property
    def _opening(self) -> Opening:
        return silence(self.model.config) if self.number % 2 else self._real

    @property
    def _limits(self) -> SamplingOptions:
        return dataclasses.replace(_LIMITS[self.number % len(_LIMITS)], guidance=self.guidance)

    @property
    def _seed(self) -> tuple[int, int]:
        return self.number * 2**33, self.number

    @functools.cached_property
    def _schedule(self) -> ControlSchedule:
        conditioning = self.model.config.conditioning
        known = {signal.name for signal in conditioning.signals}
        asked = _ASKED[self.number % len(_ASKED)]
        values = {name: value for name, value in asked.items() if name in known}
        disabled = (not values) if conditioning.optional else None
        return ControlSchedule(conditioning, values, disabled=disabled)

    @property
    def _controls(self) -> NDArray[np.float32]:
        return self._schedule(np.zeros(1, np.int64))

    def jobs(self) -> list[dict]:
        """What drive_engine.mjs computes: logits of real events, and drawn events.

        It reads the model and the logits expected in the files NAME.model and NAME.logits.
        """
        asked = _ASKED[self.number % len(_ASKED)]
        scale = asked.get("pitch_class_histogram")
        opening = self._opening
        logits = {
            "do": "logits",
            "model": f"{self.name}.model",
            "events": _lists(self._real.events),
            "controls": {"vector": self._controls[0].tolist(), "guidance": self.guidance},
            "expected": f"{self.name}.logits",
        }
        drawn = {
            "do": "drawn",
            "model": f"{self.name}.model",
            "seed": self._seed,
            "leadIn": [] if opening.lead_in is None else _lists(opening.lead_in),
            "opening": _lists(opening.events),
            "limits": dataclasses.asdict(self._limits),
            "asked": {
                "notes_per_second": asked.get("notes_per_second"),
                "pitch_class_histogram": scale and scale_histogram(scale),
            },
            "count": self.num_drawn,
        }
        return [logits, drawn]

    @functools.cached_property
    def logits(self) -> NDArray[np.float32]:
        """The logits after each real event, [events, classes]."""
        network = GuidedNetwork(self.model, 1, self.guidance)
        given = self._controls, self.guidance
        events = self._real.events
        return np.concatenate([network.step(event[np.newaxis], *given)[1] for event in events])

    @functools.cached_property
    def drawn(self) -> list[list[int]]:
        """The events drawn."""
        sampler = Sampler(self.model, self._opening, [self._seed], self._limits, self._schedule)
        return _lists([sampler.step()[0] for _ in range(self.num_drawn)])


def small_cases(midi_file: pathlib.Path, num_read: int, num_drawn: int) -> list[Case]:
    """Cases of small networks, one for each of NAMES."""
    return [
        Case(
            name,
            load_model(BUNDLES / f"{network}.mag", network if network in default_configs else None),
            number,
            midi_file,
            num_read,
            num_drawn,
            guidance,
        )
        for number, (name, network, guidance) in enumerate(_SMALL)
    ]


def _lists(events) -> list[list[int]]:
    """Events as lists of one class a head."""
    return [np.atleast_1d(event).tolist() for event in events]

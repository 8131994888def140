import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.midi_writer import at_tempo, to_midi
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.pedal import with_pedal
from perf_rnn.notes.transforms import apply_sustain, quantize

# Of few pitches and steps, so that notes meet in every way: at once, struck again, overlapping.
_NOTES = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 80), st.integers(60, 63), st.integers(0, 1)),
    max_size=40,
)


def heard(notes: NoteArrays) -> list[tuple[float, float, int, int]]:
    columns = (notes.start_time, notes.end_time, notes.pitch, notes.instrument)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=300)
@given(_NOTES)
def test_what_is_heard_is_the_same(rows):
    start, length, pitch, instrument = np.array(rows).reshape(-1, 4).T
    notes = NoteArrays(
        start_time=start / 100,
        end_time=(start + length) / 100,
        pitch=pitch,
        velocity=np.full(len(start), 80),
        instrument=instrument,
        is_drum=pitch == 63,
    )
    played = with_pedal(notes)
    assert heard(apply_sustain(played)) == heard(notes)
    assert (played.end_time <= notes.end_time).all()


@pytest.mark.parametrize("qpm", [120, 97.3])
def test_real_performances(asap_dir, qpm):
    before, after = [], []
    for path in sorted(asap_dir.rglob("*.mid")):
        performance = apply_sustain(read_midi_file(path))
        notes = at_tempo(performance.take(control_changes=slice(0)), qpm)
        played = parse_midi(to_midi(with_pedal(notes)))
        assert heard(apply_sustain(played)) == heard(parse_midi(to_midi(notes)))
        before.append(most_keys_down(notes))
        after.append(most_keys_down(played))
    # Ten fingers are enough.
    assert max(after) <= 10 < max(before)


def most_keys_down(notes: NoteArrays) -> int:
    starts, ends = np.sort(notes.start_time), np.sort(notes.end_time)
    return int((np.arange(1, len(starts) + 1) - ends.searchsorted(starts, side="right")).max())


def test_an_arpeggio_that_ends_together():
    notes = NoteArrays(
        start_time=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0],
        end_time=[2.0, 2.0, 2.0, 2.0, 2.4, 3.05],
        pitch=[48, 60, 64, 67, 72, 72],
        velocity=[80] * 6,
    )
    played = with_pedal(notes)
    # Each key is held until the next is struck; the last two are held by the hand.
    assert played.end_time.tolist() == [0.5, 1.0, 1.5, 2.0, 2.4, 3.05]
    pedal = zip(played.control_time, played.control_number, played.control_value, strict=True)
    assert [*pedal] == [(0.5, 64, 127), (2.0, 64, 0)]
    assert played.num_notes == notes.num_notes


def test_an_instrument_with_a_pedal_of_its_own_is_left_alone():
    column = {"control_time": [0.1], "control_number": [64], "control_value": [127]}
    notes = NoteArrays(
        start_time=[0.0, 0.0], end_time=[2.0, 2.0], pitch=[60, 64], velocity=[80, 80], **column
    )
    assert with_pedal(notes).end_time.tolist() == [2.0, 2.0]


def test_quantised_notes():
    notes = NoteArrays(start_time=[0.0], end_time=[2.0], pitch=[60], velocity=[80])
    with pytest.raises(PerfRnnError, match="quantised"):
        with_pedal(quantize(notes, 100))


def test_the_pedal_in_another_reader(asap_dir):
    """mido, which knows nothing of note arrays, reads the pedal's messages between the notes'."""
    (path, *_) = sorted(asap_dir.rglob("*.mid"))
    notes = apply_sustain(read_midi_file(path)).take(control_changes=slice(0))
    played = with_pedal(at_tempo(notes))
    time, times = 0.0, []
    for message in mido.MidiFile(file=io.BytesIO(to_midi(played))):
        time += message.time
        if message.type == "control_change":
            times.append((time, message.control, message.value))
    expected = [*zip(played.control_time, played.control_number, played.control_value, strict=True)]
    assert np.allclose(times, expected, atol=0.0003)
    assert len(times) == 48

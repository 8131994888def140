import io

import mido
import numpy as np
import pytest
from note_seq import NoteSequence, midi_io

import perf_rnn
from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.midi_facts import facts_text, read_facts
from perf_rnn.notes.midi_writer import at_tempo, instruments, to_midi


def note_seq_midi(sequence) -> bytes:
    file = io.BytesIO()
    midi_io.note_sequence_to_pretty_midi(sequence).write(file)
    return file.getvalue()


def notes_of(**changed) -> NoteArrays:
    """Two notes; `changed` are columns."""
    columns = {
        "start_time": [0.0, 1.0],
        "end_time": [1.0, 2.0],
        "pitch": [60, 64],
        "velocity": [80, 80],
        "instrument": [0, 0],
        "program": [0, 0],
        "is_drum": [False, False],
    }
    return NoteArrays(**columns | changed)


@pytest.mark.parametrize("config", ["performance_with_dynamics", "performance"])
def test_generated_pieces_are_written_as_note_seq_writes_them(config):
    for piece in perf_rnn.generate(config, seconds=20, num_outputs=2, seed=3, primer=[60, 64]):
        assert to_midi(piece) == note_seq_midi(piece)


def test_recorded_pieces_are_written_as_note_seq_writes_them(asap_dir):
    paths = sorted(asap_dir.rglob("*.mid"))
    assert len(paths) == 3
    for path in paths:
        sequence = midi_io.midi_file_to_note_sequence(str(path))
        assert to_midi(from_note_sequence(sequence)) == note_seq_midi(sequence)


@pytest.fixture
def orchestra() -> NoteSequence:
    """Three named instruments with all that a track can hold, under changing tempos."""
    sequence = NoteSequence(ticks_per_quarter=480)
    for time, qpm in [(0, 100), (2.5, 77), (4, 133.3)]:
        sequence.tempos.add(time=time, qpm=qpm)
    for time, numerator, denominator in [(1, 3, 4), (3, 6, 8)]:
        sequence.time_signatures.add(time=time, numerator=numerator, denominator=denominator)
    for key in range(12):
        sequence.key_signatures.add(time=key, key=key, mode=key % 2)
    generator = np.random.default_rng(1)
    for instrument, program, is_drum in [(0, 0, False), (1, 40, False), (2, 0, True)]:
        sequence.instrument_infos.add(instrument=instrument, name=f"Stimme {instrument} für alle")
        place = {"instrument": instrument, "program": program, "is_drum": is_drum}
        for _ in range(50):
            start, length = generator.uniform(0, 6), generator.uniform(0.05, 1)
            pitch, velocity, value = map(int, generator.integers(1, 127, 3))
            sequence.notes.add(
                start_time=start, end_time=start + length, pitch=pitch, velocity=velocity, **place
            )
            sequence.control_changes.add(
                time=start, control_number=pitch, control_value=value, **place
            )
            sequence.pitch_bends.add(time=start, bend=value * 64 - 4096, **place)
    return sequence


def test_all_that_a_sequence_holds_is_written_as_note_seq_writes_it(orchestra):
    assert to_midi(from_note_sequence(orchestra)) == note_seq_midi(orchestra)


def test_no_notes():
    assert to_midi(NoteArrays()) == note_seq_midi(NoteSequence())


def test_programs_that_share_instrument_0_get_a_track_each():
    notes = notes_of(program=[0, 40])
    assert instruments(notes) == [(0, 0, False), (0, 40, False)]
    tracks = mido.MidiFile(file=io.BytesIO(to_midi(notes))).tracks[1:]
    pitches = [{m.note for m in track if m.type == "note_on"} for track in tracks]
    assert pitches == [{60}, {64}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"pitch": [60, 128]},
        {"velocity": [80, -1]},
        {"program": [128, 0]},
        {"start_time": [0.0, -1.0]},
        {"end_time": [1.0, float("nan")]},
        {"end_time": [1.0, 1e9]},
        {"tempo_time": [0.0], "tempo_qpm": [0.0]},
        {"tempo_time": [0.0, float("inf")], "tempo_qpm": [120.0, 120.0]},
        {"tempo_time": [float("nan")], "tempo_qpm": [120.0]},
        {"tempo_time": [0.0, 1e300], "tempo_qpm": [120.0, 120.0]},
        {"ticks_per_quarter": 40000},
    ],
)
def test_what_midi_cannot_hold(wrong):
    with pytest.raises(PerfRnnError, match="MIDI cannot hold"):
        to_midi(notes_of(**wrong))


def test_a_denominator_that_is_no_power_of_two():
    signature = {"time_signature_time": [0.0], "time_signature_numerator": [4]}
    with pytest.raises(PerfRnnError, match="time_signature_denominator 3 is not a power of 2"):
        to_midi(notes_of(**signature, time_signature_denominator=[3]))


@pytest.mark.parametrize("qpm", [10, 60, 97.3, 120, 333.3, 1000])
def test_times_are_the_same_in_any_tempo(qpm):
    steps = np.arange(60_000)  # Ten minutes.
    notes = NoteArrays(
        start_time=steps / 100,
        end_time=(steps + 1) / 100,
        pitch=steps % 88 + 21,
        velocity=steps % 127 + 1,
    )
    read = parse_midi(to_midi(at_tempo(notes, qpm)))
    assert read.tempo_qpm == pytest.approx([qpm], rel=1e-4)
    half_a_tick = 30 / qpm / 1000
    for name in ("start_time", "end_time"):
        worst = np.abs(getattr(read, name) - getattr(notes, name)).max()
        assert worst < (1e-9 if qpm in (60, 120) else half_a_tick + 1e-6)


def test_facts_are_a_text_event():
    facts = {"seed": 7, "NLL": 1.9, "title": "Prélude\n", "notes_per_second": [2, 16.5]}
    midi = to_midi(NoteArrays(), facts_text(facts))
    assert read_facts(midi) == facts
    (text,) = [m.text for m in mido.MidiFile(file=io.BytesIO(midi)).tracks[0] if m.type == "text"]
    assert text.startswith("perf_rnn {")
    assert text.isascii()
    assert read_facts(to_midi(NoteArrays())) == {}


@pytest.mark.parametrize(
    "text", ["perf_rnn", "perf_rnn [1]", "perf_rnn {", "perf_rnn " + "[" * 9**5, "Words"]
)
def test_text_of_others_holds_no_facts(text):
    assert read_facts(to_midi(NoteArrays(), text)) == {}


def test_facts_are_texts_numbers_and_lists_of_numbers():
    text = 'perf_rnn {"a": {}, "c": [[1]], "d": null, "e": true, "f": 1, "g": NaN, "h": [1e999]}'
    assert read_facts(to_midi(NoteArrays(), text)) == {"f": 1}

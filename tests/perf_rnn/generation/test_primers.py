import numpy as np
import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn.generation import primers
from perf_rnn.notes.arrays import NoteArrays, as_arrays


def notes_of(arrays):
    columns = arrays.pitch, arrays.start_time, arrays.end_time, arrays.velocity
    return [tuple(map(float, note)) for note in zip(*columns, strict=True)]


def test_pitches():
    chord = primers.from_pitches("[60, 64]")
    assert notes_of(chord) == [(60, 0, 0.5, 100), (64, 0, 0.5, 100)]
    assert chord.total_time == 0.5


def test_melody():
    melody = primers.from_melody("[60, -2, 62, -1, -1, 64, -2, -2]")
    assert notes_of(melody) == [
        (60, 0, 0.25, 100),
        (62, 0.25, 0.375, 100),
        (64, 0.625, 1.0, 100),
    ]
    assert melody.total_time == 1.0


def test_melody_ends_with_silence():
    assert primers.from_melody("[60, -1, -2, -2]").total_time == 0.5


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (primers.from_pitches, "60", "primer_pitches '60' is not a list of integers"),
        (primers.from_pitches, "[]", "is not a list of integers"),
        (primers.from_pitches, "[60,", "is not a list of integers"),
        (primers.from_pitches, "[60.5]", "is not a list of integers"),
        (primers.from_pitches, "[True]", "is not a list of integers"),
        (primers.from_pitches, "__import__('os')", "is not a list of integers"),
        (primers.from_pitches, "[128]", "primer_pitches: 128 is outside 0 to 127"),
        (primers.from_pitches, "[-1]", "-1 is outside 0 to 127"),
        (primers.from_melody, "[60, -3]", "primer_melody: -3 is outside -2 to 127"),
        (primers.from_melody, "[-1, -2]", "holds no note"),
        (primers.from_melody, "[-2, -2]", "holds no note"),
    ],
)
def test_malformed_text(make, text, message):
    with pytest.raises(ValueError, match=message):
        make(text)


def write_midi(path, notes, pedal=()):
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    for pitch, start, end, program, is_drum in notes:
        sequence.notes.add(
            pitch=pitch,
            start_time=start,
            end_time=end,
            velocity=80,
            program=program,
            is_drum=is_drum,
            instrument=9 if is_drum else program,
        )
        sequence.total_time = max(sequence.total_time, end)
    for time, value in pedal:
        sequence.control_changes.add(time=time, control_number=64, control_value=value)
    midi_io.sequence_proto_to_midi_file(sequence, str(path))
    return str(path)


def test_midi_with_pedal(tmp_path):
    path = write_midi(tmp_path / "a.mid", [(60, 0, 0.5, 0, False)], pedal=[(0.25, 127), (1.5, 0)])
    arrays = primers.from_any(path).notes
    assert arrays.pitch.tolist() == [60]
    np.testing.assert_allclose(arrays.end_time, [1.5], atol=0.01)


def test_midi_with_programs_and_drums(tmp_path):
    notes = [(60, 0, 1, 0, False), (40, 0, 1, 33, False), (36, 0, 1, 0, True)]
    arrays = primers.from_any(write_midi(tmp_path / "a.mid", notes)).notes
    assert sorted(arrays.pitch.tolist()) == [40, 60]


def test_midi_without_notes(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mid: has no notes$"):
        primers.from_any(write_midi(tmp_path / "a.mid", []))
    with pytest.raises(ValueError, match=r"b\.mid: has no notes but drums"):
        primers.from_any(write_midi(tmp_path / "b.mid", [(36, 0, 1, 0, True)]))


def test_not_midi(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"a\.mid: not a MIDI file \(no MThd header\)"):
        primers.from_any(str(tmp_path / "a.mid"))
    with pytest.raises(PerfRnnError, match=r"b\.mid: there is no such file; a primer is a MIDI"):
        primers.from_any(str(tmp_path / "b.mid"))


def make_sequence(*notes):
    sequence = music_pb2.NoteSequence()
    for pitch, start, end, program in notes:
        sequence.notes.add(
            pitch=pitch, velocity=80, start_time=start, end_time=end, program=program
        )
        sequence.total_time = max(sequence.total_time, end)
    return sequence


def test_from_any(tmp_path):
    sequence = make_sequence((60, 0, 0.5, 0), (64, 0.5, 1.0, 0))
    sequence.control_changes.add(time=0.25, control_number=64, control_value=127)
    sequence.control_changes.add(time=0.75, control_number=64, control_value=0)
    primer = primers.from_any(sequence)
    assert notes_of(primer.notes) == [(60, 0, 0.75, 80), (64, 0.5, 1.0, 80)]
    assert notes_of(primer.recording) == [(60, 0, 0.5, 80), (64, 0.5, 1.0, 80)]
    assert notes_of(primers.from_any(as_arrays(sequence)).notes) == notes_of(primer.notes)
    assert primers.from_arguments(None, None, None) is None
    assert notes_of(primers.from_any([60]).notes) == [(60, 0, 0.5, 100)]
    write_midi(tmp_path / "a.mid", [(60, 0, 0.5, 0, False)])
    assert notes_of(primers.from_any(tmp_path / "a.mid").notes)[0][0] == 60
    for bad, message in (
        (make_sequence(), "the primer: has no notes"),
        ([60, "a"], "is not a list of integers"),
        (60, "a int is no primer; give a NoteSequence"),
    ):
        with pytest.raises(ValueError, match=message):
            primers.from_any(bad)


def test_a_sequence_that_does_not_say_how_long_it_is():
    sequence = music_pb2.NoteSequence()
    sequence.notes.add(pitch=60, velocity=80, start_time=1, end_time=1.5)
    primer = primers.from_any(sequence)
    assert (primer.begin, primer.end) == (1, 1.5)
    assert notes_of(primer.recording) == [(60, 1, 1.5, 80)]


def test_quantised_sequences_are_primers_too():
    sequence = make_sequence((60, 0, 0.5, 0))
    sequence.quantization_info.steps_per_second = 100
    primer = primers.from_any(sequence)
    assert not primer.notes.is_quantized
    assert not primer.recording.is_quantized


def test_program():
    for programs, expected in (((4, 4), 4), ((4, 5), 0), ((0, 0), 0)):
        primer = primers.from_any(make_sequence(*((60, 0, 1, program) for program in programs)))
        assert primers.program_of(primer.notes) == expected


def test_cut():
    notes = as_arrays(make_sequence((60, 0, 0.5, 0), (62, 0.5, 2.0, 0), (64, 1.0, 2.0, 0)))
    short = primers.cut(notes, 1.0)
    assert notes_of(short) == [(60, 0, 0.5, 80), (62, 0.5, 1.0, 80)]
    assert short.total_time == 1.0
    assert notes_of(primers.cut(notes, 9.0)) == notes_of(notes)
    assert primers.cut(notes, 9.0).total_time == 2.0


@pytest.mark.parametrize("seconds", [0.2, float("nan")])
def test_a_cut_that_leaves_no_note_is_refused(seconds):
    with pytest.raises(ValueError, match="no note of the primer starts in its first"):
        primers.cut(primers.from_melody("[-1,-1,-1,-1,60]"), seconds)


def pedalled():
    """Seven seconds: three of silence, and a pedal that holds the second note; then it stays down.

    The notes sound from 3 to 4, 4 to 5.5, 6 to 7 and 6.5 to 7.
    """
    return NoteArrays(
        start_time=[3.0, 4.0, 6.0, 6.5],
        end_time=[4.0, 4.5, 6.25, 7.0],
        pitch=[60, 62, 64, 65],
        velocity=[1, 50, 99, 127],
        control_time=[4.2, 5.5, 6.1],
        control_number=[64, 64, 64],
        control_value=[127, 0, 90],
        total_time=7.0,
    )


def pedal_of(notes):
    return list(zip(notes.control_time.tolist(), notes.control_value.tolist(), strict=True))


@pytest.mark.parametrize(
    ("seconds", "primer_from", "begin", "expected"),
    [
        (99, "start", 3, [(60, 0, 1, 1), (62, 1, 2.5, 50), (64, 3, 4, 99), (65, 3.5, 4, 127)]),
        (99, "end", 3, [(60, 0, 1, 1), (62, 1, 2.5, 50), (64, 3, 4, 99), (65, 3.5, 4, 127)]),
        # Silence before the first note does not count.
        (1.25, "start", 3, [(60, 0, 1, 1), (62, 1, 1.25, 50)]),
        (1.5, "end", 6, [(64, 0, 1, 99), (65, 0.5, 1, 127)]),
        (0.5, "end", 6.5, [(65, 0, 0.5, 127)]),
    ],
)
def test_part_of_a_recording(seconds, primer_from, begin, expected):
    primer = primers.from_any(pedalled(), seconds, primer_from)
    assert (primer.begin, notes_of(primer.notes)) == (begin, expected)
    assert primer.notes.total_time == expected[-1][2]


def test_the_recording_is_handed_back():
    whole = primers.from_any(pedalled(), 0.5, "end").recording
    assert notes_of(whole) == notes_of(pedalled())
    # What is generated is not held by the pedal of before.
    assert pedal_of(whole) == [*pedal_of(pedalled()), (7.0, 0)]
    beginning = primers.from_any(pedalled(), 1.25).recording
    assert notes_of(beginning) == [(60, 3, 4, 1), (62, 4, 4.25, 50)]
    assert pedal_of(beginning) == [(4.2, 127), (4.25, 0)]
    assert beginning.total_time == 4.25


def test_join():
    notes = pedalled().replace(instrument=[5, 5, 5, 5], program=[4, 4, 4, 4])
    primer = primers.from_any(notes, 0.5, "end")
    added = NoteArrays([0.0, 0.25], [0.5, 1.0], [70, 72], [20, 30], program=[4, 4], total_time=2.0)
    joined = primer.join(added, 0.5)
    assert notes_of(joined) == [*notes_of(notes), (70, 7, 7.5, 20), (72, 7.25, 8, 30)]
    assert joined.instrument.tolist() == [5] * 6
    assert joined.total_time == 9


def test_nothing_to_continue():
    with pytest.raises(ValueError, match=r"no note starts in its last 0\.25 s; take more of it"):
        primers.from_any(pedalled(), 0.25, "end")
    with pytest.raises(ValueError, match="primer_from 'middle' is neither start nor end"):
        primers.from_arguments([60], None, None, "middle")
    with pytest.raises(ValueError, match="max_primer_seconds nan is not a number above 0"):
        primers.from_arguments([60], None, float("nan"))

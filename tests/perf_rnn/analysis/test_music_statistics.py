"""Statistics of a piece: by hand, against slow plain Python, and against pretty_midi."""

import collections
import dataclasses
import itertools
import math
import pathlib
import statistics

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perf_rnn.analysis.music_statistics import UNITS, cut, minutes, music_statistics, played_order
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import quantize, stretch, transpose

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"


def notes_of(notes, total_time=None):
    """Notes (start, end, pitch, velocity) in seconds."""
    start, end, pitch, velocity = zip(*notes, strict=True) if notes else ((), (), (), ())
    return NoteArrays(
        start_time=start,
        end_time=end,
        pitch=pitch,
        velocity=velocity,
        total_time=max(end) if total_time is None else total_time,
    )


def melody(pitches, seconds=0.5):
    return notes_of([(i * seconds, (i + 1) * seconds, p, 80) for i, p in enumerate(pitches)])


# Notes in steps of 10 ms, and steps after the last of them.
steps_of_pieces = st.tuples(
    st.lists(
        st.tuples(
            st.integers(0, 300), st.integers(1, 80), st.integers(21, 108), st.integers(1, 127)
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 100),
)


def piece_of_steps(piece):
    steps, rest = piece
    notes = [(start / 100, (start + length) / 100, p, v) for start, length, p, v in steps]
    return notes_of(notes, max(end for _, end, _, _ in notes) + rest / 100)


def slow_statistics(steps, rest):
    """The same figures step by step and note by note."""
    notes = sorted((start, pitch, length, velocity) for start, length, pitch, velocity in steps)
    total = max(start + length for start, _, length, _ in notes) + rest
    sounding = [0] * total
    for start, _, length, _ in notes:
        for step in range(start, start + length):
            sounding[step] += 1
    silences, silence = [], 0
    for count in [*sounding, 1]:
        silence = 0 if count else silence + 1
        silences.append(silence)
    chords = []
    for note in notes:
        if chords and note[0] - chords[-1][-1][0] <= 3:
            chords[-1].append(note)
        else:
            chords.append([note])
    order = [pitch for chord in chords for pitch in sorted(note[1] for note in chord)]
    seen, repeated = set(), 0
    for i in range(len(order) - 3):
        repeated += tuple(order[i : i + 4]) in seen
        seen.add(tuple(order[i : i + 4]))
    onsets = sorted({note[0] for note in notes})
    intervals = [(b - a) / 100 for a, b in itertools.pairwise(onsets)]
    lengths = [note[2] / 100 for note in notes]
    velocities = [note[3] for note in notes]
    classes = collections.Counter(note[1] % 12 for note in notes)
    shares = [count / len(notes) for count in classes.values()]
    return {
        "note_density": len(notes) / (total / 100),
        "velocity_mean": statistics.mean(velocities),
        "velocity_spread": statistics.pstdev(velocities),
        "velocity_range": max(velocities) - min(velocities),
        "polyphony": statistics.mean(count for count in sounding if count),
        "note_length_mean": statistics.mean(lengths),
        "note_length_spread": statistics.pstdev(lengths),
        "longest_note": max(lengths),
        "onset_interval_mean": statistics.mean(intervals) if intervals else math.nan,
        "onset_interval_spread": statistics.pstdev(intervals) if intervals else math.nan,
        "pitch_range": max(note[1] for note in notes) - min(note[1] for note in notes),
        "pitch_class_entropy": -sum(share * math.log2(share) for share in shares),
        "repeated_ngrams": repeated / (len(order) - 3) if len(order) > 3 else math.nan,
        "silence": sounding.count(0) / total,
        "longest_silence": max(silences) / 100,
    }


def test_by_hand():
    measured = music_statistics(
        notes_of(
            [(0.5, 1.5, 60, 60), (1.0, 2.0, 64, 80), (1.0, 1.5, 67, 100), (3.0, 3.5, 72, 40)],
            total_time=4.0,
        )
    )
    assert dataclasses.asdict(measured) == pytest.approx(
        {
            "note_density": 1.0,
            "velocity_mean": 70.0,
            "velocity_spread": math.sqrt(500),
            "velocity_range": 60.0,
            "polyphony": 1.5,  # 3 s of notes in 2 s of sound.
            "note_length_mean": 0.75,
            "note_length_spread": 0.25,
            "longest_note": 1.0,
            "onset_interval_mean": 1.25,
            "onset_interval_spread": 0.75,
            "pitch_range": 12.0,
            "pitch_class_entropy": 1.5,  # C twice, E, G.
            "repeated_ngrams": 0.0,
            "silence": 0.5,  # 0 to 0.5, 2 to 3 and 3.5 to 4.
            "longest_silence": 1.0,
        }
    )


def test_one_note():
    measured = music_statistics(notes_of([(0.0, 2.0, 60, 80)]))
    missing = {name for name, value in vars(measured).items() if math.isnan(value)}
    assert missing == {"onset_interval_mean", "onset_interval_spread", "repeated_ngrams"}
    assert (measured.polyphony, measured.silence, measured.longest_silence) == (1.0, 0.0, 0.0)
    assert str(measured.pitch_class_entropy) == "0.0"


def test_silence_alone():
    measured = music_statistics(notes_of([], total_time=30.0))
    there = {name: value for name, value in vars(measured).items() if not math.isnan(value)}
    assert there == {"note_density": 0.0, "silence": 1.0, "longest_silence": 30.0}


@pytest.mark.parametrize(
    ("pitches", "share"),
    [
        ([60, 62, 64], math.nan),
        ([60, 62, 64, 65, 67, 69], 0.0),
        ([60, 62, 64, 65, 60, 62, 64, 65], 1 / 5),
        ([60] * 8, 4 / 5),
        ([60, 62, 64, 65, 72, 74, 76, 77], 0.0),  # A transposed repetition has other pitches.
    ],
)
def test_repeated_ngrams(pitches, share):
    assert music_statistics(melody(pitches)).repeated_ngrams == pytest.approx(share, nan_ok=True)


def test_played_order_takes_chords_from_below():
    step = np.array([100, 0, 3, 6, 10, 14, 100])
    pitch = np.array([50, 67, 64, 60, 72, 71, 40], np.int32)
    # 0, 3 and 6 are one chord, 10 and 14 too far apart for one.
    assert pitch[played_order(step, pitch)].tolist() == [60, 64, 67, 72, 71, 40, 50]
    assert played_order(step[:0], pitch[:0]).tolist() == []


@settings(max_examples=60, deadline=None)
@given(steps_of_pieces)
def test_equal_plain_python(piece):
    measured = dataclasses.asdict(music_statistics(piece_of_steps(piece)))
    assert measured == pytest.approx(slow_statistics(*piece), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(steps_of_pieces, st.integers(2, 5))
def test_stretch_scales_times(piece, factor):
    notes = piece_of_steps(piece)
    before = vars(music_statistics(notes))
    after = vars(music_statistics(stretch(notes, factor)))
    scales = {"s": factor, "1/s": 1 / factor}
    for name in UNITS.keys() - {"repeated_ngrams"}:  # Chords can fall apart.
        expected = before[name] * scales.get(UNITS[name], 1)
        assert after[name] == pytest.approx(expected, nan_ok=True), name


@settings(max_examples=30, deadline=None)
@given(steps_of_pieces, st.integers(-21, 19))
def test_transposition_changes_nothing(piece, semitones):
    notes = piece_of_steps(piece)
    moved = transpose(notes, semitones)
    before, after = (vars(music_statistics(n)) for n in (notes, moved))
    assert after == pytest.approx(before, nan_ok=True)


@pytest.mark.parametrize("path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.stem)
def test_equal_pretty_midi(path):
    midi = pretty_midi.PrettyMIDI(str(path))
    played = [note for instrument in midi.instruments for note in instrument.notes]
    end = max(note.end for note in played)
    measured = music_statistics(
        notes_of([(note.start, note.end, note.pitch, note.velocity) for note in played])
    )
    classes = midi.get_pitch_class_histogram(use_duration=False, use_velocity=False)
    classes = classes[classes > 0] / classes.sum()
    assert measured.pitch_class_entropy == pytest.approx(-(classes * np.log2(classes)).sum())
    assert measured.note_density == pytest.approx(len(played) / end, rel=1e-3)
    onsets = np.unique(np.floor(midi.get_onsets() * 100 + 0.5)) / 100
    assert measured.onset_interval_mean == pytest.approx(np.diff(onsets).mean())
    assert measured.onset_interval_spread == pytest.approx(np.diff(onsets).std())
    # Its piano roll cuts times down to frames, ours go to the nearest step; and it goes on to the
    # last movement of the pedal.
    for note in played:
        note.start = np.floor(note.start * 100 + 0.5) / 100 + 1e-4
        note.end = np.floor(note.end * 100 + 0.5) / 100 + 1e-4
    roll = midi.get_piano_roll(fs=100, pedal_threshold=None)[
        :, : int(max(note.end for note in played) * 100)
    ]
    sounding = (roll > 0).sum(axis=0)
    assert measured.silence == pytest.approx((sounding == 0).mean(), abs=1e-6)
    assert measured.polyphony == pytest.approx(sounding[sounding > 0].mean(), rel=1e-3)


def test_cut():
    notes = notes_of([(0, 1, 60, 80), (9, 12, 62, 80), (21, 25, 64, 80)])
    parts = cut(notes, 10)
    assert [part.pitch.tolist() for part in parts] == [[60, 62], [], [64]]
    assert parts[0].end_time.tolist() == [1, 10]
    assert parts[2].start_time.tolist() == [1]
    assert [part.total_time for part in parts] == [10, 10, 5]
    assert [part.start_time_offset for part in parts] == [0, 10, 20]
    assert music_statistics(parts[1]).silence == 1.0


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [(25, [25]), (30, [25]), (100, [25]), (17, [17]), (16, [16, 9]), (12.5, [12.5, 12.5])],
)
def test_what_is_left_is_kept_from_half_a_part_on(seconds, lengths):
    parts = cut(notes_of([(0, 1, 60, 80), (20, 25, 62, 80)]), seconds)
    assert [part.total_time for part in parts] == lengths


def test_minutes():
    notes = notes_of([(t, t + 0.5, 60, 80) for t in range(60)] + [(60, 89.9, 60, 80)])
    assert [minute.note_density for minute in minutes(notes)] == [1.0]
    notes = dataclasses.replace(notes, total_time=100.0)
    assert [minute.note_density for minute in minutes(notes)] == [1.0, 1 / 40]
    assert minutes(melody([60])) == []


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (notes_of([], 0.0), "there is nothing to measure"),
        (notes_of([(-1.0, 1.0, 60, 80)]), "is before time 0"),
        (quantize(melody([60]), 100), "quantised notes cannot be measured"),
    ],
)
def test_bad_notes(notes, message):
    with pytest.raises(ValueError, match=message):
        music_statistics(notes)

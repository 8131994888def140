"""Control signals: extraction equal to note_seq's, encoding, and what a user may ask for."""

import math
import pathlib

import numpy as np
import pytest
from event_notation import off, on, shift
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import midi_io, performance_controls

from perf_rnn.events.controls import (
    Conditioning,
    NoteDensity,
    PitchHistogram,
    disabled_values,
    parse_disabled,
)
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.events.scales import scale_histogram
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.transforms import apply_sustain, quantize

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"
CODEC = EventCodec(32)
DENSITY, HISTOGRAM = NoteDensity(), PitchHistogram()
BOTH = Conditioning((DENSITY, HISTOGRAM))
OPTIONAL = Conditioning((DENSITY, HISTOGRAM), optional=True)
EDGES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
EVEN = [np.float32(1 / 12)] * 12


def extract(signal, events):
    return signal.extract(np.array(events, np.int32), CODEC)


# Equal to note_seq

event_lists = st.lists(
    st.one_of(
        # On and off of 60, 61 and 72; shifts of 1, 50 and 100; velocity bins 1 and 32.
        st.sampled_from([60, 61, 72, 188, 189, 200, 256, 305, 355, 356, 387]),
        st.integers(0, 387),
    ),
    max_size=80,
)
SIGNALS = {
    DENSITY: performance_controls.NoteDensityPerformanceControlSignal(3.0, EDGES),
    HISTOGRAM: performance_controls.PitchHistogramPerformanceControlSignal(5.0),
}


@settings(deadline=None, max_examples=200)
@given(events=event_lists, ours=st.sampled_from([DENSITY, HISTOGRAM]))
def test_equal_to_note_seq(events, ours):
    theirs = SIGNALS[ours]
    expected = theirs.extract(CODEC.to_performance(events))
    values = extract(ours, events)
    assert len(values) == len(expected) == len(events)
    if events:
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
        inputs = [theirs.encoder.events_to_input(expected, i) for i in range(len(events))]
        np.testing.assert_allclose(ours.encode(expected), inputs, rtol=0, atol=1e-7)
    assert ours.encode(values).shape == (len(events), theirs.encoder.input_size)


@pytest.mark.parametrize(
    "path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.relative_to(ASAP).as_posix()
)
def test_real_performance_equals_note_seq(path):
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    events = CODEC.encode(quantize(apply_sustain(from_note_sequence(sequence)), 100))[:1500]
    performance = CODEC.to_performance(events)
    densities, histograms = (theirs.extract(performance) for theirs in SIGNALS.values())
    np.testing.assert_array_equal(extract(DENSITY, events), densities)
    np.testing.assert_allclose(extract(HISTOGRAM, events), histograms, rtol=1e-13)


# Extraction by hand


def test_density_by_hand():
    events = [on(60), on(64), shift(100), on(67), shift(100), off(60), shift(100), on(72), on(74)]
    # Three notes in three seconds: what starts as the window ends is out. Then three in the two
    # seconds that are left, two in the last one, and two in none.
    expected = [1.0, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 0.0, 0.0]
    assert extract(DENSITY, events).tolist() == expected


def test_density_window_is_at_most_three_seconds():
    events = [on(60), shift(100), on(62), shift(100), on(64), shift(99), shift(2), on(65)]
    # The last shift goes beyond the window, which is 3 s all the same; the note after it is out.
    assert extract(DENSITY, events)[0] == 1.0


def test_histogram_by_hand():
    events = [on(60), shift(100), on(72), on(60), shift(50), off(60), shift(50), off(72), shift(10)]
    histogram = extract(HISTOGRAM, events)
    # 60 for 1.5 s and 72 for 1 s are one class; striking 60 again does not count twice.
    np.testing.assert_allclose(histogram[0], [2.51] + [0.01] * 11)
    np.testing.assert_allclose(histogram[2][0], 0.01 + 0.5 * 2 + 0.5)
    np.testing.assert_allclose(histogram[5][0], 0.01 + 0.5)
    np.testing.assert_allclose(histogram[7], [0.01] * 12)
    np.testing.assert_array_equal(histogram[3:5], histogram[[2, 2]])


def test_histogram_counts_the_shift_that_ends_the_window_in_full():
    events = [on(61)] + [shift(99)] * 7
    # 500 steps are reached by the sixth shift.
    np.testing.assert_allclose(extract(HISTOGRAM, events)[0][1], 0.01 + 6 * 0.99)


@pytest.mark.parametrize("signal", [DENSITY, HISTOGRAM], ids=lambda signal: signal.name)
def test_no_events(signal):
    assert len(extract(signal, [])) == 0
    assert signal.encode(extract(signal, [])).shape == (0, signal.size)


# Encoding


@pytest.mark.parametrize(
    ("density", "place"),
    [(0, 0), (0.999, 0), (1, 1), (1.999, 1), (2, 2), (15.0, 4), (16, 5), (63.9, 6), (64, 7)],
)
def test_density_class(density, place):
    expected = np.zeros((1, 8))
    expected[0, place] = 1
    vectors = DENSITY.encode([density])
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected)


def test_histogram_shares():
    vectors = HISTOGRAM.encode([[2, 0, 1, 0, 1] + [0] * 7, [0] * 12])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0.5, 0, 0.25, 0, 0.25] + [0] * 7, EVEN]
    assert HISTOGRAM.encode([HISTOGRAM.default]).tolist() == [EVEN]


def test_sizes():
    assert Conditioning().size == 0
    assert Conditioning((DENSITY,)).size == 8
    assert BOTH.size == 20
    assert OPTIONAL.size == 21


def test_conditioning_encodes_in_order():
    vectors = BOTH.encode([[3.0, 100.0], [HISTOGRAM.default, scale_histogram("c_whole_tone")]])
    assert vectors.dtype == np.float32
    sixth = np.float32(1 / 6)
    assert vectors.tolist() == [
        [0, 0, 1, 0, 0, 0, 0, 0, *EVEN],
        [0, 0, 0, 0, 0, 0, 0, 1, *[sixth, 0] * 6],
    ]


def test_one_value_stands_for_all():
    vectors = OPTIONAL.encode([[3.0, 3.0, 3.0], [HISTOGRAM.default]], disabled=[False, True, False])
    on_vector = [0, 0, 0, 1, 0, 0, 0, 0, 0, *EVEN]
    assert vectors.tolist() == [on_vector, [1] + [0] * 20, on_vector]
    assert OPTIONAL.encode([[3.0], [HISTOGRAM.default]], True).tolist() == [[1] + [0] * 20]


def test_conditioning_extracts_what_its_signals_do():
    events = np.array([on(60), shift(100), on(62), shift(50), off(60), shift(100)])
    expected = np.hstack(
        [np.zeros((6, 1))]
        + [signal.encode(signal.extract(events, CODEC)) for signal in (DENSITY, HISTOGRAM)]
    )
    np.testing.assert_array_equal(OPTIONAL.extract(events, CODEC), expected)
    np.testing.assert_array_equal(BOTH.extract(events, CODEC), expected[:, 1:])
    disabled = [[1] + [0] * 20] * 6
    assert OPTIONAL.extract(events, CODEC, disabled=True).tolist() == disabled


def test_no_conditioning():
    assert Conditioning().extract(np.array([on(60), shift(100)]), CODEC).shape == (2, 0)
    assert Conditioning().encode([]).shape == (1, 0)


def test_only_optional_conditioning_can_be_disabled():
    with pytest.raises(ValueError, match="only a model with optional conditioning"):
        BOTH.encode([[3.0], [HISTOGRAM.default]], disabled=True)
    with pytest.raises(ValueError, match="only a model with optional conditioning"):
        Conditioning().extract(np.array([on(60)]), CODEC, disabled=True)


# What a user asks for


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", [3.0]),
        (" 0.5 ", [0.5]),
        ("[1, 4, 16]", [1.0, 4.0, 16.0]),
        ("(0, 2)", [0.0, 2.0]),
        ("[7]", [7.0]),
    ],
)
def test_parse_density(text, values):
    assert DENSITY.parse(text) == values


NOT_A_DENSITY = r"notes_per_second {} is not a number of at least 0; give one such as 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-5", NOT_A_DENSITY.format("-5")),
        ("fast", NOT_A_DENSITY.format("'fast'")),
        ("nan", NOT_A_DENSITY.format("'nan'")),
        ("1e999", NOT_A_DENSITY.format("inf")),
        ("1" + "0" * 400, NOT_A_DENSITY.format("10*")),
        ("True", NOT_A_DENSITY.format("True")),
        ("None", NOT_A_DENSITY.format("None")),
        ("2j", NOT_A_DENSITY.format("2j")),
        ("[1, -4]", NOT_A_DENSITY.format("-4")),
        ("[[1, 4]]", NOT_A_DENSITY.format(r"\[1, 4\]")),
        ("{1: 2}", NOT_A_DENSITY.format("{1: 2}")),
        ("[]", r"notes_per_second is an empty list; give a value or a list of values"),
        ("", NOT_A_DENSITY.format("''")),
        ("1, 4]", NOT_A_DENSITY.format(r"'1, 4\]'")),
        ("3 notes", NOT_A_DENSITY.format("'3 notes'")),
        ("__import__('os')", NOT_A_DENSITY.format(r"\"__import__\('os'\)\"")),
        ("(1).real", NOT_A_DENSITY.format(r"'\(1\).real'")),
        ("1+1", NOT_A_DENSITY.format(r"'1\+1'")),
        ("\0", NOT_A_DENSITY.format(r"'\\x00'")),
        ("[" * 10000, NOT_A_DENSITY.format(r"'\[*'")),
    ],
)
def test_parse_density_refuses(text, message):
    with pytest.raises(ValueError, match=message) as error:
        DENSITY.parse(text)
    assert "\n" not in str(error.value)


C_MAJOR = (1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("c_major", [C_MAJOR]),
        ("'C_Major'", [C_MAJOR]),
        ("[2,0,1,0,1,1,0,1,0,1,0,1]", [(2.0, *C_MAJOR[1:])]),
        ("[c_major]", [C_MAJOR]),
        ("[c_major, [2,0,1,0,1,1,0,1,0,1,0,1]]", [C_MAJOR, (2.0, *C_MAJOR[1:])]),
        ("[[1,0,1,0,1,1,0,1,0,1,0,1], 'c_major']", [C_MAJOR, C_MAJOR]),
        ("1,0,1,0,1,1,0,1,0,1,0,1", [C_MAJOR]),
        ("C major", [C_MAJOR]),
        ("[C major, 'c major', B# major]", [C_MAJOR] * 3),
    ],
)
def test_parse_histogram(text, values):
    assert HISTOGRAM.parse(text) == values


NOT_A_HISTOGRAM = (
    "pitch_class_histogram {} is neither 12 numbers of at least 0, not all of them 0, nor a scale "
    "such as C major, F# dorian or e_flat_minor: a root and one of major, minor, harmonic_minor, "
    "melodic_minor, dorian, phrygian, lydian, mixolydian, locrian, pentatonic, blues, whole_tone, "
    "chromatic"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (str([1] * 11), NOT_A_HISTOGRAM.format(r"\[1, .*\]")),
        (str([1] * 11 + [-1]), NOT_A_HISTOGRAM.format(r"\[1, .*, -1\]")),
        (str([0] * 12), NOT_A_HISTOGRAM.format(r"\[0, .*\]")),
        (str([1] * 11 + ["c_major"]), NOT_A_HISTOGRAM.format(r"\[1, .*, 'c_major'\]")),
        (str([1e308] * 12), NOT_A_HISTOGRAM.format(r"\[1e\+308, .*\]")),
        ("3", NOT_A_HISTOGRAM.format("3")),
        ("[c_major, [1]]", NOT_A_HISTOGRAM.format(r"\[1\]")),
        ("[]", "pitch_class_histogram is an empty list"),
        ("c_minor_ish", NOT_A_HISTOGRAM.format("'c_minor_ish'")),
        ("major", NOT_A_HISTOGRAM.format("'major'")),
        ("[h_major]", NOT_A_HISTOGRAM.format("'h_major'")),
        ("c#", NOT_A_HISTOGRAM.format("'c#'")),
        ("cmajor", NOT_A_HISTOGRAM.format("'cmajor'")),
        ("[C major, F# dorisch]", NOT_A_HISTOGRAM.format("'F# dorisch'")),
        ("[2,0,1", NOT_A_HISTOGRAM.format(r"'\[2,0,1'")),
    ],
)
def test_parse_histogram_refuses(text, message):
    with pytest.raises(ValueError, match=message) as error:
        HISTOGRAM.parse(text)
    assert "\n" not in str(error.value)


def test_values_of_python_objects():
    assert DENSITY.values(3) == [3.0]
    assert DENSITY.values(np.float32(0.5)) == [0.5]
    assert DENSITY.values(np.array([1, 4])) == [1.0, 4.0]
    assert DENSITY.values((1, 4.5)) == [1.0, 4.5]
    assert HISTOGRAM.values("c_major") == [C_MAJOR]
    assert HISTOGRAM.values(np.array(C_MAJOR)) == [C_MAJOR]
    assert HISTOGRAM.values(["c_major", np.array(C_MAJOR), C_MAJOR]) == [C_MAJOR] * 3
    for wrong in (math.nan, math.inf, "3", None, True):
        with pytest.raises(ValueError, match=r"notes_per_second .* is not a number of at least 0"):
            DENSITY.values(wrong)
    with pytest.raises(ValueError, match="is neither 12 numbers of at least 0"):
        HISTOGRAM.values([math.nan] * 12)


@pytest.mark.parametrize("signal", [DENSITY, HISTOGRAM], ids=lambda signal: signal.name)
def test_default_is_a_value(signal):
    assert signal.values(signal.default) == [signal.default]


@pytest.mark.parametrize(
    ("text", "flags"), [("True", [True]), ("[False, True]", [False, True]), ("[True]", [True])]
)
def test_parse_disabled(text, flags):
    assert parse_disabled(text) == flags


@pytest.mark.parametrize("text", ["1", "[]", "yes", "[True, 0]", "None", "true"])
def test_parse_disabled_refuses(text):
    with pytest.raises(ValueError, match=r"disable_conditioning .* is not True or False; give one"):
        parse_disabled(text)


def test_disabled_values():
    assert disabled_values(False) == [False]
    assert disabled_values((True, False)) == [True, False]
    with pytest.raises(ValueError, match="disable_conditioning 1 is not True or False"):
        disabled_values(1)


# Densities between classes


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0, {0: 1}),
        (0.7, {0: 1}),
        (1, {0: 0.5, 1: 0.5}),
        (2**1.5, {2: 1}),
        (2**1.75, {2: 0.75, 3: 0.25}),
        (64, {6: 0.5, 7: 0.5}),
        (10**9, {7: 1}),
    ],
)
def test_a_density_asked_for_lies_between_the_middles_of_classes(density, expected):
    (vector,) = NoteDensity().encode_request([density])
    assert {k: w for k, w in enumerate(vector.round(6).tolist()) if w} == expected


def test_a_density_in_the_middle_of_its_class_is_asked_for_as_magenta_does():
    middles = [2 ** (k + 0.5) for k in range(6)]
    signal = NoteDensity()
    np.testing.assert_allclose(signal.encode_request(middles), signal.encode(middles), atol=1e-7)

import itertools
import pathlib

import numpy as np
import pytest
from note_seq import performance_controls
from note_seq.protobuf import generator_pb2, music_pb2

import bundles
import perf_rnn
from perf_rnn.configs import get_config
from perf_rnn.magenta import performance_sequence_generator
from perf_rnn.magenta.performance_sequence_generator import (
    PerformanceRnnSequenceGenerator,
    get_generator_map,
)
from perf_rnn.magenta.sequence_generator import SequenceGeneratorError
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.performance_model import PerformanceRnnModel, default_configs

MAGENTA = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
NOTES = "performance_with_dynamics_and_note_encoding"
MULTI = "multiconditioned_performance_with_dynamics"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"


def proto_of(key):
    return bundles.read_bundle_file(MAGENTA / f"{key}.mag")


def generator_of(key=DYNAMICS, **kwargs):
    config = default_configs[key]
    source = kwargs if {"checkpoint", "bundle"} & kwargs.keys() else {"bundle": proto_of(key)}
    return PerformanceRnnSequenceGenerator(
        PerformanceRnnModel(config), config.details, **{**kwargs, **source}
    )


def options_of(start, end, inputs=(), **args):
    options = generator_pb2.GeneratorOptions()
    options.generate_sections.add(start_time=start, end_time=end)
    for begin, stop in inputs:
        options.input_sections.add(start_time=begin, end_time=stop)
    for name, value in {"seed": 1, **args}.items():
        kinds = {bool: "bool_value", int: "int_value", float: "float_value", str: "string_value"}
        setattr(options.args[name], kinds[type(value)], value)
    return options


def sequence_of(*notes, pedal=()):
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    for pitch, start, end, *program in notes:
        sequence.notes.add(
            pitch=pitch,
            velocity=77,  # Which 32 bins keep.
            start_time=start,
            end_time=end,
            program=program[0] if program else 0,
        )
        sequence.total_time = max(sequence.total_time, end)
    for time, value in pedal:
        sequence.control_changes.add(time=time, control_number=64, control_value=value)
    return sequence


def notes_of(sequence):
    """Pitch, start and end of the notes, in order of time."""
    return sorted((round(n.start_time, 4), n.pitch, round(n.end_time, 4)) for n in sequence.notes)


EMPTY = music_pb2.NoteSequence()
THREE = sequence_of((60, 0.0, 0.5), (62, 0.5, 1.0), (64, 1.0, 2.0))


@pytest.mark.parametrize("key", default_configs)
def test_generates_what_the_front_door_does(key):
    made = generator_of(key).generate(THREE, options_of(2.0, 12.0, seed=7))
    (expected,) = perf_rnn.generate(MAGENTA / f"{key}.mag", 12, primer=THREE, seed=7)
    if not default_configs[key].num_velocity_bins:
        for note in expected.notes[:3]:  # Handed back as they were played.
            note.velocity = 100
    assert made.notes
    assert made == expected
    without_primer = generator_of(key).generate(EMPTY, options_of(0.0, 9.0, seed=7))
    assert without_primer == perf_rnn.generate(MAGENTA / f"{key}.mag", 9, seed=7)[0]


# The notes, how many of each, that Magenta 2.1.4's generators of the same bundles go on with after
# the primer at a temperature where the most probable event is certain. They start a step late.
@pytest.mark.parametrize(
    ("key", "end", "expected"),
    [
        (
            "performance",
            30.0,
            [
                (1, 55, 100, 3.93, 8.93),
                (7, 114, 100, 7.51, 12.51),
                (3, 114, 100, 7.52, 12.52),
                (5, 114, 100, 9.99, 14.99),
                (1, 114, 100, 15.75, 20.75),
                (5, 114, 100, 18.87, 23.87),
                (4, 114, 100, 18.88, 23.88),
                (6, 114, 100, 21.34, 26.34),
            ],
        ),
        ("performance_with_dynamics", 30.0, [(7, 69, 69, 7.17, 12.17), (14, 69, 69, 22.53, 27.53)]),
        ("performance_with_dynamics_and_modulo_encoding", 7.3, [(4, 113, 93, 6.53, 7.3)]),
        (
            "density_conditioned_performance_with_dynamics",
            10.4,
            [(7, 40, 69, 2.01, 7.01), (4, 14, 69, 2.01, 7.01), (29, 115, 69, 5.57, 10.4)],
        ),
    ],
)
def test_generates_what_magenta_does(key, end, expected):
    primer = sequence_of((60, 0.0, 0.5), (62, 0.5, 1.0), (64, 1.0, 2.0), (48, 1.5, 2.0))
    for note, velocity in zip(primer.notes, (80, 90, 30, 70), strict=True):
        note.velocity = velocity
    options = options_of(2.01, end, temperature=1e-7, legal_events=False)
    if key.startswith("density"):
        # The middles of the classes that Magenta was asked for with [2, 20, 5]. They are more notes
        # in all, so more events are drawn; the first are those that Magenta drew.
        options.args["notes_per_second"].string_value = str([2**1.5, 2**4.5, 2**2.5])
    piece = generator_of(key, fill_generate_section=False).generate(primer, options)
    played = [
        (n.pitch, n.velocity, round(n.start_time, 4), round(n.end_time, 4)) for n in piece.notes[4:]
    ]
    magenta = [tuple(note) for count, *note in expected for _ in range(count)]
    assert played[: len(magenta)] == magenta
    assert key.startswith("density") or len(played) == len(magenta)


def test_args_are_those_of_the_front_door():
    args = {
        "temperature": "[0.8, 1.3]",
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.01,
        "legal_events": False,
        "notes_per_second": "[2, 20]",
        "pitch_class_histogram": "[c_major, [1,1,1,1,1,1,1,1,1,1,1,1]]",
        "disable_conditioning": "[False, True]",
    }
    made = generator_of(OPTIONAL).generate(THREE, options_of(2.0, 9.0, **args))
    (expected,) = perf_rnn.generate(
        MAGENTA / f"{OPTIONAL}.mag",
        9,
        primer=THREE,
        seed=1,
        temperature=[0.8, 1.3],
        top_k=40,
        top_p=0.95,
        min_p=0.01,
        legal_events=False,
        notes_per_second=[2, 20],
        pitch_class_histogram=["c_major", [1] * 12],
        disable_conditioning=[False, True],
    )
    assert made == expected
    numbers = options_of(2.0, 9.0, notes_per_second=4.0, disable_conditioning=True)
    assert generator_of(OPTIONAL).generate(THREE, numbers).notes


def test_beam_args():
    beam = {"beam_size": 2, "branch_factor": 2, "steps_per_iteration": 4}
    made = generator_of().generate(THREE, options_of(2.0, 5.0, **beam))
    (expected,) = perf_rnn.generate(MAGENTA / f"{DYNAMICS}.mag", 5, primer=THREE, seed=1, **beam)
    assert made == expected
    assert made != generator_of().generate(THREE, options_of(2.0, 5.0))


def test_without_a_seed_every_piece_is_another():
    options = options_of(2.0, 9.0)
    del options.args["seed"]
    generator = generator_of()
    assert generator.generate(THREE, options) != generator.generate(THREE, options)


def test_an_input_section_from_0_has_its_notes_at_0():
    made = generator_of().generate(THREE, options_of(2.0, 6.0, inputs=[(0.0, 2.0)]))
    assert notes_of(made)[:3] == [(0.0, 60, 0.5), (0.5, 62, 1.0), (1.0, 64, 2.0)]
    assert all(n.start_time >= 2.0 for n in made.notes[3:])


def test_an_input_section_is_the_part_that_is_gone_on_from():
    made = generator_of().generate(THREE, options_of(2.5, 6.0, inputs=[(0.5, 1.5)]))
    assert notes_of(made)[:2] == [(0.5, 62, 1.0), (1.0, 64, 1.5)]
    assert min(n.start_time for n in made.notes[2:]) >= 2.5
    assert max(n.start_time for n in made.notes) > 5
    assert made.total_time == 6.0
    # A later one plays the same things later.
    later = sequence_of((60, 10.0, 10.5), (62, 10.5, 11.0), (64, 11.0, 12.0))
    moved = generator_of().generate(later, options_of(12.5, 16.0, inputs=[(10.5, 11.5)]))
    assert notes_of(moved) == [
        (round(start + 10, 4), pitch, round(end + 10, 4)) for start, pitch, end in notes_of(made)
    ]


def test_an_empty_input_section_has_no_influence():
    made = generator_of().generate(THREE, options_of(5.0, 9.0, inputs=[(3.0, 4.0)]))
    assert min(n.start_time for n in made.notes) == 5.0
    first = generator_of().generate(EMPTY, options_of(0.0, 4.0))
    np.testing.assert_allclose(np.array(notes_of(made)) - [5, 0, 5], notes_of(first))


def test_sections_end_at_whole_steps():
    for end, steps in ((1.15, 115), (4.99, 499), (3.0, 300), (3.0049, 300)):
        made = generator_of().generate(EMPTY, options_of(0.0, end))
        assert made.total_time == steps / 100
        assert all(n.end_time <= end + 1e-5 for n in made.notes)


def test_primers_sound_as_with_their_pedal():
    primer = sequence_of((60, 0.0, 0.5), (62, 0.5, 1.0), pedal=[(0.25, 127), (1.75, 0)])
    made = generator_of().generate(primer, options_of(2.0, 6.0))
    assert notes_of(made)[:2] == [(0.0, 60, 1.75), (0.5, 62, 1.75)]
    # A pedal that is held beyond the section's start is lifted there.
    made = generator_of().generate(primer, options_of(1.0, 6.0))
    assert notes_of(made)[:2] == [(0.0, 60, 1.0), (0.5, 62, 1.0)]


def test_drums_and_several_programs_are_played_by_a_piano(caplog):
    primer = sequence_of((60, 0.0, 0.5, 0), (62, 0.5, 1.0, 40), (35, 0.0, 1.5))
    primer.notes[2].is_drum = True
    made = generator_of().generate(primer, options_of(2.0, 6.0))
    assert notes_of(made)[:2] == [(0.0, 60, 0.5), (0.5, 62, 1.0)]
    assert {(n.program, n.is_drum) for n in made.notes} == {(0, False)}
    assert "1 drum notes are left out of the primer" in caplog.text
    assert "2 programs are played by one piano" in caplog.text


def test_a_program_alone_is_kept():
    made = generator_of().generate(sequence_of((60, 0.0, 1.0, 4)), options_of(1.0, 4.0))
    assert {n.program for n in made.notes} == {4}


def test_max_note_duration():
    primer = sequence_of((60, 0.0, 3.0))
    made = generator_of(max_note_duration=0.5).generate(primer, options_of(3.0, 9.0))
    assert max(n.end_time - n.start_time for n in made.notes) == pytest.approx(0.5)
    made = generator_of(NOTES, max_note_duration=0.5).generate(primer, options_of(3.0, 9.0))
    assert (0.0, 60, 3.0) in notes_of(made)


@pytest.mark.parametrize("primer", [THREE, EMPTY])
@pytest.mark.parametrize("key", [DYNAMICS, NOTES])
def test_without_fill_it_generates_once(key, primer, monkeypatch):
    options = options_of(2.0, 40.0)
    full = generator_of(key).generate(primer, options)
    asked = []

    def ask_for_few(steps, density):
        """The rest of the section is silence."""
        asked.append(steps)
        return 60

    monkeypatch.setattr(performance_sequence_generator, "events_to_ask_for", ask_for_few)
    part = generator_of(key, fill_generate_section=False).generate(primer, options)
    assert asked == [3800]
    assert part.total_time == full.total_time == 40.0
    notes = notes_of(part)
    assert 3 < len(notes) <= 63
    # Those of the last moment may be cut, and what sounds then.
    last = notes[-1][0]
    assert [note[:2] for note in notes if note[0] < last] == [
        note[:2] for note in notes_of(full) if note[0] < last
    ]


def test_as_many_events_are_asked_for_as_magenta_does():
    assert performance_sequence_generator.events_to_ask_for(3000, 15.0) == 1800
    assert performance_sequence_generator.events_to_ask_for(3000, 0.2) == 120
    assert performance_sequence_generator.events_to_ask_for(1, 2.0) == 1
    assert performance_sequence_generator._mean_density({"notes_per_second": [1, 4]}) == 2.5
    assert performance_sequence_generator._mean_density({}) == 15.0


@pytest.mark.parametrize("key", [DYNAMICS, NOTES, MULTI])
@pytest.mark.parametrize("sequence", [THREE, EMPTY])
def test_streams_play_what_generate_does(key, sequence):
    options = options_of(2.0, 30.0, inputs=[(0.5, 2.0)])
    piece = generator_of(key).generate(sequence, options)
    options.generate_sections[0].end_time = 0.0  # Its end does not matter.
    stream = generator_of(key).stream(sequence, options)
    messages = set(itertools.takewhile(lambda message: message.time < 30.0, stream))
    starts = {(n.start_time, n.pitch, n.velocity) for n in piece.notes}
    assert len(starts) > 3
    # Notes may be cut at the piece's end.
    assert messages == starts | {(n.end_time, n.pitch, 0) for n in piece.notes if n.end_time < 30}


def test_streams_can_be_steered_and_saved():
    options = options_of(2.0, 3.0, notes_per_second=1.0)
    plain, steered = (list_of(generator_of(MULTI).stream(THREE, options), 9) for _ in range(2))
    assert plain == steered
    stream = generator_of(MULTI).stream(THREE, options)
    assert list_of(stream, 9) == plain
    state = stream.state()
    going_on = list_of(stream, 40)
    stream.restore(state)
    assert list_of(stream, 40) == going_on
    stream.restore(state)
    stream.ask(notes_per_second=64)
    assert list_of(stream, 40) != going_on
    stream.restore(state)
    stream.ask(notes_per_second=1)
    assert list_of(stream, 40) == going_on
    with pytest.raises(ValueError, match="there is no control 'tempo'"):
        stream.ask(tempo=4)


def list_of(stream, count):
    return [next(stream) for _ in range(count)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"notes_per_second": "[1, 2]"}, "a list of 2 values needs a piece of known length"),
        ({"temperature": "[1, 2]"}, "a list of 2 values needs a piece of known length"),
        ({"beam_size": 2}, "a stream cannot search: leave beam_size at 1"),
    ],
)
def test_what_streams_refuse(args, message):
    with pytest.raises(SequenceGeneratorError, match=message):
        generator_of(MULTI).stream(THREE, options_of(2.0, 3.0, **args))


def test_generator_map():
    makers = get_generator_map()
    assert list(makers) == list(default_configs)
    generator = makers[MULTI](checkpoint=None, bundle=proto_of(MULTI))
    assert generator.fill_generate_section is False
    assert generator.details.id == MULTI
    assert generator.num_velocity_bins == 32
    assert [signal.name for signal in generator.control_signals] == [
        "notes_per_second",
        "pitch_class_histogram",
    ]
    assert generator.generate(THREE, options_of(2.0, 6.0)).notes
    compact = makers["performance_with_dynamics_compact"](bundle=proto_of(DYNAMICS))
    assert compact.generate(THREE, options_of(2.0, 6.0)) == makers[DYNAMICS](
        bundle=proto_of(DYNAMICS)
    ).generate(THREE, options_of(2.0, 6.0))


def test_lifecycle():
    generator = generator_of()
    assert generator.bundle_details.description == proto_of(DYNAMICS).bundle_details.description
    with generator as entered:
        assert entered is generator
        first = generator.generate(THREE, options_of(2.0, 6.0))
    generator.close()
    assert generator.generate(THREE, options_of(2.0, 6.0)) == first
    generator.initialize()
    generator.initialize()


def test_bundles_are_written(tmp_path):
    path = tmp_path / "again.mag"
    generator_of().create_bundle_file(path, "what it is")
    proto = bundles.read_bundle_file(path)
    assert proto.generator_details == default_configs[DYNAMICS].details
    assert proto.bundle_details.description == "what it is"
    again = generator_of(bundle=proto).generate(THREE, options_of(2.0, 6.0))
    assert again == generator_of().generate(THREE, options_of(2.0, 6.0))


def test_a_bundle_is_taken_as_a_proto_or_read():
    proto, bundle = proto_of(DYNAMICS), bundles.read_bundle(MAGENTA / f"{DYNAMICS}.mag")
    made = [
        (generator.generate(THREE, options_of(2.0, 8.0)), generator.bundle_details)
        for generator in (generator_of(bundle=proto), generator_of(bundle=bundle))
    ]
    assert made[0] == made[1]
    with pytest.raises(SequenceGeneratorError, match="the bundle is of generator 'perf"):
        generator_of("performance", bundle=bundle)


def test_note_encoding_bundles_can_be_loaded_again(tmp_path):
    path = tmp_path / "again.mag"
    generator_of(NOTES).create_bundle_file(path)
    again = generator_of(NOTES, bundle=bundles.read_bundle_file(path))
    options = options_of(2.0, 12.0)
    assert again.generate(THREE, options) == generator_of(NOTES).generate(THREE, options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training run of one step, and the notes that its network plays."""
    from perf_rnn.models import write_run_bundle
    from perf_rnn.training.checkpoints import write_checkpoint
    from perf_rnn.training.run_dir import RunDir, RunSettings

    config = get_config(DYNAMICS)
    hparams = config.hparams.parse("rnn_layer_sizes=[8]")
    path = tmp_path_factory.mktemp("runs") / "run"
    run_dir = RunDir(str(path))
    run_dir.write(RunSettings(DYNAMICS, hparams, 16, True, 0))
    network = build_network(config, hparams)
    arrays = {f"network/{weight.path}": np.asarray(weight) for weight in network.weights}
    write_checkpoint(run_dir.train_dir, 1, {"step": np.array(1), **arrays})
    bundle = bundle_from_network(network, config)
    write_run_bundle(run_dir.train_dir, bundle)
    (piece,) = perf_rnn.generate(bundle, 6, primer=THREE, seed=1)
    return path, piece


def test_checkpoints(run):
    path, piece = run
    for checkpoint in (path, str(path / "train"), path / "train" / "ckpt-1.npz"):
        generator = generator_of(checkpoint=checkpoint)
        assert generator.bundle_details is None
        assert generator.generate(THREE, options_of(2.0, 6.0)) == piece
    assert perf_rnn.generate(path, 6, primer=THREE, seed=1)[0] == piece


def test_checkpoints_that_cannot_be_loaded(run, tmp_path):
    path, _ = run
    for checkpoint, message in (
        (tmp_path, "no checkpoint in this directory"),
        (tmp_path / "none", "none: there is no such checkpoint"),
    ):
        with pytest.raises(SequenceGeneratorError, match=message):
            generator_of(checkpoint=checkpoint).initialize()
    with pytest.raises(ValueError, match=r"ckpt-1\.npz: damaged, or another network's checkpoint"):
        generator_of("performance", checkpoint=path).initialize()


def test_where_the_weights_come_from():
    config = default_configs[DYNAMICS]
    model = PerformanceRnnModel(config)
    with pytest.raises(SequenceGeneratorError, match="a checkpoint or a bundle; neither is given"):
        PerformanceRnnSequenceGenerator(model, config.details)
    with pytest.raises(SequenceGeneratorError, match="a checkpoint or a bundle; both are given"):
        generator_of(checkpoint="/nowhere", bundle=proto_of(DYNAMICS))
    with pytest.raises(
        SequenceGeneratorError, match=f"of generator 'performance', this is '{DYNAMICS}'"
    ):
        generator_of(bundle=proto_of("performance"))


def test_bundles_that_cannot_be_written(tmp_path):
    with pytest.raises(SequenceGeneratorError, match="path of the bundle file to write is empty"):
        generator_of().create_bundle_file("")
    proto = proto_of(DYNAMICS)
    proto.generator_details.id = ""
    nameless = PerformanceRnnSequenceGenerator(
        PerformanceRnnModel(default_configs[DYNAMICS]),
        generator_pb2.GeneratorDetails(),
        bundle=proto,
    )
    with pytest.raises(SequenceGeneratorError, match="this generator's is empty"):
        nameless.create_bundle_file(tmp_path / "a.mag")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps_per_second": 50}, "steps_per_second 50, but the model has 100"),
        ({"num_velocity_bins": 8}, "num_velocity_bins 8, but the model has 32"),
        ({"optional_conditioning": True}, "optional_conditioning True, but the model has False"),
        ({"note_performance": True}, "note_performance True, but the model has False"),
        (
            {"control_signals": [performance_controls.PitchHistogramPerformanceControlSignal(5.0)]},
            r"control_signals \['pitch_class_histogram'\], but the model has \[\]",
        ),
    ],
)
def test_arguments_are_the_models(arguments, message):
    with pytest.raises(SequenceGeneratorError, match=message):
        generator_of(**arguments)
    config = default_configs[OPTIONAL]
    generator_of(
        OPTIONAL,
        num_velocity_bins=32,
        optional_conditioning=True,
        control_signals=config.control_signals,
    )


@pytest.mark.parametrize(
    ("sequence", "sections", "message"),
    [
        (THREE, {"inputs": [(0.0, 1.0), (1.0, 2.0)]}, "2 input sections are asked for"),
        (THREE, {"generates": []}, "0 generate sections are asked for; give one"),
        (THREE, {"generates": [(2.0, 3.0), (3.0, 4.0)]}, "2 generate sections are asked for"),
        (THREE, {"generates": [(1.5, 4.0)]}, "starts at 1.5 s, before the last note ends at 2.0"),
        (THREE, {"generates": [(2.0, 2.0)]}, "from 2.0 s to 2.0 s is before time 0, or shorter"),
        (THREE, {"generates": [(4.0, 3.0)]}, "is before time 0, or shorter than a step"),
        (EMPTY, {"generates": [(-1.0, 3.0)]}, "is before time 0, or shorter than a step"),
        (THREE, {"inputs": [(1.0, 0.5)]}, "the input section from 1.0 s to 0.5 s is"),
    ],
)
def test_sections_that_make_no_sense(sequence, sections, message):
    options = options_of(2.0, 4.0, inputs=sections.get("inputs", []))
    if "generates" in sections:
        del options.generate_sections[:]
        for start, end in sections["generates"]:
            options.generate_sections.add(start_time=start, end_time=end)
    with pytest.raises(SequenceGeneratorError, match=message):
        generator_of().generate(sequence, options)


@pytest.mark.parametrize(
    ("key", "args", "message"),
    [
        (MULTI, {"pitch_class_histogram": str([1] * 11)}, "is neither 12 numbers of at least 0"),
        (MULTI, {"notes_per_second": "-5"}, "notes_per_second -5 is not a number of at least 0"),
        (MULTI, {"notes_per_second": "__import__('os')"}, "is not a number of at least 0"),
        (MULTI, {"disable_conditioning": "True"}, "has no disable_conditioning; those of these"),
        (OPTIONAL, {"disable_conditioning": "1"}, "disable_conditioning 1 is not True or False"),
        (DYNAMICS, {"notes_per_second": "4"}, "has no notes_per_second; those of these configs"),
        (DYNAMICS, {"beam_size": 0}, "beam_size 0 is not a whole number of at least 1"),
        (DYNAMICS, {"temperature": "warm"}, "temperature 'warm' is neither a number nor a list"),
        (DYNAMICS, {"seed": -1}, "seed -1 is not"),
        (DYNAMICS, {"seed": "a"}, "seed 'a' is not"),
    ],
)
def test_args_that_make_no_sense(key, args, message):
    with pytest.raises(SequenceGeneratorError, match=message):
        generator_of(key).generate(THREE, options_of(2.0, 4.0, **args))


def test_primers_that_cannot_be_played():
    drums = sequence_of((35, 0.0, 1.0))
    drums.notes[0].is_drum = True
    with pytest.raises(SequenceGeneratorError, match="the primer: has no notes but drums"):
        generator_of().generate(drums, options_of(1.0, 4.0))
    by_tempo = sequence_of((60, 0.0, 1.0))
    by_tempo.quantization_info.steps_per_quarter = 4
    with pytest.raises(SequenceGeneratorError, match="quantised to 4 steps per quarter"):
        generator_of().generate(by_tempo, options_of(1.0, 4.0))
    far = sequence_of((60, 0.0, 1.0), (62, 20.0, 21.0))
    with pytest.raises(SequenceGeneratorError, match="note events hold at most 1000"):
        generator_of(NOTES).generate(far, options_of(21.0, 24.0))


def test_other_args_are_ignored(caplog):
    made = generator_of().generate(THREE, options_of(2.0, 4.0, swing=0.5))
    assert made == generator_of().generate(THREE, options_of(2.0, 4.0))
    assert "ignored: args swing" in caplog.text


def test_states_of_a_piece_do_not_leak_into_the_next():
    generator = generator_of()
    first = generator.generate(THREE, options_of(2.0, 6.0))
    generator.generate(EMPTY, options_of(0.0, 6.0, seed=9))
    assert generator.generate(THREE, options_of(2.0, 6.0)) == first
    assert np.isfinite([n.end_time for n in first.notes]).all()

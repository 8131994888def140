"""performance_rnn_generate, run as its console script runs it."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from note_seq import midi_io

from bundles import read_bundle, write_bundle
from perf_rnn.configs import default_configs
from perf_rnn.models import write_run_bundle
from perf_rnn.notes.midi_facts import read_facts
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain

GENERATE = "perf_rnn.tools.performance_rnn_generate"
MAGENTA = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
MULTI = "multiconditioned_performance_with_dynamics"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"


@pytest.fixture
def generate(run_tool, tmp_path):
    """Runs the tool with the bundle that Magenta wrote for a config."""

    def run(*arguments, key=DYNAMICS):
        source = [f"--bundle_file={MAGENTA / key}.mag"] if key else []
        return run_tool(GENERATE, f"--output_dir={tmp_path / 'out'}", *source, *arguments)

    return run


@pytest.fixture
def play(generate, tmp_path):
    """Runs the tool for one piece of 10 s and returns the piece's notes."""

    def run(*arguments, key=DYNAMICS):
        for path in (tmp_path / "out").glob("*"):
            path.unlink()
        ended = generate("--num_outputs=1", "--num_steps=1000", "--seed=1", *arguments, key=key)
        assert ended.status == 0, ended.err
        (path,) = (tmp_path / "out").iterdir()
        return notes_of(path)

    return run


def notes_of(path):
    """Returns (start, end, pitch, velocity) of each note, in order, with the pedal applied."""
    notes = apply_sustain(read_midi_file(path))
    columns = notes.start_time, notes.end_time, notes.pitch, notes.velocity
    return tuple(sorted(zip(*(column.tolist() for column in columns), strict=True)))


@pytest.mark.parametrize("key", default_configs)
def test_every_config(generate, tmp_path, key):
    ended = generate("--num_outputs=2", "--num_steps=1000", "--seed=1", key=key)
    assert ended.status == 0, ended.err
    assert f"Wrote 2 piece(s) by {key} (layers [32, 24], temperature 1.0, seed 1) in" in ended.out
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 2
    for path in files:
        notes = midi_io.midi_file_to_note_sequence(str(path)).notes
        assert max(note.start_time for note in notes) > 7


@pytest.mark.parametrize("saved", [DYNAMICS, "performance_with_dynamics_compact"])
@pytest.mark.parametrize("asked", [DYNAMICS, "performance_with_dynamics_compact"])
def test_a_compact_bundle_and_a_dense_one_load_by_either_config(generate, saved, asked):
    ended = generate(f"--config={asked}", "--num_outputs=1", "--num_steps=200", key=saved)
    assert f"Wrote 1 piece(s) by {asked} (" in ended.out, ended.err


def test_shipped_bundles(generate):
    for key in ("performance", "performance_with_dynamics_compact"):
        ended = generate(f"--config={key}", "--num_outputs=1", "--num_steps=200", key=None)
        assert f"Wrote 1 piece(s) by {key} (layers [512, 512, 512]" in ended.out, ended.err
    for source in ([], ["--bundle_file=performance_with_dynamics"]):
        ended = generate("--num_outputs=1", "--num_steps=200", *source, key=None)
        assert "Wrote 1 piece(s) by performance_with_dynamics (" in ended.out, ended.err


@pytest.mark.parametrize(
    ("primer", "pitches"),
    [
        ("--primer_pitches=[60,64,67]", [60, 64, 67]),
        ("--primer_melody=[72,-2,-2,-2]", [72]),
        ("--primer_midi={midi}", None),
    ],
)
def test_primers(generate, asap_dir, tmp_path, primer, pitches):
    midi = asap_dir / "Liszt" / "Transcendental_Etudes" / "1" / "LuoJ05M.mid"
    arguments = ["--num_outputs=10", "--num_steps=1000", "--max_primer_seconds=5"]
    ended = generate(primer.format(midi=midi), *arguments)
    assert ended.status == 0, ended.err
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name[-7:] for path in files] == [f"_{i:02d}.mid" for i in range(1, 11)]
    assert all(f"{path}: " in ended.out for path in files)
    played = midi_io.midi_file_to_note_sequence(str(files[0]))
    if pitches is None:
        human = midi_io.midi_file_to_note_sequence(str(midi))
        pitches = [note.pitch for note in sorted(human.notes, key=lambda n: n.start_time)[:1]]
    first = [n.pitch for n in sorted(played.notes, key=lambda n: (n.start_time, n.pitch))]
    assert first[: len(pitches)] == pitches


def test_the_beginning_of_a_primer(generate, asap_dir):
    midi = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    arguments = [f"--primer_midi={midi}", "--num_outputs=1", "--num_steps=1000"]
    ended = generate(*arguments)
    assert "the primer lasts 119.05 s, the piece only 10 s; take less of" in ended.error
    assert "The network reads" not in ended.out
    ended = generate(*arguments, "--max_primer_seconds=4.5")
    assert "The network reads 4.5 s of the primer and plays 5.5 s." in ended.out, ended.err
    assert ended.status == 0


def test_a_recording_is_continued(generate, asap_dir, tmp_path):
    midi = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    arguments = [f"--primer_midi={midi}", "--primer_from=end", "--max_primer_seconds=10"]
    arguments += ["--num_outputs=1", "--num_steps=1500", "--seed=1"]
    for output, seconds in (("joined", 119.55 + 5), ("continuation", 5)):
        out = tmp_path / output
        ended = generate(*arguments, f"--output={output}", f"--output_dir={out}", "--render=html")
        assert "The network reads 10.0 s of the primer and plays 5.0 s." in ended.out, ended.err
        found = float(re.search(r"notes in ([\d.]+) s", ended.out)[1])
        assert found == pytest.approx(seconds, abs=0.1)
        page = (out / "index.html").read_text(encoding="utf-8")
        shaded = float(re.search(r'"primer":([\d.]+)', page.replace(" ", ""))[1])
        assert shaded == pytest.approx(119.55 if output == "joined" else 0, abs=0.01)


@pytest.mark.parametrize("flag", ["--nopedal", "--pedal", "--tempo=90"])
def test_a_recording_keeps_its_pedal_and_tempo(generate, asap_dir, tmp_path, flag):
    midi = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    arguments = [f"--primer_midi={midi}", "--primer_from=end", "--max_primer_seconds=10"]
    ended = generate(*arguments, "--num_outputs=1", "--seconds=60", flag)
    assert ended.status == 0, ended.err
    (path,) = (tmp_path / "out").glob("*.mid")
    played, written = read_midi_file(midi), read_midi_file(path)
    count = len(played.control_value)
    assert written.control_value[:count].tolist() == played.control_value.tolist()
    assert (len(written.control_value) > count) == (flag == "--pedal")
    tempo = 90 if flag == "--tempo=90" else played.tempo_qpm[0]
    assert written.tempo_qpm.tolist() == [pytest.approx(tempo, rel=1e-5)]
    starts = np.sort(written.start_time)[: played.num_notes]
    np.testing.assert_allclose(starts, np.sort(played.start_time), rtol=0, atol=1e-3)
    assert written.num_notes > played.num_notes
    assert dict(written.instrument_names) == {0: "Performance RNN"}


def test_render(generate, tmp_path):
    ended = generate(
        "--num_outputs=2",
        "--num_steps=300",
        "--seed=7",
        "--notes_per_second=[2,4]",
        "--render=png,html",
        key=MULTI,
    )
    assert ended.status == 0, ended.err
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.rpartition(".")[2] for name in files] == ["mid", "png", "mid", "png", "html"]
    assert all(f"{tmp_path / 'out' / name}" in ended.out for name in files)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    for fact in (MULTI, "[2,4]", "NLL"):
        assert fact in page


def test_all_pieces_are_there_when_rendering_is_interrupted(generate, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("perf_rnn.rendering.piano_roll.to_png", interrupt)
    ended = generate("--num_outputs=3", "--num_steps=200", "--seed=1", "--render=png,html")
    assert (ended.status, ended.error) == (130, "ERROR: interrupted")
    midi = sorted((tmp_path / "out").glob("*.mid"))
    assert len(midi) == 3
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert all(path.name in page and path.stat().st_size for path in midi)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_standard_output(tmp_path, unbuffered):
    """As of `performance_rnn_generate ... | head -1`, once `head` has ended."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    source, out = f"--bundle_file={MAGENTA / DYNAMICS}.mag", f"--output_dir={tmp_path}"
    ended = subprocess.run(
        [sys.executable, "-m", GENERATE, source, out, "--num_outputs=3", "--num_steps=200"],
        check=False,
        stdout=write_end,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert [path.stat().st_size > 0 for path in tmp_path.glob("*.mid")] == [True] * 3


def test_what_cannot_be_rendered_is_found_before_anything_is_made(generate, tmp_path):
    text = tmp_path / "text.sf2"
    text.write_text("no soundfont")
    cases = {
        ("--render=mp3",): "--render=mp3: 'mp3' is not one of wav, flac, ogg, png, html",
        ("--render=wav", "--soundfont=/no.sf2"): "/no.sf2: No such file or directory",
        ("--render=wav", f"--soundfont={text}"): "text.sf2: not a soundfont (.sf2)",
    }
    for arguments, message in cases.items():
        ended = generate("--num_outputs=1", "--num_steps=200", *arguments)
        assert ended.status == 1
        assert message in ended.error
    assert not (tmp_path / "out").exists()


def test_two_runs_in_a_second_keep_their_files(generate, tmp_path):
    for _ in range(3):
        # As a script written for Magenta may call it.
        ended = generate(
            "--num_outputs=2",
            "--num_steps=100",
            "--beam_size=1",
            "--hparams=batch_size=4,rnn_layer_sizes=[32,24]",
        )
        assert ended.status == 0
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_sampling_flags_change_what_is_played(play):
    plain = play()
    assert play("--temperature=[1.0]", "--legal_events", "--beam_size=1") == plain
    pieces = [
        play(*flags)
        for flags in (
            ["--temperature=0.7"],
            ["--temperature=[0.7,1.3]"],
            ["--top_k=5"],
            ["--top_p=0.5"],
            ["--min_p=0.5"],
            ["--nolegal_events"],
            ["--beam_size=2", "--branch_factor=2", "--steps_per_iteration=5"],
        )
    ]
    assert len({plain, *pieces}) == 1 + len(pieces)


def test_what_the_midi_file_is_like(generate, tmp_path):
    def make(*flags):
        for path in (tmp_path / "out").glob("*"):
            path.unlink()
        ended = generate("--num_outputs=1", "--seconds=10", "--seed=1", "--nolegal_events", *flags)
        assert ended.status == 0, ended.err
        (path,) = (tmp_path / "out").iterdir()
        return path, read_midi_file(path), notes_of(path)

    _, notes, plain = make()
    assert (notes.tempo_qpm.tolist(), notes.instrument_names) == (
        [120.0],
        ((0, "Performance RNN"),),
    )
    assert len(plain) == 20
    assert not len(notes.control_time)
    _, notes, with_pedal = make("--pedal")
    assert with_pedal == plain
    assert set(notes.control_number) == {64}
    _, notes, slower = make("--tempo=60")
    assert slower == plain
    assert notes.tempo_qpm == pytest.approx([60])
    _, _, lower = make("--transpose=2")
    assert lower == tuple((start, end, pitch + 2, *rest) for start, end, pitch, *rest in plain)
    _, notes, _ = make("--ending=rest")
    assert notes.end_time.max() > 10


def test_a_piece_tells_how_it_was_made(generate, run_tool, tmp_path, asap_dir):
    midi = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    flags = [f"--primer_midi={midi}", "--max_primer_seconds=2", "--temperature=0.9", "--pedal"]
    ended = generate("--num_outputs=2", "--seconds=5", "--seed=3", "--render=html", *flags)
    assert ended.status == 0, ended.err
    facts = [read_facts(path.read_bytes()) for path in sorted((tmp_path / "out").glob("*.mid"))]
    assert [fact.pop("number") for fact in facts] == [1, 2]
    assert facts[0].pop("NLL") != facts[1].pop("NLL")
    assert facts[0] == facts[1]
    assert (facts[0]["bundle"], facts[0]["seed"]) == (DYNAMICS, 3)
    # No folder of this machine goes into the file.
    assert facts[0]["flags"] == (
        "--seconds=5.0 --temperature=0.9 --primer_midi=CaoJ01M.mid --max_primer_seconds=2.0 "
        f"--bundle_file={DYNAMICS}.mag --pedal"
    )
    ended = run_tool(
        "perf_rnn.tools.performance_rnn_render",
        f"--input={tmp_path / 'out'}",
        f"--output_dir={tmp_path / 'page'}",
        "--render=html",
    )
    assert ended.status == 0, ended.err
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "--max_primer_seconds=2.0" in page
    assert f"_1.mid: bundle {DYNAMICS}, seed 3, number 1, temperature 0.9" in ended.out


def test_control_flags_change_what_is_played(play):
    plain = play(key=OPTIONAL)
    scale = str([1.0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
    by_name = play("--pitch_class_histogram=c_major", key=OPTIONAL)
    assert play(f"--pitch_class_histogram={scale}", key=OPTIONAL) == by_name
    assert play("--pitch_class_histogram=[c_major, c_major]", key=OPTIONAL) == by_name
    default = f"--notes_per_second={2**3.5}"  # The middle of the class of 15, the default.
    assert play(default, "--disable_conditioning=False", key=OPTIONAL) == plain
    pieces = [
        play(*flags, key=OPTIONAL)
        for flags in (
            ["--pitch_class_histogram=[c_major,f_sharp_minor]"],
            ["--notes_per_second=1"],
            ["--notes_per_second=[1,16]"],
            ["--disable_conditioning=True"],
            ["--disable_conditioning=[True,False]"],
        )
    ]
    assert len({plain, by_name, *pieces}) == 2 + len(pieces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output_dir="], "--output_dir is empty"),
        (["--soundfont="], "--soundfont is empty"),
        (["--max_primer_seconds=5"], "--max_primer_seconds is given, but no primer"),
        (["--temperature=0"], "--temperature 0.0 is not a number above 0"),
        (["--temperature=nan"], "temperature 'nan' is neither a number nor a list"),
        (["--top_k=0"], "--top_k 0 is not a whole number of at least 1"),
        (["--beam_size=0"], "flag --beam_size=0"),
        (["--primer_pitches=sixty"], "--primer_pitches 'sixty' is not a list of integers"),
        (["--primer_melody=[60,500]"], "--primer_melody: 500 is outside -2 to 127"),
        (["--primer_midi=/nowhere/a.mid"], "/nowhere/a.mid: there is no such file; a primer is"),
        (
            ["--primer_pitches=[60]", "--num_steps=40"],
            "(--max_primer_seconds=0.2) or ask for a longer piece (--seconds=1)",
        ),
        (["--max_primer_seconds=0"], "flag --max_primer_seconds=0"),
        (["--config=performance"], "performance is asked for, but the model is of config perform"),
        (["--config=nothing"], "unknown config 'nothing'"),
        (["--config=performanse"], "unknown config 'performanse'; perhaps performance; known: "),
        (["--output_dir=/proc/nothing"], "/proc/nothing: "),
        (["--run_dir=/tmp"], "give --run_dir or --bundle_file, not both"),
        (["--save_generator_bundle"], "--save_generator_bundle needs --run_dir and --bundle_file"),
        (["--bundle_file=/nowhere/a.mag"], "/nowhere/a.mag: "),
        (["--bundle_file="], "--bundle_file is empty"),
        (["--output_dir=/proc"], "/proc/"),
        (["--hparams=rnn_layer_sizes=[9]"], "[9], but the model's layers are [32, 24]"),
        (["--num_outputs=0"], "flag --num_outputs=0"),
        (["--num_steps=1"], "flag --num_steps=1"),
        (["--seconds=60"], "--seconds=60.0 and --num_steps=200: give one of them"),
        (["--num_steps=", "--seconds=0"], "flag --num_steps=: '' is not an integer"),
        (["--ending=fade"], "value should be one of <cut|release|rest>"),
        (["--transpose=13"], "flag --transpose=13"),
        (["--tempo=0"], "flag --tempo=0"),
        (["--pedal=maybe"], "flag --pedal=maybe: 'maybe' is neither true nor false"),
        (["--seed=x"], "flag --seed=x: 'x' is not an integer"),
        (["--top_p=x"], "flag --top_p=x: 'x' is not a number"),
        (["--primer_midi=/tmp"], "/tmp: is a directory; a primer is one MIDI file"),
        (["--seed=-1"], "flag --seed=-1"),
        (["--nothing=1"], "Unknown command line flag 'nothing'"),
        (["seconds=20"], "'seconds=20' is no file; for the flag write --seconds=20"),
        (["stray"], "stray: there is no such file; a primer is a MIDI file"),
        (["a.mid", "b.mid"], "unexpected argument 'b.mid': --primer_midi is one file"),
        (["--log=LOUD"], "--log=LOUD is not one of DEBUG, INFO"),
        (
            ["--notes_per_second=4"],
            "has no notes_per_second; those of these configs have: density_conditioned_perform",
        ),
        (
            ["--pitch_class_histogram=c_major"],
            f"{MULTI}, {OPTIONAL}; a bundle is shipped for --config={OPTIONAL}",
        ),
        (
            ["--disable_conditioning=True"],
            "has no disable_conditioning; those of these configs have: optional_multicondition",
        ),
    ],
)
def test_bad_input(generate, tmp_path, arguments, message):
    ended = generate("--num_outputs=1", "--num_steps=200", *arguments)
    assert ended.status == 1
    assert message in ended.error
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pitch_class_histogram=h_major"], "pitch_class_histogram 'h_major' is neither 12"),
        (["--notes_per_second=-5"], "--notes_per_second -5 is not a number of at least 0"),
        (["--disable_conditioning=maybe"], "disable_conditioning 'maybe' is not True or False"),
    ],
)
def test_controls_that_make_no_sense(generate, tmp_path, arguments, message):
    ended = generate("--num_outputs=1", "--num_steps=200", *arguments, key=OPTIONAL)
    assert ended.status == 1
    assert message in ended.error
    assert not list((tmp_path / "out").glob("*"))


def test_a_bundle_of_another_model(run_tool, tmp_path):
    bundle = read_bundle(MAGENTA / f"{DYNAMICS}.mag")
    object.__setattr__(bundle, "id", "attention_rnn")
    write_bundle(tmp_path / "melody.mag", bundle)
    ended = run_tool(GENERATE, f"--bundle_file={tmp_path / 'melody.mag'}")
    assert ended.status == 1
    assert "of generator 'attention_rnn', which is no Performance RNN; known are" in ended.error


@pytest.fixture
def save(tmp_path):
    """The arguments that save a training run as a bundle."""
    train_dir = tmp_path / "run" / "train"
    train_dir.mkdir(parents=True)
    write_run_bundle(str(train_dir), read_bundle(MAGENTA / f"{DYNAMICS}.mag"))
    source = f"--run_dir={tmp_path / 'run'}"
    return [source, "--save_generator_bundle", f"--bundle_file={tmp_path / 'saved.mag'}"]


@pytest.mark.slow
def test_saving_a_bundle_is_quiet(save):
    """In a process of its own, in which TensorFlow starts."""
    ended = subprocess.run([sys.executable, "-m", GENERATE, *save], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Wrote ")


def test_saving_a_bundle_without_tensorflow(run_tool, save, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    ended = run_tool(GENERATE, *save)
    assert (
        ended.err
        == "ERROR: this needs TensorFlow, which is not installed: pip install tensorflow\n"
    )


def test_preset(generate, tmp_path):
    """It asks for what its table says; a flag of one of the controls goes before it."""
    played = []
    for flags in (
        ["--preset=calm"],
        ["--notes_per_second=3", "--pitch_class_histogram=F major"],
        ["--preset=calm", "--notes_per_second=9"],
    ):
        out = tmp_path / str(len(played))
        arguments = ["--num_outputs=1", "--seconds=10", "--seed=1", f"--output_dir={out}"]
        ended = generate(*arguments, *flags, key=MULTI)
        assert ended.status == 0, ended.err
        notes = read_midi_file(next(out.glob("*.mid")))
        played.append((notes.start_time.tolist(), notes.pitch.tolist()))
    assert played[0] == played[1] != played[2]
    ended = generate("--preset=calm")
    assert "--preset=calm: this model has no notes_per_second; those of these conf" in ended.error


def test_help(generate):
    ended = generate("--help")
    assert ended.status == 0
    assert "Generates piano performances" in ended.out
    help_text = " ".join(ended.out.split())
    for example in ("'[2,16,4]'", "'[C major,A minor]'", "'[False,True]'", "'[0.8,1.2]'"):
        assert example in help_text

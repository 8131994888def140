"""What comes from strangers is read, or refused with one line, however it is damaged.

FUZZ_MUTANTS sets the number of mutants of each reader, FUZZ_SEED their seed; `-s` shows what became
of them.
"""

import contextlib
import dataclasses
import gzip
import io
import os
import pathlib
import random
import resource
import signal
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mutants import mutant_bytes, mutant_json, mutant_numbers, mutant_proto, mutant_text

import bundles
from bundles.checkpoint import masked_crc
from bundles.errors import PerfRnnError
from bundles.inspection import describe_file, describe_network
from bundles.npz_files import read_npz
from perf_rnn.configs import get_config
from perf_rnn.data.batches import WindowBatches
from perf_rnn.data.collections import PieceSet
from perf_rnn.data.examples import EventRecords, make_example
from perf_rnn.data.splits import names_in, to_csv
from perf_rnn.data.tfrecord import RecordWriter
from perf_rnn.events.controls import parse_disabled
from perf_rnn.generation import primers
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.generate import parse_controls, parse_temperature
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.hparams import HParams
from perf_rnn.models import load_model, write_run_bundle
from perf_rnn.notes import scores
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence
from perf_rnn.notes.bounded_process import BoundedProcess
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.music_files import find_music_files, read_midi_file
from perf_rnn.notes.pedal import with_pedal
from perf_rnn.notes.transforms import quantize
from perf_rnn.rendering import page
from perf_rnn.rendering.piece import Piece, read_piece
from perf_rnn.tools.cli import one_line
from perf_rnn.training.checkpoints import read_checkpoint, write_checkpoint
from perf_rnn.training.run_dir import RunDir, RunSettings
from pipelines.performance_pipeline import get_pipeline

pytestmark = pytest.mark.slow

TESTDATA = pathlib.Path(__file__).parent / "testdata"
CONFIG = get_config("performance_with_dynamics")
NOTES = get_config("performance_with_dynamics_and_note_encoding")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
# A hang ends the test after this many seconds.
HANG_SECONDS = 60
MAX_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader with the files that its mutants are made of.

    Attributes:
      name: of the file that is read.
      seeds: what mutants are made of; it reads the first.
      mutate: (a seed, another seed, random numbers) -> a mutant.
      read: reads a file at a path.
      num_mutants: how many mutants the suite tries.
      encode: returns the content of a seed's file.
    """

    name: str
    seeds: list[Any]
    mutate: Callable[[Any, Any, random.Random], bytes]
    read: Callable[[str], object]
    num_mutants: int
    encode: Callable[[Any], bytes] = bytes


def use_notes(notes: NoteArrays) -> None:
    """Does what the tools do with notes."""
    to_midi(notes)
    to_note_sequence(notes)
    for config in (CONFIG, NOTES):
        quantized = quantize(primers.playable(notes, "it"), 100)
        config.codec.encode(config.codec.cut_long_notes(quantized))
    get_pipeline(CONFIG, 10, 512, 0.0).transform(notes)


def midi() -> Target:
    def read(path: str) -> None:
        use_notes(read_midi_file(path))
        page.make_entry(read_piece(path), os.path.dirname(path))
        for side in ("start", "end"):
            primer = primers.from_any(path, 5.0, side)
            to_midi(with_pedal(primer.join(primer.notes, primer.notes.total_time)))

    files = sorted((TESTDATA / "music_files").glob("*.mid"))
    recorded = (TESTDATA / "asap/Bach/Fugue/bwv_875/CaoJ01M.mid").read_bytes()
    seeds = [*(path.read_bytes() for path in files), recorded[:3000]]
    return Target("a.mid", [*seeds, gzip.compress(seeds[0])], mutant_bytes, read, 300)


def archive() -> Target:
    def read(path: str) -> None:
        for file in find_music_files(path):
            file.notes()

    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(content := io.BytesIO(), "w", method) as archive:
            for name in ("a/pedal_two_hands.mid", "a/utf16_name.mid"):
                archive.writestr(name, (TESTDATA / "music_files" / name[2:]).read_bytes())
        seeds.append(content.getvalue())
    return Target("a.zip", seeds, mutant_bytes, read, 150)


def score_xml() -> Target:
    """Our own part of reading MusicXML: unpacking, decoding, refusing entities."""

    def read(path: str) -> None:
        data = pathlib.Path(path).read_bytes()
        scores._checked_xml(scores._unpack_mxl(data) if data.startswith(b"PK") else data)

    return Target("a.mxl", _scores(), mutant_bytes, read, 100)


def musicxml() -> Target:
    return Target("a.xml", _scores(), _score, _bounded(scores.parse_musicxml), 6)


def abc() -> Target:
    seeds = [path.read_bytes() for path in sorted((TESTDATA / "music_files").glob("*.abc"))]
    return Target("a.abc", seeds, _score, _bounded(scores.parse_abc), 6)


def _score(seed: bytes, other: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.6:
        return mutant_numbers(seed, rng)
    return mutant_bytes(seed, other, rng)


def _scores() -> list[bytes]:
    seeds = [path.read_bytes() for path in sorted((TESTDATA / "music_files").glob("*.xml"))]
    with zipfile.ZipFile(content := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        container = '<container><rootfiles><rootfile full-path="a.xml"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("a.xml", seeds[0])
    return [*seeds, content.getvalue()]


def _bounded(parse: Callable[[bytes], Any]) -> Callable[[str], object]:
    process = BoundedProcess(parse, 10, scores.READ_MEMORY_BYTES)
    return lambda path: process(pathlib.Path(path).read_bytes())


def note_sequences() -> Target:
    def read(path: str) -> None:
        for _, notes in PieceSet(path):
            use_notes(notes)

    seeds = []
    for name in ("pedal_two_hands", "tempo_in_second_track", "bend_negative"):
        seeds.append(to_note_sequence(read_midi_file(TESTDATA / "music_files" / f"{name}.mid")))
    return Target("a.tfrecord", seeds, _record, read, 300, _framed)


def examples(example_format: str) -> Target:
    def read(path: str) -> None:
        records = EventRecords(path, OPTIONAL)
        assert records.augmented in (True, False, None)
        next(WindowBatches(records, 2, 8))

    events = np.array([60, 355, 188, 387, 0, 300, 128], np.int32)
    seeds = [
        make_example(events, OPTIONAL, example_format, disabled=disabled, source_id="a")
        for disabled in (False, True)
    ]
    return Target("a.tfrecord", seeds, _record, read, 200, _framed)


def _record(message: Any, other: Any, rng: random.Random) -> bytes:
    """Returns a TFRecord file of a mutant; its checksums are right, but for some."""
    data = mutant_proto(message, rng)
    if rng.random() < 0.3:
        data = mutant_bytes(data, other.SerializeToString(), rng)
    file = _framed(data)
    return file if rng.random() < 0.9 else mutant_bytes(file, b"", rng)


def _framed(data: Any) -> bytes:
    data = data if isinstance(data, bytes) else data.SerializeToString()
    RecordWriter(file := io.BytesIO()).write(data)
    return file.getvalue()


def bundle() -> Target:
    def read(path: str) -> None:
        describe_file(path)
        load_model(path)
        describe_network(path)

    def mutate(seed: Any, other: Any, rng: random.Random) -> bytes:
        proto = bundles.note_seq_protos.GeneratorBundle.FromString(seed)
        kind = rng.choice(("proto", "bytes", "block", "block"))
        if kind == "proto":
            return mutant_proto(proto, rng)
        if kind == "block":  # Damaged before its checksum was made.
            checkpoint = proto.checkpoint_file[0]
            size = checkpoint.index(b"\0\0\0\0\1\0\0\0\0\xc0\xf2\xa1\xb0") - 5
            start = rng.choice((0, size - 500))
            part = mutant_bytes(checkpoint[start : start + 500], b"", rng)[:500].ljust(500, b"\0")
            block = checkpoint[:start] + part + checkpoint[start + 500 : size + 1]
            crc = masked_crc(block).to_bytes(4, "little")
            proto.checkpoint_file[0] = block + crc + checkpoint[size + 5 :]
            return proto.SerializeToString()  # type: ignore[no-any-return]
        return mutant_bytes(seed, other, rng)

    seeds = [
        (TESTDATA / "magenta_bundles" / f"{name}.mag").read_bytes()
        for name in ("performance", "attention_residual")
    ]
    return Target("a.mag", seeds, mutate, read, 60)


def run_bundle(directory: pathlib.Path) -> Target:
    def read(path: str) -> None:
        load_model(os.path.dirname(os.path.dirname(path)))

    (directory / "train").mkdir()
    model = load_model(TESTDATA / "magenta_bundles" / "performance.mag")
    write_run_bundle(str(directory / "train"), model.bundle)
    seed = (directory / "train" / "model.npz").read_bytes()
    return Target("train/model.npz", [seed], _npz, read, 60)


def checkpoint(directory: pathlib.Path) -> Target:
    arrays = {"step": np.array(3), "a/kernel": np.ones((2, 3), np.float32), "b": np.zeros(0, "f4")}

    def read(path: str) -> None:
        read_checkpoint(path, arrays)
        read_npz(path)

    seed = pathlib.Path(write_checkpoint(str(directory), 3, arrays)).read_bytes()
    return Target("ckpt-3.npz", [seed], _npz, read, 200)


def _npz(seed: bytes, other: bytes, rng: random.Random) -> bytes:
    """Returns a damaged .npz file; half of them have right checksums and contents damaged."""
    if rng.random() < 0.5:
        return mutant_bytes(seed, other, rng)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with (
        zipfile.ZipFile(io.BytesIO(seed)) as old,
        zipfile.ZipFile(content := io.BytesIO(), "w", method) as new,
    ):
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            if name == chosen:
                head, rest = data[:200], data[200:]
                data = mutant_bytes(head, b"", rng) + rest
            new.writestr(name, data)
    return content.getvalue()


def settings(directory: pathlib.Path) -> Target:
    def read(path: str) -> None:
        run = RunDir(os.path.dirname(path))
        found = run.settings()
        assert found
        run.check(found)
        get_config(found.config)

    run = RunDir(str(directory))
    run.write(RunSettings("performance", HParams(), 8, True, 1))
    seed = (directory / "run.json").read_bytes()
    return Target("run.json", [seed], _json, read, 300)


def index_html(directory: pathlib.Path) -> Target:
    def read(path: str) -> None:
        page.update_page(path, [dataclasses.replace(entry, facts={"b": 1})])

    def mutate(seed: bytes, other: bytes, rng: random.Random) -> bytes:
        start, _, rest = seed.partition(page._DATA_START.encode())
        data, _, end = rest.partition(page._DATA_END.encode())
        data = _json(data, other, rng)
        return start + page._DATA_START.encode() + data + page._DATA_END.encode() + end

    notes = primers.from_melody("[60, -2, 62, -1]")
    piece = Piece(notes, "a", {"seed": 1})
    entry = page.make_entry(piece, directory)
    page.write_page(directory / "index.html", [piece, Piece(notes, "b", {"temperature": "1"})])
    return Target("index.html", [(directory / "index.html").read_bytes()], mutate, read, 100)


def _json(seed: bytes, other: bytes, rng: random.Random) -> bytes:
    data = mutant_json(seed, rng)
    return data if rng.random() < 0.8 else mutant_bytes(data, other, rng)


def split_csv() -> Target:
    seed = to_csv({"a/b.mid": "train", "c, d.mid": "test", 'e"f.mid': "validation"})
    return Target("split.csv", [seed], mutant_bytes, lambda path: names_in(path, ["test"]), 300)


def text(read: Callable[[str], object], words: list[str], *seeds: str) -> Target:
    """A reader of flags."""

    def mutate(seed: str, other: str, rng: random.Random) -> bytes:
        return mutant_text(seed, words, rng).encode(errors="surrogatepass")

    def read_text(path: str) -> object:
        return read(pathlib.Path(path).read_bytes().decode(errors="surrogatepass"))

    return Target("flag", list(seeds), mutate, read_text, 400, str.encode)


def primer_flags(value: str) -> None:
    for read in (primers.from_pitches, primers.from_melody):
        with contextlib.suppress(PerfRnnError):
            notes = read(value)
            CONFIG.codec.encode(quantize(notes, 100))
    primers.from_melody(value)


def control_flags(value: str) -> None:
    for signal_name in ("notes_per_second", "pitch_class_histogram"):
        with contextlib.suppress(PerfRnnError):
            request = parse_controls(OPTIONAL.conditioning, {signal_name: value})
            ControlSchedule(OPTIONAL.conditioning, request, 3000)(np.arange(9))
    with contextlib.suppress(PerfRnnError):
        SamplingOptions(parse_temperature(value))
    ControlSchedule(OPTIONAL.conditioning, {}, 3000, parse_disabled(value))


TARGETS: dict[str, Callable[[pathlib.Path], Target]] = {
    "MIDI": lambda path: midi(),
    "zip archives": lambda path: archive(),
    "MusicXML, our part": lambda path: score_xml(),
    "MusicXML": lambda path: musicxml(),
    "ABC": lambda path: abc(),
    "NoteSequences": lambda path: note_sequences(),
    "examples, sparse": lambda path: examples("sparse_one_hot"),
    "examples, dense": lambda path: examples("dense_one_hot"),
    "bundles": lambda path: bundle(),
    "bundles of runs": run_bundle,
    "checkpoints": checkpoint,
    "run.json": settings,
    "index.html": index_html,
    "split.csv": lambda path: split_csv(),
    "primers": lambda path: text(
        primer_flags, ["[", "]", ",", "-2", "60", "("], "[60, -2, 62, -1]", "[60,64,67]"
    ),
    "controls": lambda path: text(
        control_flags,
        ["[", "]", ",", "c_major", "True", "1"],
        *("[False, True]", "[2,16,4]", "[c_major, [2,0,1,0,1,1,0,1,0,1,0,1]]", "0.9"),
    ),
    "hparams": lambda path: text(
        HParams().parse,
        ["=", ",", "[", "]", "learning_rate", "true"],
        *("batch_size=32,rnn_layer_sizes=[64,64]", "learning_rate=0.5,use_cudnn=true"),
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_mutants_are_read_or_refused_with_one_line(tmp_path, name):
    target = TARGETS[name](tmp_path)
    count = int(os.environ.get("FUZZ_MUTANTS", target.num_mutants))
    rng = random.Random(f"{name} {os.environ.get('FUZZ_SEED', 0)}")
    path = tmp_path / target.name
    read, slowest, lines = 0, 0.0, set()

    def hang(*args: object) -> None:
        raise AssertionError(f"a reader of {name} hangs")

    before = signal.signal(signal.SIGALRM, hang)
    try:
        path.write_bytes(target.encode(target.seeds[0]))
        target.read(str(path))
        for _ in range(count):
            mutant = target.mutate(rng.choice(target.seeds), rng.choice(target.seeds), rng)
            path.write_bytes(mutant)
            signal.alarm(HANG_SECONDS)
            start = time.monotonic()
            try:
                target.read(str(path))
                read += 1
            except (PerfRnnError, OSError) as error:
                lines.add(one_line(error))
            slowest = max(slowest, time.monotonic() - start)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert all(line.isprintable() for line in lines)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(f"{name}: {count} mutants, {read} read, {count - read} refused", end="; ")
    print(f"slowest {slowest:.2f} s, peak {peak >> 20} MB")
    assert peak < MAX_BYTES

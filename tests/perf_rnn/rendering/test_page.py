"""The page of pieces: what is written, and how it behaves in a real browser."""

import base64
import gzip
import hashlib
import html.parser
import json
import re
import struct

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn import rendering
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.rendering import page, piano_roll

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def piece(name: str, facts=None, seconds=2.0, primer_seconds=0.0) -> rendering.Piece:
    sequence = music_pb2.NoteSequence(total_time=seconds)
    for number in range(round(2 * seconds)):
        start = number / 2
        sequence.notes.add(start_time=start, end_time=start + 0.4, pitch=60 + number, velocity=80)
    return rendering.Piece(sequence, name, facts or {}, primer_seconds)


class Elements(html.parser.HTMLParser):
    """The tags and attributes of a page, and what its scripts and styles hold."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data):
        if self.tags:
            self.texts.append((self.tags[-1][0], data))


def test_the_file(tmp_path):
    path = tmp_path / "index.html"
    facts = {"seed": np.int64(3), "temperature": [0.9, 1.1], "NLL": float("nan"), "bundle": HOSTILE}
    made = piece("a", facts, 2.0, 0.5)
    rendering.write_page(path, [made, piece(HOSTILE)], title="<Études> & more")
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(", text)
    elements = Elements(text)
    assert not [tag for tag in elements.tags if tag[1].keys() & {"src", "href", "onerror"}]
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert ("title", "<Études> & more") in elements.texts
    # The policy lets just this script and this style run.
    policy = next(a["content"] for t, a in elements.tags if "content-security" in str(a).lower())
    for tag in ("script", "style"):
        body = "".join(data for name, data in elements.texts if name == tag)
        body = body[body.index("// @ts-check") :] if tag == "script" else body
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    entries = page.read_entries(path)
    assert [entry.name for entry in entries] == ["a", HOSTILE]
    first = entries[0]
    assert (first.seconds, first.num_notes, first.primer, first.wav) == (2, 4, 0.5, None)
    facts = {"seed": 3, "temperature": "0.9, 1.1", "NLL": "nan", "bundle": HOSTILE}
    assert first.facts == facts
    assert base64.b64decode(first.midi) == made.midi
    assert list(tmp_path.iterdir()) == [path]


def test_a_wav_beside_the_page_is_named(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c#%.wav").write_bytes(b"")
    rendering.write_page(tmp_path / "index.html", [piece("a b/c#%"), piece("d")])
    wavs = [entry.wav for entry in page.read_entries(tmp_path / "index.html")]
    assert wavs == ["a%20b/c%23%25.wav", None]


def test_other_pages_are_not_taken_for_ours(tmp_path):
    path = tmp_path / "index.html"
    texts = ["[{]", "[{}]", '[{"name": "a"}]', '[["a"]]', "7", "null", "[" * 100000]
    for text in ("<html>my own</html>", *(page._DATA_START + data + "</script>" for data in texts)):
        path.write_text(text)
        with pytest.raises(PerfRnnError, match=r"index\.html: not a page that this version"):
            page.read_entries(path)
        with pytest.raises(PerfRnnError, match="choose another directory"):
            rendering.Renderer(tmp_path, ["html"])
        assert path.read_text() == text


@pytest.fixture
def show(browser, tmp_path):
    """Shows pieces; at the end nothing may have gone wrong nor been fetched."""
    allowed = set()

    def show(*pieces, wavs=()):
        path = tmp_path / "index.html"
        for name in wavs:
            (tmp_path / f"{name}.wav").write_bytes(rendering.to_wav(pieces[0].notes))
            allowed.add((tmp_path / f"{name}.wav").as_uri())
        rendering.write_page(path, pieces)
        allowed.add(path.as_uri())
        size = {"width": 1000, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.call("Page.navigate", url=path.as_uri())
        browser.wait_for("Page.loadEventFired")
        return browser

    with browser.tab():
        yield show
    assert not browser.faults()
    assert browser.requested() <= allowed


NAMES = "[...document.querySelectorAll('h2')].map((h) => h.textContent)"
POSITION = "Number(document.querySelector('.roll').getAttribute('aria-valuenow'))"
LABEL = "document.querySelector('.play').getAttribute('aria-label')"


def test_it_loads_and_shows_what_is_known(show):
    facts = {"seed": 12345678, "temperature": 0.9, "NLL": 1.23456789, HOSTILE: HOSTILE}
    browser = show(piece("nocturne", facts), piece(HOSTILE))
    assert browser.run(NAMES) == sorted(["nocturne", HOSTILE])
    text = "document.querySelectorAll('.piece')[1].innerText"
    browser.until(f"{text} !== ''")  # Until it is laid out.
    shown = browser.run(text)
    for text in ("seed\n12345678", "temperature\n0.9", "NLL\n1.235", "4 notes", "0:00 / 0:02"):
        assert text in shown
    assert browser.run("document.querySelector('dl div:last-child').textContent") == HOSTILE * 2
    titles = browser.run("[...document.querySelectorAll('dl div')].map((entry) => entry.title)")
    assert [title[:15] for title in titles] == ["", "", "How surprising ", ""]
    assert browser.run("document.images.length") == 0
    assert browser.run("document.getElementById('summary').textContent") == "2 pieces, 0:04 in all"


def test_the_roll_shows_the_notes(show):
    browser = show(piece("a", primer_seconds=1.0))
    # A canvas is 300 wide until it is drawn.
    browser.until(
        "document.querySelector('canvas').width === document.querySelector('.roll').clientWidth"
    )
    colors = browser.run(
        """(() => {
          const canvas = document.querySelector('canvas'), pen = canvas.getContext('2d');
          const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
          const counts = {};
          for (let i = 0; i < pixels.length; i += 4) {
            const color = pixels.slice(i, i + 3).join();
            counts[color] = (counts[color] ?? 0) + 1;
          }
          return counts;
        })()"""
    )
    # Two notes of the primer and two generated ones, 0.4 of 2 s each, of velocity 80.
    width = (browser.run("document.querySelector('.roll').clientWidth") - 30) * 0.4 / 2
    height = browser.run("document.querySelector('.roll').clientHeight")
    area = 2 * width * ((height - 18 - 4) / 30 - 1)
    assert colors["144,37,104"] == pytest.approx(area, rel=0.2)  # #902568
    assert colors["120,126,134"] == pytest.approx(area, rel=0.2)  # #787e86


def test_play_moves_the_cursor_and_pause_holds_it(show):
    browser = show(piece("a", seconds=30.0), piece("b"))
    cursor = "document.querySelector('.cursor').getBoundingClientRect().x"
    assert browser.run(LABEL) == "Play a"
    start = browser.run(cursor)
    browser.run("document.querySelector('.play').click()")
    browser.until(f"{POSITION} > 0.3")
    assert browser.run(LABEL) == "Pause a"
    assert browser.run(cursor) > start
    # Another piece takes over.
    browser.run("document.querySelectorAll('.play')[1].click()")
    assert browser.run(LABEL) == "Play a"
    held = browser.run(POSITION)
    assert held >= 0.3
    # It plays to its end and begins anew.
    second = POSITION.replace("querySelector('.roll')", "querySelectorAll('.roll')[1]")
    browser.until(f"{second} > 1")
    browser.until(f"{second} === 0")
    assert browser.run(POSITION) == held


def test_keys_do_what_the_pointer_does(show):
    browser = show(piece("a", seconds=30.0))
    # Tab goes through sorting, play, download and the roll.
    reached = []
    for _ in range(5):
        browser.press("Tab", 9)
        reached.append(browser.run("document.activeElement.className || document.activeElement.id"))
        if reached[-1] == "play":
            browser.press("Enter", 13)
            assert browser.run(LABEL) == "Pause a"
            browser.press(" ", 32)
            assert browser.run(LABEL) == "Play a"
    assert reached == ["sort", "direction", "play", "download", "roll"]
    browser.press("Home", 36)
    browser.press("ArrowRight", 39)
    browser.press("ArrowRight", 39)
    browser.press("ArrowLeft", 37)
    assert browser.run(POSITION) == 2
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')") == "0:02 of 0:30"
    browser.press(" ", 32)
    browser.until(f"{POSITION} > 2.1")
    assert browser.run(LABEL) == "Pause a"
    browser.press("Home", 36)
    browser.until(f"{POSITION} < 2")
    browser.press(" ", 32)
    assert browser.run(LABEL) == "Play a"
    box = browser.run(
        "(({x, y, width}) => [x, y, width])(document.querySelector('.roll')"
        ".getBoundingClientRect())"
    )
    place = {"x": box[0] + 30 + (box[2] - 30) / 2, "y": box[1] + 20, "button": "left"}
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, clickCount=1, **place)
    assert browser.run(POSITION) == pytest.approx(15, abs=0.1)


def test_download_gives_the_midi(show, tmp_path):
    made = piece("folder/a")
    browser = show(made)
    target = tmp_path / "downloads"
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(target))
    browser.run("document.querySelector('.download').click()")
    begun = browser.wait_for("Page.downloadWillBegin")
    assert begun["suggestedFilename"] == "a.mid"
    browser.wait_for("Page.downloadProgress", guid=begun["guid"], state="completed")
    assert (target / "a.mid").read_bytes() == made.midi


def test_sorting(show):
    browser = show(
        piece("p10", {"NLL": 2.5, "seed": 3}),
        piece("p9", {"NLL": 10, "seed": 1}, 3.0),
        piece("p1", {"seed": 2}),
    )
    options = browser.run("[...document.getElementById('sort').options].map((o) => o.text)")
    assert options == ["name", "length", "number of notes", "NLL", "seed"]

    def sort(by):
        browser.run(
            f"(() => {{ const sort = document.getElementById('sort'); sort.value = {by!r};"
            " sort.dispatchEvent(new Event('change')); })()"
        )
        return browser.run(NAMES)

    assert browser.run(NAMES) == ["p1", "p9", "p10"]
    assert sort("seed") == ["p9", "p1", "p10"]
    assert sort("NLL") == ["p10", "p9", "p1"]
    browser.run("document.getElementById('direction').click()")
    assert browser.run(NAMES) == ["p9", "p10", "p1"]
    assert sort("length")[0] == "p9"


def midi_file(*tracks: bytes) -> bytes:
    """A MIDI file of format 1 with 100 ticks to the quarter note; one track is format 0."""
    header = struct.pack(">4sIHHH", b"MThd", 6, min(len(tracks) - 1, 1), len(tracks), 100)
    ends = (track + b"\0\xff\x2f\0" for track in tracks)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(t)) + t for t in ends)


NOTE = b"\x90\x3c\x50\x64\x3c\0"  # After a delta time: on, 100 ticks later off.
SYSEX = b"\xf0\x05\x7e\x7f\x09\x01\xf7"
PEDAL_DOWN, PEDAL_UP = b"\xb0\x40\x7f", b"\xb0\x40\x00"
ODD_FILES = {
    "sysex": midi_file(b"\0" + SYSEX + b"\0" + NOTE + b"\x0a" + SYSEX + b"\x0a" + NOTE),
    "tempos": midi_file(b"\0\xff\x51\3\x09\x27\xc0\x32\xff\x51\3\x0f\x42\x40", b"\x0a" + NOTE),
    "running status": midi_file(b"\0\x90\x3c\x40\x0a\x3d\x41\x0a\x3c\0\0\x3d\0"),
    "pedal": midi_file(b"\0" + PEDAL_DOWN + b"\0" + NOTE + b"\x32" + NOTE + b"\x64" + PEDAL_UP),
    "pedal never lifted": midi_file(b"\0" + NOTE + b"\0" + PEDAL_DOWN + b"\0" + NOTE),
    "drums": midi_file(b"\0\x99\x26\x50\x64\x26\0"),
    "no notes": midi_file(b"\0" + SYSEX),
}


def test_the_page_plays_the_notes_that_python_reads(show, asap_dir, tmp_path):
    for name, data in ODD_FILES.items():
        (tmp_path / f"{name}.mid").write_bytes(data)
    (tmp_path / "packed.mid.gz").write_bytes(gzip.compress(ODD_FILES["sysex"]))
    pieces = [rendering.read_piece(str(path)) for path in (*asap_dir.rglob("*.mid"),)]
    pieces += [rendering.read_piece(str(path)) for path in sorted(tmp_path.glob("*.mid*"))]
    found = show(*pieces).run(
        "JSON.parse(document.getElementById('data').textContent).map(unpackMusic)"
    )
    counts = {}
    for made, music in zip(pieces, found, strict=True):
        counts[made.name] = len(music["notes"]), len(music["pedal"])
        assert_music_equals(music, made.notes, made.seconds)
    odd = {"sysex": (2, 0), "packed": (2, 0), "pedal": (2, 1), "pedal never lifted": (2, 1)}
    odd |= {"tempos": (1, 0), "running status": (2, 0), "drums": (1, 0), "no notes": (0, 0)}
    assert odd.items() <= counts.items()


def assert_music_equals(music: dict, arrays: NoteArrays, seconds: float) -> None:
    """Compares what the page unpacked with note arrays, to the last bit of a float32."""
    sustained = apply_sustain(arrays)
    struck = {
        (np.float32(start), pitch, velocity, np.float32(end), drum)
        for start, pitch, velocity, end, drum in zip(
            arrays.start_time, arrays.pitch, arrays.velocity, arrays.end_time, arrays.is_drum,
            strict=True,
        )
    }  # fmt: skip
    released = sorted(
        (np.float32(start), pitch, velocity, np.float32(end))
        for start, pitch, velocity, end in zip(
            sustained.start_time, sustained.pitch, sustained.velocity, sustained.end_time,
            strict=True,
        )
    )  # fmt: skip
    notes = music["notes"]
    assert struck >= {(n["start"], n["pitch"], n["velocity"], n["end"], n["isDrum"]) for n in notes}
    assert released == sorted((n["start"], n["pitch"], n["velocity"], n["release"]) for n in notes)
    assert [n["start"] for n in notes] == sorted(n["start"] for n in notes)
    pedal = [np.float32([begin, begin + length]).tolist()
             for begin, length in piano_roll.pedal_spans(arrays, seconds)]  # fmt: skip
    assert music["pedal"] == pedal


def test_the_piano_sounds_and_does_not_clip(show):
    browser = show(piece("a", seconds=4.0))
    peak, levels = browser.run(
        """(async () => {
          const [piece] = JSON.parse(document.getElementById('data').textContent);
          const context = new OfflineAudioContext(1, 48000 * 5, 48000);
          const piano = createPiano(context);
          const bytes = bytesOf(document.getElementById('soundfont').textContent);
          await piano.use(openSoundfont(bytes.buffer));
          unpackMusic(piece).notes.forEach((note, i) => {
            piano.noteOn(i, note.pitch, note.velocity, note.start + 0.5);
            piano.noteOff(i, note.release + 0.5);
          });
          const samples = (await context.startRendering()).getChannelData(0);
          const levels = [];
          for (let i = 0; i < samples.length; i += 4800) {
            let sum = 0;
            for (const sample of samples.subarray(i, i + 4800)) sum += sample * sample;
            levels.push(10 * Math.log10(sum / 4800 + 1e-12));
          }
          return [samples.reduce((a, b) => Math.max(a, Math.abs(b)), 0), levels];
        })()"""
    )
    assert 0.05 < peak < 0.98
    assert max(levels[:5]) < -100
    assert min(levels[5:40]) > -50
    assert max(levels[5:40]) < -10
    assert levels[-1] < -60


def test_a_wav_beside_it_is_played_and_missed_when_lost(show, tmp_path):
    browser = show(piece("a", seconds=4.0), wavs=["a"])
    browser.run("document.querySelector('.play').click()")
    browser.until(f"{POSITION} > 0.2")
    assert browser.run("player.sound.constructor.name") == "FileSound"
    browser.run("document.querySelector('.play').click()")
    (tmp_path / "a.wav").unlink()
    browser.events.clear()
    browser.run("document.querySelector('.play').click()")
    browser.until("player.sound.constructor.name === 'PianoSound'")
    browser.until(f"{POSITION} > 0.5")
    # That the file cannot be loaded is the only thing that the browser says.
    browser.events = [e for e in browser.events if "a.wav" not in json.dumps(e)]


def test_a_wav_opens_beside_a_page_on_disk(show):
    """Browsers do not download a file from a page on disk; the page must stay."""
    browser = show(piece("a"), piece("b"), wavs=["a"])
    shown = browser.run(
        "[...document.querySelectorAll('.wav')].map((a) => [a.hidden, a.target, a.textContent])"
    )
    assert shown[0] == [False, "_blank", "WAV ↗"]
    assert shown[1][0]


def test_printing_shows_every_roll(show):
    seconds = [2.0 + number / 2 for number in range(20)]
    browser = show(*(piece(f"p{number:02}", seconds=s) for number, s in enumerate(seconds)))
    drawn = "[...document.querySelectorAll('canvas')].filter((canvas) => canvas.width).length"
    browser.until(f"{drawn} > 0 && {drawn} < 20")
    browser.run(f"addEventListener('beforeprint', () => (window.printed = {drawn}))")
    browser.call("Page.printToPDF")
    assert browser.run("printed") == 20
    browser.until(f"{drawn} > 0 && {drawn} < 20")


def test_five_hundred_pieces_on_a_phone_in_the_dark(show, tmp_path):
    one = piece("a", seconds=30.0)
    names = [f"2026-11-25_211450_{number:03}" for number in range(500)]
    browser = show(*(rendering.Piece(one.notes, name, {"seed": 7}, 0, one.midi)
                     for name in names))  # fmt: skip
    assert (tmp_path / "index.html").stat().st_size < 1_300_000
    light = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=360, height=740, deviceScaleFactor=2, mobile=True,
    )  # fmt: skip
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", features=dark)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    assert light == "rgb(246, 245, 242)"
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert browser.run("document.documentElement.scrollWidth") == 360
    assert browser.run(NAMES) == names
    # A name takes two lines, and neither its date nor its number is broken.
    heights = "[...document.querySelectorAll('.piece')[0].querySelectorAll('h2, h2 span')]"
    whole, *parts = browser.run(f"{heights}.map((element) => element.offsetHeight)")
    assert parts == [whole / 2] * 3
    drawn = "[...document.querySelectorAll('canvas')].map((c, i) => c.width && i).filter(Boolean)"
    browser.run("scrollTo(0, document.body.scrollHeight / 2)")
    browser.until(f"{drawn}.some((place) => place > 100) && {drawn}.length < 30")

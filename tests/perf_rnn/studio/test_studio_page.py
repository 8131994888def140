"""The studio's page in a real browser, with a small network that plays for real."""

import json
import pathlib

import numpy as np
import pytest
from browser import answering, served

from perf_rnn import models
from perf_rnn.events.scales import scale_histogram
from perf_rnn.generation.presets import PRESETS
from perf_rnn.notes.midi import parse_midi
from perf_rnn.studio import site
from perf_rnn.studio.server import Server

BUNDLES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
STATUS = "document.getElementById('status').textContent"
PROBLEM = (
    "(({hidden, textContent}) => hidden ? '' : textContent)(document.getElementById('problem'))"
)
CLOCK = "document.getElementById('clock').textContent"
SECONDS = f"Number({CLOCK}.slice(2))"
LABEL = "document.getElementById('play').getAttribute('aria-label')"


@pytest.fixture(scope="module")
def files():
    model = models.load_model(BUNDLES / "performance_with_dynamics.mag")
    return site.make_site(model, "float32")


@pytest.fixture(scope="module")
def server(files):
    with answering(Server(files, 0)) as started:
        yield started


@pytest.fixture
def studio(browser, server):
    """Opens the page with a query; at the end nothing may be wrong, nor asked of another site."""

    def open_page(query="", url=server.url, ready="Ready", size=(1280, 800)):
        sites.add(url)
        width, height = size
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        browser.events = [e for e in browser.events if e.get("method") != "Page.loadEventFired"]
        browser.call("Page.navigate", url=url + query)
        browser.wait_for("Page.loadEventFired")
        browser.until(f"{STATUS}.startsWith({ready!r})")
        return browser

    sites = set()
    with browser.tab():
        yield open_page
        browser.run("localStorage.clear()")
    assert not browser.faults()
    asked = {url for url in browser.requested() if not url.startswith("data:")}
    assert not [url for url in asked if not url.startswith(tuple(sites))]


def test_it_plays_pauses_and_goes_on(studio):
    browser = studio("?seed=3")
    assert browser.run(LABEL) == "Play"
    browser.run("document.getElementById('play').click()")
    assert browser.run(STATUS) == "Playing, seed 3."
    browser.until("document.querySelector('#piano .key.network')")
    browser.until(f"{SECONDS} >= 1")
    assert browser.run(LABEL) == "Pause"
    browser.run("document.getElementById('play').click()")
    assert browser.run(STATUS) == "Paused."
    held = browser.run(SECONDS)
    browser.run("document.getElementById('play').click()")
    browser.until(f"{SECONDS} > {held}")
    # The network's colour is in the roll.
    assert browser.run(
        """(() => {
          const canvas = document.getElementById('roll'), pen = canvas.getContext('2d');
          const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i] > pixels[i + 1] + 50 && pixels[i + 3] > 50) count++;
          }
          return count;
        })()"""
    )
    assert browser.run(PROBLEM) == ""
    assert "Performance RNN" in browser.run("document.getElementById('model').textContent")


SETTINGS = {
    "mode": "response", "seed": "12", "temperature": "0.9", "loudness": "-0.5",
    "notes_per_second": "2-4.5-16", "guidance": "2", "pause": "1.5", "split": "60",
    "top_p": "0.95", "min_p": "0.02", "pitch_min_p": "0",
    "pitch_class_histogram": "101011010101",
}  # fmt: skip


def test_the_address_holds_the_settings(studio):
    query = "?" + "&".join(f"{name}={value}" for name, value in SETTINGS.items())
    browser = studio(query)
    browser.run("document.getElementById('copy').click()")
    assert browser.run("location.search") == query
    shown = browser.run("[...document.querySelectorAll('.knob .value')].map((v) => v.textContent)")
    assert shown == [
        "0.90", "-50 %", "2, 4.5, 16 notes/s", "2", "1.5 s", "from C4 up", "95 %", "2 %", "0 %",
    ]  # fmt: skip
    assert browser.run("document.getElementById('scale').selectedOptions[0].text") == "major"
    assert browser.run("document.querySelector('[name=mode]:checked').value") == "response"
    # Back to what is asked for at first.
    browser.run("document.getElementById('notes_per_second').focus()")
    browser.press("Home", 36)
    browser.run(
        "(() => { const scale = document.getElementById('scale'); scale.value = '';"
        " scale.dispatchEvent(new Event('change')); })()"
    )
    browser.run("document.getElementById('copy').click()")
    reset = "notes_per_second", "pitch_class_histogram"
    left = {name: value for name, value in SETTINGS.items() if name not in reset}
    assert browser.run("Object.fromEntries(new URLSearchParams(location.search))") == left


def test_what_an_address_holds_wrongly_is_named(studio):
    wrong = "temperature=wild&top_p=2&mode=solo&pitch_class_histogram=111&seed=-1"
    wrong += "&notes_per_second=4-0&guidance=-1"
    browser = studio(f"?{wrong}&loudness=0.5", ready="Not understood in the link: ")
    said = browser.run(STATUS).removeprefix("Not understood in the link: ").rstrip(".")
    assert sorted(said.split(", ")) == sorted(wrong.split("&"))
    browser.run("document.getElementById('copy').click()")
    assert browser.run("location.search") == "?loudness=0.5"


def test_moods_are_the_presets(studio):
    browser = studio("?temperature=0.9")
    browser.run("document.getElementById('mood').focus()")
    for name, preset in PRESETS.items():
        browser.press("ArrowDown", 40)
        assert browser.run("document.getElementById('mood').selectedOptions[0].text") == name
        browser.run("document.getElementById('copy').click()")
        query = browser.run("Object.fromEntries(new URLSearchParams(location.search))")
        densities = [float(each) for each in query["notes_per_second"].split("-")]
        assert densities == list(np.atleast_1d(preset["notes_per_second"]))
        classes = tuple(map(float, query["pitch_class_histogram"]))
        assert classes == scale_histogram(preset["pitch_class_histogram"])
        assert query["temperature"] == "0.9"
        # The scale shown has the same pitch classes.
        shown = browser.run(
            "['root', 'scale'].map((id) => document.getElementById(id).selectedOptions[0].text)"
        )
        assert scale_histogram(" ".join(shown)) == classes
    # The link shows the mood again; other settings are none.
    studio(browser.run("location.search"))
    assert browser.run("document.getElementById('mood').selectedOptions[0].text") == name
    browser.run("document.getElementById('notes_per_second').oninput()")
    assert browser.run("document.getElementById('mood').value") == "own"


NO_DENSITY = "It cannot be asked for a density: of a mood it plays the scale."


@pytest.mark.parametrize(
    ("bundle", "knobs", "line"),
    [
        ("performance_with_dynamics", {"notes_per_second"}, "what fits is made more probable."),
        ("performance_with_dynamics_and_note_encoding", set(), NO_DENSITY),
        (
            "optional_multiconditioned_performance_with_dynamics",
            {"notes_per_second", "guidance"},
            "With guidance it follows them more closely.",
        ),
    ],
)
def test_it_offers_what_the_network_has(studio, bundle, knobs, line):
    files = site.make_site(models.load_model(BUNDLES / f"{bundle}.mag"))
    with answering(Server(files, 0)) as server:
        browser = studio("?guidance=2&notes_per_second=2-16&seed=1", server.url)
        shown = "[...document.querySelectorAll('.knob:not([hidden]) input')].map(({id}) => id)"
        assert {"notes_per_second", "guidance"} & set(browser.run(shown)) == knobs
        assert browser.run("document.getElementById('control-kind').textContent").endswith(line)
        if "guidance" in knobs:
            browser.run("document.getElementById('play').click()")
            browser.until("document.querySelector('#piano .key.network')")


def test_by_keyboard_alone(studio):
    browser = studio()
    reached = []
    for _ in range(4):
        browser.press("Tab", 9)
        reached.append(browser.run("document.activeElement.id || document.activeElement.value"))
    assert reached == ["copy", "play", "alone", "new"]
    browser.run("document.getElementById('play').focus()")
    browser.press("Enter", 13)
    browser.until(f"{SECONDS} >= 1")
    browser.press("Tab", 9)
    browser.press("ArrowLeft", 37)
    browser.press("ArrowLeft", 37)
    assert browser.run("document.activeElement.value") == "duet"
    key = {"key": "d", "code": "KeyD", "text": "d", "windowsVirtualKeyCode": 68}
    browser.call("Input.dispatchKeyEvent", type="keyDown", **key)
    browser.until("document.querySelector('#piano .key.player')?.dataset.pitch === '64'")
    browser.call("Input.dispatchKeyEvent", type="keyUp", **key)
    browser.until("!document.querySelector('#piano .key.player')")
    browser.press("Escape", 27)
    assert browser.run(STATUS) == "All is silent."
    assert browser.run(LABEL) == "Play"


def test_on_a_phone_by_touch(studio):
    browser = studio(size=(360, 740))
    assert browser.run("document.documentElement.scrollWidth") == 360
    places = browser.run(
        """['60', '67'].map((pitch) => {
          const key = document.querySelector(`#hands .key[data-pitch="${pitch}"]`);
          const box = key.getBoundingClientRect();
          return {x: box.x + box.width / 2, y: box.y + 0.9 * box.height};
        })"""
    )
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=5)
    points = [{**place, "id": number} for number, place in enumerate(places)]
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=points)
    pressed = "[...document.querySelectorAll('#piano .key.player')].map((k) => k.dataset.pitch)"
    browser.until(f"{pressed}.join() === '60,67'")
    # Touching the keys begins a duet.
    assert browser.run("document.querySelector('[name=mode]:checked').value") == "duet"
    # Other octaves lift the keys.
    browser.run("document.getElementById('higher').click()")
    browser.until(f"{pressed}.length === 0")
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert browser.run(f"{pressed}.length") == 0
    browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_my_settings_are_kept(studio):
    browser = studio("?temperature=0.8&mode=duet")
    browser.run("document.getElementById('settings-name').value = 'calm <b>'")
    browser.run("document.getElementById('save-settings').click()")
    studio()
    browser.run("document.querySelector('#my-settings button').click()")
    assert browser.run("document.querySelector('#my-settings button').textContent") == "calm <b>"
    assert browser.run("document.getElementById('temperature').value") == "0.8"
    assert browser.run("document.querySelector('[name=mode]:checked').value") == "duet"
    browser.run("document.querySelector('#my-settings button:last-child').click()")
    studio()
    assert browser.run("document.querySelectorAll('#my-settings button').length") == 0


@pytest.mark.parametrize("stored", ["{}", "[null]", '[["calm", 5]]'])
def test_a_storage_with_something_else_counts_as_empty(studio, stored):
    browser = studio()
    for name in ("my-settings", "controls"):
        browser.run(f"localStorage.setItem('perf_rnn.{name}', {stored!r})")
    studio()
    assert browser.run("document.querySelectorAll('#my-settings button').length") == 0


def test_what_was_played_is_saved_and_taken_back(studio, tmp_path):
    browser = studio("?seed=1")
    browser.run("document.getElementById('play').click()")
    browser.until("document.querySelector('#piano .key.network')")
    browser.until(f"{SECONDS} >= 1")
    browser.run("document.getElementById('play').click()")
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for button in ("midi", "good"):
        browser.run(f"document.getElementById('{button}').click()")
        begun = browser.wait_for("Page.downloadWillBegin")
        browser.wait_for("Page.downloadProgress", guid=begun["guid"], state="completed")
        browser.events.clear()
        (saved,) = tmp_path.glob("*.mid")
        assert parse_midi(saved.read_bytes()).num_notes > 0
        saved.unlink()
    browser.run("document.getElementById('undo').click()")
    assert browser.run(CLOCK) == "0:00"
    # It had played for less than the 10 s.
    gone = browser.run(STATUS).removeprefix("Went back ").removesuffix(" s.")
    assert 1 <= float(gone) < 10
    browser.run("document.getElementById('play').click()")
    browser.until(f"{SECONDS} >= 1")


def test_a_midi_file_is_continued(studio, asap_dir, tmp_path):
    browser = studio()
    text = tmp_path / "text.mid"
    text.write_text("no MIDI")
    field = browser.call("Runtime.evaluate", expression="document.getElementById('file')")["result"]

    def choose(path):
        browser.call("DOM.setFileInputFiles", objectId=field["objectId"], files=[str(path)])

    choose(text)
    browser.until(f"{STATUS} === 'text.mid: not a MIDI file (no MThd header)'")
    choose(next(asap_dir.rglob("LuoJ05M.mid")))
    browser.until(f"{STATUS} === 'Continuing LuoJ05M.mid.'")
    browser.until("document.querySelector('#piano .key.network')")
    browser.run("navigator.clipboard.writeText = async () => {}")
    browser.run("document.getElementById('copy').click()")
    browser.until(f"{STATUS}.endsWith('choose the MIDI file there again.')")
    browser.run("document.getElementById('new').click()")
    browser.until(f"{STATUS}.startsWith('Playing')")
    browser.run("document.getElementById('copy').click()")
    browser.until(f"{STATUS}.startsWith('Link copied: it plays the same piece')")


FAKE_MIDI = """
navigator.requestMIDIAccess = async () => {
  const port = (id) => ({id, name: id, state: "connected"});
  window.midiIn = port("keys");
  window.midiOut = {...port("synth"), sent: [], send(data) { this.sent.push([...data]); }};
  return {inputs: new Map([["keys", midiIn]]), outputs: new Map([["synth", midiOut]])};
};
window.playAt = (timeStamp, ...data) =>
  midiIn.onmidimessage({data: Uint8Array.from(data), timeStamp});
window.play = (...data) => playAt(performance.now(), ...data);
"""


def test_a_midi_keyboard_plays_turns_knobs_and_hears(studio, browser):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=FAKE_MIDI)
    studio("?mode=duet&seed=2")
    browser.run("document.getElementById('connect').click()")
    browser.until("!document.getElementById('connected').hidden")
    select = "document.getElementById('output')"
    browser.run(f"{select}.value = 'synth'; {select}.onchange({{target: {select}}})")
    browser.run("play(0x90, 60, 90)")
    browser.until("document.querySelector('#piano .key.player')?.dataset.pitch === '60'")
    browser.run("play(0xb0, 64, 127); play(0x80, 60, 0)")
    browser.until("!document.querySelector('#piano .key.player')")
    # The network is on channel 1, the player on channel 2.
    browser.until("midiOut.sent.some(([status]) => status === 0x90)")
    sent = browser.run("midiOut.sent")
    assert [0x91, 60, 90] in sent
    assert [0xB1, 64, 127] in sent
    browser.run("document.getElementById('temperature').focus()")
    browser.run("document.getElementById('learn').click()")
    browser.run("play(0xb0, 21, 127)")
    assert browser.run("document.getElementById('temperature').value") == "1.5"
    browser.run("play(0xb0, 21, 0)")
    assert browser.run("document.getElementById('temperature').value") == "0.5"
    assert browser.run("document.querySelector('[for=temperature]').textContent") == (
        "Temperature · CC 21"
    )
    browser.run("document.getElementById('panic').click()")
    assert [0xB0, 123, 0] in browser.run("midiOut.sent")
    studio()
    assert "CC 21" in browser.run("document.querySelector('[for=temperature]').textContent")


def test_the_first_keys_are_recorded(studio, browser, tmp_path):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=FAKE_MIDI)
    studio("?mode=response")
    browser.run("document.getElementById('connect').click()")
    browser.until("!document.getElementById('connected').hidden")
    # Three notes of 80 ms, 0.3 s apart, the first of which begins the performance.
    browser.run("window.first = performance.now() - 700; playAt(first, 0x90, 60, 90)")
    later = [(80, 0x80, 60), (300, 0x90, 62), (380, 0x80, 62), (600, 0x90, 64), (680, 0x80, 64)]
    for at, status, pitch in later:
        browser.run(f"playAt(first + {at}, {status}, {pitch}, 90)")
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.getElementById('midi').click()")
    begun = browser.wait_for("Page.downloadWillBegin")
    browser.wait_for("Page.downloadProgress", guid=begun["guid"], state="completed")
    (saved,) = tmp_path.glob("*.mid")
    notes = parse_midi(saved.read_bytes())
    # No velocity bin of the network is 90.
    mine = notes.velocity == 90
    assert notes.pitch[mine].tolist() == [60, 62, 64]
    assert notes.start_time[mine].tolist() == pytest.approx([0, 0.3, 0.6], abs=0.02)
    assert notes.end_time[mine].tolist() == pytest.approx([0.08, 0.38, 0.68], abs=0.02)


def test_a_network_that_is_missing_is_told(studio, files):
    with answering(Server({k: v for k, v in files.items() if k != "model.bin"}, 0)) as server:
        browser = studio(url=server.url, ready="")
        browser.until(f"{PROBLEM}.startsWith('The network cannot be played: ')")
        assert browser.run("document.getElementById('play').disabled")
    # The browser itself says that the file is missing.
    browser.events = [e for e in browser.events if "model.bin" not in json.dumps(e)]


def test_the_folder_plays_on_any_server_under_any_prefix(studio, files, tmp_path):
    site.write_site(tmp_path / "some" / "where", files)
    with served(tmp_path) as url:
        browser = studio(url=f"{url}/some/where/")
        browser.run("document.getElementById('play').click()")
        browser.until("document.querySelector('#piano .key.network')")

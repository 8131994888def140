"""MIDI keyboards and synthesisers, with a fake MIDIAccess."""

import pytest

# A fake MIDIAccess with a keyboard and a synthesiser, and a log of what is told and sent.
SCRIPT = """
window.prepare = async (refusal) => {
  const {openMidi} = await import("/midi_ports.js");
  const log = [];
  const port = (id, more) => ({id, name: `${id}'s name`, state: "connected", ...more});
  const fake = {
    inputs: new Map([["keyboard", port("keyboard")], ["pads", port("pads")]]),
    outputs: new Map([["synth", port("synth", {
      send(message, time) { log.push(["send", [...message], time]); },
    })]]),
    onstatechange: null,
  };
  navigator.requestMIDIAccess = refusal ?? (async () => fake);
  const told = Object.fromEntries(["onKey", "onPedal", "onControl", "onChange", "onMessage"].map(
    (name) => [name, (...all) => log.push([name, ...all])]));
  const ports = await openMidi(told);
  const play = (id, ...data) =>
    fake.inputs.get(id).onmidimessage?.({data: Uint8Array.from(data), timeStamp: 5000});
  return {fake, ports, play, log, take: () => log.splice(0)};
};
"""


@pytest.fixture
def page(studio_scripts):
    studio_scripts.run(SCRIPT)
    return studio_scripts


def run(page, script: str):
    return page.run(
        f"(async () => {{ const {{fake, ports, play, take}} = await prepare(); {script} }})()"
    )


def test_keys_pedal_and_controls_of_all_channels(page):
    before, log, none = run(
        page,
        """play("keyboard", 0x90, 60, 80);
        const before = take();
        ports.listen("all");
        play("keyboard", 0x90, 60, 80);
        play("keyboard", 0x90, 60, 0);
        play("keyboard", 0x95, 61, 90);
        play("keyboard", 0x85, 61, 64);
        play("keyboard", 0xb0, 64, 70);
        play("keyboard", 0xb0, 64, 127);
        play("keyboard", 0xb0, 64, 63);
        play("pads", 0xb3, 21, 100);
        play("keyboard", 0xf8);
        play("keyboard", 0xc0, 5);
        play("keyboard", 0xe0, 0, 64);
        play("keyboard");
        const log = take();
        ports.listen(null);
        play("keyboard", 0x90, 60, 80);
        return [before, log, take()];""",
    )
    assert before == none == []
    assert log == [
        ["onKey", 60, 80, 5000],
        ["onKey", 60, 0, 5000],
        ["onKey", 61, 90, 5000],
        ["onKey", 61, 0, 5000],
        ["onPedal", True, 5000],
        ["onPedal", False, 5000],
        ["onControl", 21, 100],
    ]


def test_ports_come_and_go(page):
    ports, lost, again, chosen = run(
        page,
        """ports.listen("all");
        const names = [ports.inputs, ports.outputs];
        play("keyboard", 0x90, 60, 80);
        play("keyboard", 0xb0, 64, 127);
        take();
        const keyboard = fake.inputs.get("keyboard");
        keyboard.state = "disconnected";
        fake.inputs.delete("keyboard");
        fake.onstatechange({port: keyboard});
        const lost = take();
        keyboard.state = "connected";
        fake.inputs.set("keyboard", {...keyboard, onmidimessage: null});
        fake.onstatechange({port: keyboard});
        play("keyboard", 0x90, 62, 80);
        const again = take();
        ports.listen("pads");
        play("keyboard", 0x90, 64, 80);
        play("pads", 0x90, 65, 80);
        return [names, lost, again, take()];""",
    )
    keyboard = {"id": "keyboard", "name": "keyboard's name"}
    pads = {"id": "pads", "name": "pads's name"}
    synth = {"id": "synth", "name": "synth's name"}
    assert ports == [[keyboard, pads], [synth]]
    assert [entry[:3] for entry in lost[:1]] == [["onKey", 60, 0]]
    assert lost[1][:2] == ["onPedal", False]
    assert lost[2:] == [
        ["onMessage", "keyboard's name is no longer connected."],
        ["onChange", {"inputs": [pads], "outputs": [synth]}],
    ]
    assert again == [
        ["onChange", {"inputs": [pads, keyboard], "outputs": [synth]}],
        ["onKey", 62, 80, 5000],
    ]
    # The key that was down is lifted when its input is not heard any more.
    assert [entry[:3] for entry in chosen] == [["onKey", 62, 0], ["onKey", 65, 80]]


def test_notes_are_sent_with_their_times(page):
    now, log = run(
        page,
        """ports.send("synth");
        const now = performance.now(), {sink} = ports;
        sink.noteOn(1, 60, 80, now + 100, 0);
        sink.noteOff(1, now + 200);
        sink.noteOn(2, 60, 70, now + 150, 0);  // The same key: it is lifted before.
        sink.noteOn("key 1", 64, 90, now - 5, 1);
        sink.pedal(true, now, 1);
        sink.noteOn(3, 72, 50, now + 5000, 0);  // Not yet.
        sink.noteOn(4, 74, 50, now + 5000, 0);
        sink.cancel(3);
        sink.cancel(2);
        return [now, take()];""",
    )
    sent = [(message, round(time - now)) for name, message, time in log if name == "send"]
    assert sent == [
        ([0x90, 60, 80], 100),
        ([0x80, 60, 0], 200),
        ([0x90, 60, 70], 150),
        ([0x91, 64, 90], -5),
        ([0xB1, 64, 127], 0),
        ([0x80, 60, 0], 150),
    ]


def test_what_is_late_enough_can_be_taken_back(page):
    log = run(
        page,
        """const real = performance.now.bind(performance);
        let now = 0;
        performance.now = () => now;
        ports.send("synth");
        const {sink} = ports;
        sink.noteOn(1, 60, 80, 1000, 0);
        sink.noteOff(1, 1500);
        sink.noteOn(2, 62, 80, 1000, 0);
        sink.noteOff(1, Infinity);
        sink.cancel(2);
        now = 900;
        sink.pedal(false, 900, 0);
        sink.noteOff(1, 2000);
        now = 1800;
        sink.pedal(true, 1800, 0);
        performance.now = real;
        return take();""",
    )
    assert log == [
        ["send", [0xB0, 64, 0], 900],
        ["send", [0x90, 60, 80], 1000],
        ["send", [0xB0, 64, 127], 1800],
        ["send", [0x80, 60, 0], 2000],
    ]


def test_panic_and_another_output(page):
    panic, lost, silent = run(
        page,
        """ports.send("synth");
        ports.sink.noteOn(1, 60, 80, performance.now(), 0);
        take();
        ports.sink.panic();
        const panic = take().map(([, message]) => message);
        const synth = fake.outputs.get("synth");
        synth.state = "disconnected";
        fake.onstatechange({port: synth});
        const lost = take();
        ports.sink.noteOn(2, 60, 80, performance.now(), 0);
        return [panic, lost, take()];""",
    )
    assert len(panic) == 64
    assert {(message[0] & 0xF, *message[1:]) for message in panic} == {
        (channel, number, 0) for channel in range(16) for number in (64, 123)
    }
    assert lost[0] == ["onMessage", "synth's name is no longer connected."]
    assert lost[1][1]["outputs"] == []
    assert silent == []


def test_notes_that_are_not_due_are_sent_later(page):
    page.run(
        """(async () => {
          window.midi = await prepare();
          midi.ports.send("synth");
          midi.ports.sink.noteOn(1, 60, 80, performance.now() + 400, 0);
          midi.before = midi.log.length;
        })()"""
    )
    page.until("midi.log.length === 1")
    assert page.run("midi.before") == 0


def test_refusals_are_one_line(page):
    line = """prepare(async () => {
      throw new DOMException("Permission denied", "NotAllowedError");
    }).then(() => "", (error) => error.message)"""
    assert page.run(line).startswith("The browser does not allow MIDI (Permission denied). Connect")
    absent = """(async () => {
      const {openMidi} = await import("/midi_ports.js");
      navigator.requestMIDIAccess = undefined;
      return openMidi({}).then(() => "", (error) => error.message);
    })()"""
    assert page.run(absent).startswith("This browser has no MIDI here")

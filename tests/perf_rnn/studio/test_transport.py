"""The transport: what each sink gets, and when, on clocks that the tests set."""

import pytest

# A sink that writes down what it gets, and a transport whose clock stands at `world.now`.
SCRIPT = """
window.sink = (name, log) => Object.fromEntries(
  ["noteOn", "noteOff", "cancel", "pedal", "panic", "undo"].map((call) =>
    [call, (...all) => log.push([name, call, ...all])]),
);
window.prepare = async () => {
  const {createTransport} = await import("/transport.js");
  const world = {now: 1e6, log: []};
  // The sound's clock shows 7 s less than the page's, which begins at 900 s.
  const clock = {
    now: () => world.now, pageOf: (epoch) => epoch - 9e5, audioOf: (epoch) => epoch / 1000 - 907,
  };
  const transport = createTransport({context: {outputLatency: 0.02}, clock});
  for (const timed of ["audio", "page", "performance"]) {
    transport.add(sink(timed, world.log), timed);
  }
  world.take = () => JSON.parse(
    JSON.stringify(world.log.splice(0), (_, x) => x === Infinity ? "Infinity" : x));
  return {world, transport};
};
"""


@pytest.fixture
def page(studio_scripts):
    studio_scripts.run(SCRIPT)
    return studio_scripts


def run(page, script: str):
    return page.run(f"(async () => {{ const {{world, transport}} = await prepare(); {script} }})()")


def test_every_sink_gets_notes_in_its_own_time(page):
    now, position, log = run(
        page,
        """const now = transport.start(0.1), position = transport.position();
        transport.receive({type: "notes", notes: [[1, 0.5, 60, 80]], ends: [[1, 0.75]]});
        transport.receive({type: "opened"});
        return [now, position, world.take()];""",
    )
    assert now == 1e6 + 100
    assert position == pytest.approx(-0.1)
    assert [entry[:2] for entry in log] == [
        [timed, call]
        for call in ("noteOn", "noteOff")
        for timed in ("audio", "page", "performance")
    ]
    assert [entry[2:5] for entry in log[:3]] == [[1, 60, 80]] * 3
    assert [entry[5] for entry in log[:3]] == pytest.approx([93.6, 100600, 0.5])
    assert [entry[3] for entry in log[3:]] == pytest.approx([93.85, 100850, 0.75])


def test_notes_that_are_withdrawn(page):
    log = run(
        page,
        """transport.start(0);
        const notes = [[1, 0, 60, 80], [2, 0.5, 62, 80], [3, 1.5, 64, 80]];
        transport.receive({type: "notes", notes, ends: [[1, 0.9], [2, 1.2]]});
        world.now += 1000;
        world.take();
        transport.receive({type: "cancel", from: 1.1});
        transport.receive({type: "notes", ends: [[2, 1.4]]});
        return world.take().filter(([name]) => name === "performance");""",
    )
    assert log == [
        ["performance", "noteOff", 2, "Infinity"],
        ["performance", "cancel", 3],
        ["performance", "noteOff", 2, 1.4],
    ]


def test_a_pause_silences_and_a_resumption_goes_on(page):
    paused, at_pause, later, now, resumed, position = run(
        page,
        """transport.start(0.1);
        const notes = [[1, 0, 60, 80], [2, 1.5, 62, 80]];
        transport.receive({type: "notes", notes, ends: [[2, 1.75]]});
        world.now += 1100;
        world.take();
        const paused = transport.pause(), atPause = world.take();
        world.now += 5000;
        transport.receive({type: "notes", notes: [[3, 1.6, 64, 80]], ends: [[3, 1.7]]});
        const later = world.take(), now = transport.resume();
        return [paused, atPause, later, now, world.take(), transport.position()];""",
    )
    assert (paused, position) == pytest.approx((1.0, 1.0))
    # What shows the music keeps it.
    assert [entry[:3] for entry in at_pause] == [
        ["audio", "noteOff", 1], ["page", "noteOff", 1],
        ["audio", "cancel", 2], ["page", "cancel", 2],
    ]  # fmt: skip
    assert [entry[:3] for entry in later] == [
        ["performance", "noteOn", 3], ["performance", "noteOff", 3],
    ]  # fmt: skip
    assert now == pytest.approx(1e6 + 5100)
    assert [entry[:3] for entry in resumed] == [
        [timed, call, number]
        for number in (2, 3)
        for call in ("noteOn", "noteOff")
        for timed in ("audio", "page")
    ]
    assert resumed[0][5] == pytest.approx(93 + 5.1 + 1.5)


def test_a_stop_ends_what_sounds(page):
    log = run(
        page,
        """transport.start(0.1);
        const notes = [[1, 0, 60, 80], [2, 0.5, 60, 80], [3, 1.5, 62, 80]];
        transport.receive({type: "notes", notes, ends: [[1, 0.25], [2, 2]]});
        world.now += 1100;
        world.take();
        transport.stop();
        const log = world.take();
        transport.start(0.1);
        return [...log, ...world.take()].filter(([name]) => name === "performance");""",
    )
    assert log == [
        ["performance", "noteOff", 2, pytest.approx(1)],
        ["performance", "cancel", 3],
    ]


def test_undo_goes_back(page):
    undone, log, position, begun = run(
        page,
        """transport.start(0);
        const notes = [[1, 1, 60, 80], [2, 13, 62, 80]];
        transport.receive({type: "notes", notes});
        world.now += 12070;
        world.take();
        const undone = transport.undo(10), log = world.take(), position = transport.position();
        transport.receive({type: "notes", notes: [[3, 2.5, 64, 80]]});
        return [undone, log, position, world.take()];""",
    )
    assert undone == {"time": pytest.approx(2), "now": pytest.approx(1e6 + 10070)}
    assert position == pytest.approx(2)
    assert ["performance", "cancel", 2] in log
    assert ["performance", "undo", pytest.approx(2)] in log
    assert begun[0][5] == pytest.approx(93 + 12.57)


def test_keys_sound_at_once_and_have_their_time(page):
    times, log = run(
        page,
        """transport.start(0);
        const early = transport.key(59, 0);
        world.now += 2070;
        const times = [early, transport.key(60, 90), transport.key(60, 70), transport.key(60, 0)];
        times.push(transport.key(61, 90, performance.now() - 30), transport.pedal(true));
        times.push(transport.key(62, 90, performance.now(), false));
        return [times, world.take().filter(([name]) => name !== "page")];""",
    )
    assert times == pytest.approx([0, 2, 2, 2, 1.97, 2, 2], abs=0.005)
    calls = ["noteOn", "noteOff", "noteOn", "noteOff", "noteOn", "pedal"]
    assert [entry[:2] for entry in log] == [
        [timed, call] for call in calls for timed in ("audio", "performance")
    ]
    assert log[0] == ["audio", "noteOn", "key 1", 60, 90, 0, 1]
    assert log[9] == ["performance", "noteOn", "key 3", 61, 90, pytest.approx(1.97, abs=0.005), 1]
    assert log[-1] == ["performance", "pedal", True, pytest.approx(2, abs=0.005), 1]


def test_a_performance_begins_at_the_key_that_starts_it(page):
    late, times = run(
        page,
        """const stamp = performance.now() - 100;
        const now = transport.start(0.25, stamp);
        const keys = [[90, 0], [0, 80], [70, 90]];
        const times = keys.map(([velocity, at]) => transport.key(60, velocity, stamp + at));
        return [now - world.now, times];""",
    )
    assert late == pytest.approx(-100, abs=5)
    assert times == pytest.approx([0, 0.08, 0.09], abs=0.005)


def test_a_stall_of_the_page_is_not_heard(page):
    """Nothing but what was sent 1.5 s ahead is needed for all notes to sound at their times."""
    onsets = page.run(
        """(async () => {
          const {createPiano} = await import("/sound/piano.js");
          const {createTransport} = await import("/transport.js");
          const context = new OfflineAudioContext(1, 16000 * 2, 16000);
          const clock = {now: () => 0, pageOf: (x) => x, audioOf: (epoch) => epoch / 1000};
          const transport = createTransport({context, clock});
          transport.add(createPiano(context), "audio");
          transport.start(0.1);
          const starts = Array.from({length: 12}, (_, i) => i / 8);
          const notes = starts.map((start, i) => [i, start, 48 + 3 * i, 80, 0]);
          const ends = starts.map((start, i) => [i, start + 0.02]);
          transport.receive({type: "notes", notes, ends});
          const samples = (await context.startRendering()).getChannelData(0), found = [];
          let loudest = 0;
          for (let i = 0; i < 32000; i += 160) {
            const now = samples.subarray(i, i + 160).reduce((a, x) => Math.max(a, Math.abs(x)), 0);
            if (now > 3 * loudest && now > 0.02) found.push(i / 16000);
            loudest = Math.max(now, loudest * 0.8);
          }
          return found;
        })()"""
    )
    assert onsets == pytest.approx([0.1 + i / 8 for i in range(12)], abs=0.02)

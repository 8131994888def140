"""The clock of the sound beside the page's, with contexts and a page's clock that the test sets."""

import pytest

# The sound's clock shows 3 s less than the page's, and is heard 0.02 s later.
SCRIPT = """
(async () => {
  const {createClock} = await import("/clock.js");
  const was = performance.now.bind(performance);
  let now = 4000;
  performance.now = () => now;
  try {
    const context = {currentTime: 0, baseLatency: 0.01, outputLatency: 0.02, %s};
    const clock = createClock(context);
    // When it plays what is heard now, in seconds after that is so.
    const look = (page, audio) => {
      now = page;
      context.currentTime = audio;
      clock.now();
      return clock.audioOf(performance.timeOrigin + page) - page / 1000;
    };
    return (%s).map(([page, audio]) => look(page, audio));
  } finally {
    performance.now = was;
  }
})()
"""


def differences(page, times, context=""):
    return page.run(SCRIPT % (context, times))


def test_blocks_of_sound_and_stalls_change_nothing(studio_scripts):
    # Up to 0.1 s behind, and once a whole second.
    times = [[4000, 1], [4090, 1], [4120, 1.1], [4200, 1.2], [5300, 1.3], [5310, 2.3]]
    times += [[6100, 3.1], [6600, 3.5], [8150, 5.1], [9200, 5.2], [9201, 6.201]]
    assert differences(studio_scripts, times) == pytest.approx([-3.02] * 11, abs=1e-3)


def test_it_follows_drift_and_interruptions(studio_scripts):
    # 4 ms faster in four seconds.
    drift = [[4000 + 100 * i, 1 + 0.1001 * i] for i in range(41)]
    assert differences(studio_scripts, drift)[-1] == pytest.approx(-3.016, abs=1e-4)
    # The sound stood still for half a second, and then for an hour in which nothing was played.
    lost = [[4000, 1], [4600, 1.1], *([4600 + 100 * i, 1.1 + 0.1 * i] for i in range(41))]
    found = differences(studio_scripts, [*lost, [4_000_000, 6]])
    assert found[2] == pytest.approx(-3.02)
    assert found[-2:] == pytest.approx([-3.52, -3994.02])


def test_before_the_sound_begins_nothing_is_remembered(studio_scripts):
    times = [[4000, 0], [4300, 0], [4400, 0.1]]
    assert differences(studio_scripts, times) == pytest.approx([-4.02, -4.32, -4.32])


def test_what_some_browsers_get_wrong_is_not_asked(studio_scripts):
    # Safari's stamps are wrong; Firefox may never answer about its latency.
    refuses = "() { throw new Error('asked'); }"
    times = [[4000, 1]]
    assert differences(studio_scripts, times, f"getOutputTimestamp{refuses}") == pytest.approx(
        [-3.02]
    )
    studio_scripts.run(
        "void Object.defineProperty(navigator, 'userAgent', "
        "{value: 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0'})"
    )
    context = f"get outputLatency{refuses}, get baseLatency{refuses}"
    assert differences(studio_scripts, times, context) == pytest.approx([-3])

"""The Worker in a real browser."""

import json
import pathlib

import perf_rnn
from perf_rnn.models import load_model
from perf_rnn.studio import model_file

BUNDLE = (
    pathlib.Path(__file__).parents[2]
    / "testdata"
    / "magenta_bundles"
    / "performance_with_dynamics.mag"
)
SETTINGS = {
    "temperature": 1,
    "top_p": 1,
    "min_p": 0,
    "pitch_min_p": 0.05,
    "loudness": 0,
    "guidance": 1,
    "notes_per_second": None,
    "pitch_class_histogram": None,
    "pause": 1,
    "split": None,
}
# Collects what the Worker answers; `answer(test)` waits for a message that passes it.
START = """
const worker = new Worker('/worker.js', {type: 'module'});
const messages = [];
let waiting = () => {};
worker.onmessage = ({data}) => { messages.push(data); waiting(); };
const answer = (test) => new Promise((done) => {
  waiting = () => { const found = messages.find(test); if (found) done(found); };
  waiting();
});
const bytes = async (url) => (await fetch(url)).arrayBuffer();
const open = async (model) => {
  worker.postMessage({type: 'open', model: await bytes(model), wasm: await bytes('/step.wasm')});
  return answer(({type}) => type === 'opened' || type === 'failed');
};
"""


def test_it_plays_the_piece_of_a_seed(folder, open_in_browser):
    (folder / "model.bin").write_bytes(model_file.encode_model(load_model(BUNDLE), "float32"))
    play = {"type": "play", "seed": 5, "settings": SETTINGS, "mode": "alone", "primer": None}
    with open_in_browser(folder) as browser:
        info, notes, until = browser.run(
            f"""(async () => {{
              {START}
              const {{info}} = await open('/model.bin');
              // It begins so late that no note is late, and draws for longer than is ahead.
              const now = performance.timeOrigin + performance.now() + 500;
              worker.postMessage({{...{json.dumps(play)}, now}});
              const {{until}} = await answer(({{type, until}}) => type === 'notes' && until >= 2);
              worker.postMessage({{type: 'stop'}});
              return [info, messages.flatMap(({{notes}}) => notes ?? []), until];
            }})()"""
        )
    assert info["kernels"] == "wasm"
    assert info["modes"] == ["alone", "response", "duet", "tap"]
    assert info["controls"] == []
    (piece,) = perf_rnn.generate(str(BUNDLE), 10.0, seed=5)
    expected = sorted((n.start_time, n.pitch, n.velocity) for n in piece.notes)
    expected = [note for note in expected if note[0] < until]
    assert len(expected) > 3
    found = sorted((start, pitch, velocity) for _, start, pitch, velocity in notes)
    found = [note for note in found if note[0] < until]
    assert [(round(start, 2), *rest) for start, *rest in found] == [
        (round(start, 2), *rest) for start, *rest in expected
    ]


def test_time_stands_still_in_a_pause(folder, open_in_browser):
    (folder / "model.bin").write_bytes(model_file.encode_model(load_model(BUNDLE), "float32"))
    play = {"type": "play", "seed": 5, "settings": SETTINGS, "mode": "alone", "primer": None}
    with open_in_browser(folder) as browser:
        until = browser.run(
            f"""(async () => {{
              {START}
              await open('/model.bin');
              const now = performance.timeOrigin + performance.now();
              worker.postMessage({{...{json.dumps(play)}, now}});
              worker.postMessage({{type: 'pause', time: 0}});
              // By the clock alone, a minute has passed.
              worker.postMessage({{type: 'undo', time: 0, now: now - 60000}});
              worker.postMessage({{type: 'mode', mode: 'duet'}});
              worker.postMessage({{type: 'resume', now: now + 60000}});
              worker.postMessage({{type: 'open', model: '/lacks.bin', wasm: '/step.wasm'}});
              await answer(({{type}}) => type === 'failed');
              return messages.findLast(({{until}}) => until !== undefined).until;
            }})()"""
        )
    assert until < 2


def test_it_says_what_failed(folder, open_in_browser):
    (folder / "other.bin").write_bytes(b"no model at all")
    with open_in_browser(folder) as browser:
        failed = browser.run(f"(async () => {{ {START} return open('/other.bin'); }})()")
    assert failed["type"] == "failed"
    assert "no model file" in failed["message"]

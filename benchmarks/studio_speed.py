"""Measures how fast the studio's network is in Chromium, beside other ways to run it there.

    python benchmarks/studio_speed.py [--peers=FOLDER] [--events=1000] [--rounds=3]

Events per second, and per second of processor time of the page's process, of the shipped
performance_with_dynamics: WebAssembly and plain JavaScript; WebAssembly with the shipped network
that has optional conditioning, at guidance 1 and 2; and, with a folder in which
`npm install onnxruntime-web @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm` was run, and the
Python package onnx, onnxruntime-web and TensorFlow.js (wasm), one thread each. They take turns, and
each reads the same real events. Prints the medians and writes all rounds to `studio_speed.json`.
"""

import argparse
import functools
import http.server
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading

import numpy as np

from perf_rnn.generation.openings import from_notes
from perf_rnn.models import Model, load_model
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.studio import model_file

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from browser import PROGRAMS, Browser  # noqa: E402

ENGINE = ROOT / "perf_rnn" / "studio" / "web" / "engine"
TENSORFLOW = "node_modules/@tensorflow"
ENGINE_SCRIPT = """
const {Model} = await import('/model.js');
const {Network} = await import('/network.js');
const wasm = %s ? await WebAssembly.compile(await bytes('/step.wasm')) : null;
const network = new Network(new Model(await bytes('/model.bin')), wasm);
const step = (event) => { network.read([event], [[]]); return network.logits[0]; };
"""
GUIDANCE_SCRIPT = """
const {Model} = await import('/model.js');
const {Network} = await import('/network.js');
const {GuidedNetwork} = await import('/guided_network.js');
const file = new Model(await bytes('/conditioned.bin'));
const wasm = await WebAssembly.compile(await bytes('/step.wasm'));
const network = new GuidedNetwork(new Network(file, wasm), file.header.controls);
const controls = {vector: file.header.controls.default, guidance: %d};
const step = (event) => { network.read([event], controls); return network.logits; };
"""
PEERS = ("onnxruntime-web", "TensorFlow.js")
SCRIPTS = {
    "WebAssembly": ENGINE_SCRIPT % "true",
    "JavaScript": ENGINE_SCRIPT % "false",
    "guidance 1": GUIDANCE_SCRIPT % 1,
    "guidance 2": GUIDANCE_SCRIPT % 2,
    "onnxruntime-web": """
const ort = await import('/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs');
ort.env.wasm.wasmPaths = '/node_modules/onnxruntime-web/dist/';
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create('/model.onnx');
let states = {};
for (const name of session.inputNames.filter((name) => name !== 'event')) {
  states[name] = new ort.Tensor('float32', new Float32Array(512), [1, 512]);
}
const step = async (event) => {
  const feeds = {...states, event: new ort.Tensor('int64', [BigInt(event)], [1])};
  const {logits, ...next} = await session.run(feeds);
  for (const name in next) states[name.replace('new_', '')] = next[name];
  return logits.data;
};
""",
    "TensorFlow.js": f"""
const files = ['tfjs-core/dist/tf-core.min.js', 'tfjs-backend-wasm/dist/tf-backend-wasm.min.js'];
for (const file of files) {{
  await new Promise((done) => {{
    const script = document.createElement('script');
    script.src = '/{TENSORFLOW}/' + file;
    script.onload = done;
    document.head.append(script);
  }});
}}
tf.wasm.setWasmPaths('/{TENSORFLOW}/tfjs-backend-wasm/wasm-out/');
tf.wasm.setThreadsCount(1);
await tf.setBackend('wasm');
const file = new (await import('/model.js')).Model(await bytes('/model.bin'));
const tensor = (place, shape = place.shape) => tf.tensor(file.array(place), shape);
const layers = file.header.layers.map(({{gates}}, n) => ({{
  table: gates.table && tensor(gates.table),
  kernels: gates.kernels.filter(({{shape}}) => shape[0]).map((place) => tensor(place)),
  bias: gates.bias && tensor(gates.bias, [1, 2048]),
}}));
const {{kernels: [outputKernel], bias}} = file.header.output;
const [kernel, outputBias] = [tensor(outputKernel), tensor(bias, [1, 388])];
let states = layers.map(() => [tf.zeros([1, 512]), tf.zeros([1, 512])]);
const step = (event) => {{
  const before = states;
  const [next, logits] = tf.tidy(() => {{
    let x = null;
    const next = layers.map(({{table, kernels, bias}}, n) => {{
      const [hidden, cell] = before[n];
      const inputs = [...(x ? [x] : []), hidden];
      let sum = table ? tf.slice(table, [event, 0], [1, 2048]) : bias;
      inputs.forEach((input, i) => {{ sum = tf.add(sum, tf.matMul(input, kernels[i])); }});
      const [i, f, c, o] = tf.split(sum, 4, 1);
      const kept = tf.add(tf.mul(tf.sigmoid(f), cell), tf.mul(tf.sigmoid(i), tf.tanh(c)));
      x = tf.mul(tf.sigmoid(o), tf.tanh(kept));
      return [x, kept];
    }});
    return [next, tf.add(tf.matMul(x, kernel), outputBias)];
  }});
  const values = logits.dataSync();
  tf.dispose([before, logits]);
  states = next;
  return values;
}};
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model("performance_with_dynamics")
    midi_file = min((ROOT / "tests" / "testdata" / "asap").rglob("*.mid"))
    events = from_notes(apply_sustain(read_midi_file(midi_file)), model.config).events
    names = [name for name in SCRIPTS if arguments.peers or name not in PEERS]
    rounds: dict[str, list[dict]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        for file in ENGINE.iterdir():
            shutil.copy(file, folder)
        (folder / "model.bin").write_bytes(model_file.encode_model(model, "float32"))
        conditioned = load_model("optional_multiconditioned_performance_with_dynamics")
        (folder / "conditioned.bin").write_bytes(model_file.encode_model(conditioned, "float32"))
        if arguments.peers:
            (folder / "node_modules").symlink_to((arguments.peers / "node_modules").resolve())
            (folder / "model.onnx").write_bytes(to_onnx(model))
        program = next(filter(None, map(shutil.which, PROGRAMS)))
        browser = Browser(program, folder / "profile")
        handler = functools.partial(Handler, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(arguments.rounds):
            for name in names:
                read = events[: arguments.events].tolist()
                rounds[name].append(measure(browser, server.server_port, SCRIPTS[name], read))
                print(name, rounds[name][-1], flush=True)
        browser.close()
        server.shutdown()
    for name, results in rounds.items():
        medians = {
            key: round(statistics.median(result[key] for result in results), 1)
            for key in ("events/s", "events per processor second")
        }
        print(name, medians)
    text = json.dumps(rounds, indent=1) + "\n"
    pathlib.Path(__file__).with_suffix(".json").write_text(text)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *arguments) -> None:
        pass


def measure(browser: Browser, port: int, script: str, events: list[int]) -> dict:
    """Reads the events after a hundred that warm up, in a new tab."""
    with browser.tab():
        browser.call("Page.navigate", url=f"http://127.0.0.1:{port}/")
        browser.wait_for("Page.loadEventFired")
        browser.run(
            f"""(async () => {{
              const bytes = async (name) => (await fetch(name)).arrayBuffer();
              {script}
              for (let i = 0; i < 100; i++) await step({events[0]});
              window.read = async (events) => {{
                const start = performance.now();
                let logits;
                for (const event of events) logits = await step(event);
                return [performance.now() - start, Math.max(...logits)];
              }};
            }})()"""
        )
        before = processor_seconds(browser)
        milliseconds, largest = browser.run(f"read({json.dumps(events)})")
        used = processor_seconds(browser) - before
    return {
        "events/s": len(events) / milliseconds * 1000,
        "events per processor second": len(events) / used,
        "largest logit": largest,  # To see that all compute the same.
    }


def processor_seconds(browser: Browser) -> float:
    """What all pages' processes have used."""
    session, browser._session = browser._session, None
    processes = browser.call("SystemInfo.getProcessInfo")["processInfo"]
    browser._session = session
    return sum(process["cpuTime"] for process in processes if process["type"] == "renderer")


def to_onnx(model: Model) -> bytes:
    """One step of a plain stack of LSTMs as an ONNX graph."""
    from onnx import TensorProto, helper, numpy_helper

    from perf_rnn.generation.cpu.step_network import split_off_events

    nodes, constants, inputs, outputs = [], [], [], []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind: str, given: list[str], made: list[str], **attributes: object) -> str:
        nodes.append(helper.make_node(kind, given, made, **attributes))
        return made[0]

    x = None
    for n, layer in enumerate(model.bundle.layers):
        names = [f"{state}{n}" for state in ("hidden", "cell")]
        for name in names:
            shape = [1, layer.units]
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            outputs.append(helper.make_tensor_value_info(f"new_{name}", TensorProto.FLOAT, shape))
        recurrent = constant(f"recurrent{n}", layer.recurrent_kernel)
        gates = node("MatMul", [names[0], recurrent], [f"from_hidden{n}"])
        if x is None:
            _, table = split_off_events(layer.kernel, layer.keras_bias, model.config)
            added = node("Gather", [constant("table", table), "event"], ["row"], axis=0)
        else:
            kernel, bias = (
                constant(f"kernel{n}", layer.kernel),
                constant(f"bias{n}", layer.keras_bias),
            )
            added = node("Add", [node("MatMul", [x, kernel], [f"from_x{n}"]), bias], [f"x_bias{n}"])
        node("Add", [gates, added], [f"gates{n}"])
        parts = [f"{gate}{n}" for gate in "ifco"]
        node("Split", [f"gates{n}"], parts, axis=1, num_outputs=4)
        i, f, o = (node("Sigmoid", [f"{gate}{n}"], [f"s{gate}{n}"]) for gate in "ifo")
        c = node("Tanh", [f"c{n}"], [f"tc{n}"])
        kept = [node("Mul", [f, names[1]], [f"fc{n}"]), node("Mul", [i, c], [f"ic{n}"])]
        cell = node("Add", kept, [f"new_cell{n}"])
        x = node("Mul", [o, node("Tanh", [cell], [f"t{n}"])], [f"new_hidden{n}"])
    kernel = constant("output_kernel", model.bundle.output_kernel)
    product = node("MatMul", [x, kernel], ["product"])
    node("Add", [product, constant("output_bias", model.bundle.output_bias)], ["logits"])
    inputs.append(helper.make_tensor_value_info("event", TensorProto.INT64, [1]))
    shape = [1, model.config.num_classes]
    outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "step", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 9
    return made.SerializeToString()


if __name__ == "__main__":
    main()

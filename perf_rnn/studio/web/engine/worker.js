// @ts-check
/** The Worker of the studio: draws ahead of the time that sounds, on a clock of its own. */

import { Model } from "./model.js";
import { Network } from "./network.js";
import { Performance, infoOf } from "./performance.js";

// Milliseconds between two looks at the clock, and those of drawing between two at the messages.
const TICK = 20;
const SLICE = 10;

/** @type {import("./model.js").Header} */
let header;
/** @type {Network} */
let network;
/** @type {Performance | null} */
let playing = null;
/** What `epoch` shows at performance time 0. */
let beginning = 0;
/** Where the performance stands still, in seconds; null: it goes on. @type {number | null} */
let pausedAt = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {object} message */
const send = (message) => postMessage(message);

/** Milliseconds on the clock that the page has too. */
const epoch = () => performance.timeOrigin + performance.now();

/** The time of the performance, in seconds. */
const now = () => pausedAt ?? (epoch() - beginning) / 1000;

function tick() {
  clearTimeout(timer);
  if (!playing || pausedAt !== null) return;
  const start = performance.now();
  let events = 0;
  playing.advance(now(), () => events++ > 0 && performance.now() - start > SLICE);
  timer = setTimeout(tick, performance.now() - start > SLICE ? 0 : TICK);
}

/** Where the browser lacks WebAssembly or its SIMD, plain JavaScript computes.
 *
 * @param {ArrayBuffer} bytes Of step.wasm.
 */
async function compile(bytes) {
  return globalThis.WebAssembly?.validate(bytes) ? WebAssembly.compile(bytes) : null;
}

/** @type {Record<string, (message: any) => void | Promise<void>>} */
const handlers = {
  async open({ model, wasm }) {
    const kernels = await compile(wasm);
    const read = new Model(model);
    header = read.header;
    network = new Network(read, kernels);
    send({ type: "opened", info: infoOf(header, kernels !== null) });
  },
  play(message) {
    beginning = message.now;
    pausedAt = null;
    // What was sent before is of another performance.
    send({ type: "playing" });
    playing = new Performance(header, network, message, send);
  },
  set: ({ settings }) => playing?.set(settings, now()),
  mode: ({ mode }) => playing?.setMode(mode, now()),
  key: ({ time, pitch, velocity }) => playing?.key(time, pitch, velocity, now()),
  pedal: ({ time, down }) => playing?.pedal(time, down, now()),
  pause({ time }) {
    pausedAt = time;
  },
  resume(message) {
    beginning = message.now;
    pausedAt = null;
  },
  undo(message) {
    beginning = message.now;
    if (pausedAt !== null) pausedAt = message.time;
    playing?.undo(message.time);
  },
  stop() {
    playing = null;
  },
};

onmessage = async ({ data }) => {
  try {
    await handlers[data.type](data);
    tick();
  } catch (error) {
    send({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  }
};

// Runs the engine for the tests, in node and in a browser alike.

const MODULES = [
  "controls", "events", "guided_network", "model", "network", "performance", "random", "sampler",
];

/** How far the logits after each of a job's events are from those expected, at most. */
async function logits(engine, { model, events, controls, expected }, read, wasm) {
  const file = new engine.Model(await read(model));
  const plain = new engine.Network(file, wasm);
  const network = new engine.GuidedNetwork(plain, file.header.controls);
  const wanted = new Float32Array(await read(expected));
  let place = 0;
  let worst = 0;
  for (const event of events) {
    network.read(event, controls);
    for (const logit of network.logits) {
      worst = Math.max(worst, Math.abs(logit - wanted[place++]));
    }
  }
  if (place !== wanted.length) throw new Error(`${place} logits, not ${wanted.length}`);
  return worst;
}

/** The negative log-likelihood of a job's events, one class each, in nats an event. */
async function likelihood({ Model, Network }, { model, events, controls }, read, wasm) {
  const network = new Network(new Model(await read(model)), wasm);
  let sum = 0;
  for (const [place, event] of events.slice(0, -1).entries()) {
    network.read(event, [controls.vector]);
    const [logits] = network.logits;
    const total = logits.reduce((total, logit) => total + Math.exp(logit), 0);
    sum += Math.log(total) - logits[events[place + 1][0]];
  }
  return sum / (events.length - 1);
}

/** The events that a job draws, without its opening. */
async function drawn(engine, { seed, leadIn, opening, limits, asked, count, model }, read, wasm) {
  const file = new engine.Model(await read(model));
  const network = new engine.Network(file, wasm);
  const vector = engine.controlVector(file.header.controls, asked);
  const controls = { vector, guidance: limits.guidance };
  const sampler = new engine.Sampler(file.header, network, seed, leadIn, opening, controls);
  return Array.from({ length: count }, () => {
    const event = sampler.draw(limits, controls);
    sampler.read(event);
    return event;
  });
}

/** What sounds, and the events that stand, after a job's actions in the course of some seconds. */
async function performed(engine, { model, options, actions, seconds }, readFile, wasm) {
  const file = new engine.Model(await readFile(model));
  const network = new engine.Network(file, wasm);
  const notes = new Map();
  let now = 0;
  let cancelled = 0;
  let late = 0; // Notes that came after their start, and those withdrawn after it.
  const performance = new engine.Performance(file.header, network, options, (message) => {
    if (message.type === "cancel") {
      cancelled++;
      if (message.from < now) late++;
      for (const [id, note] of notes) if (note.start >= message.from) notes.delete(id);
      return;
    }
    for (const [id, start, pitch, velocity] of message.notes) {
      if (start < now) late++;
      notes.set(id, { start, end: null, pitch, velocity });
    }
    for (const [id, end] of message.ends) notes.get(id).end = end;
  });
  const waiting = actions.slice();
  let back = 0; // By how many seconds undoing has set the time back.
  for (let step = 0; step < 50 * seconds; step++) {
    while (waiting.length && waiting[0].at <= step / 50) {
      const { at, method, values } = waiting.shift();
      now = at - back;
      performance[method](...values, now);
      if (method === "undo") back = at - values[0];
    }
    now = step / 50 - back;
    performance.advance(now);
  }
  const { stream } = performance;
  const entries = stream.entries.map(({ event, step, isHeld }) => ({ event, step, isHeld }));
  const snapshots = stream.entries.filter(({ snapshot }) => snapshot).length;
  // How far what the network remembers is from what it would after reading all that stands.
  const { told, free } = stream.sampler.snapshot().network;
  // The last event is read when the next one is drawn.
  const controls = stream.entries.map((entry) => entry.controls.vector);
  if (stream.sampler._hasRead) controls.push(stream.controls(stream.step).vector);
  const far = (state, vectors) => {
    network.reset();
    let event = file.header.events.start;
    for (const [i, vector] of vectors.entries()) {
      network.read(event, [vector]);
      event = entries[i]?.event;
    }
    const again = network.snapshot(0);
    return Math.max(...state.map((value, i) => Math.abs(value - again[i])));
  };
  const difference = far(told, controls);
  const disabled = free && engine.disabledVector(file.header.controls);
  const freeDifference = free && far(free, controls.map(() => disabled));
  return {
    notes: [...notes.values()], entries, snapshots, cancelled, late, difference, freeDifference,
  };
}

const functions = { logits, likelihood, drawn, performed };

/**
 * The results of jobs.json.
 *
 * @param engine Where the engine's modules are.
 * @param read From a file's name to its bytes; the engine's are read by it too.
 */
export async function run(engine, read) {
  const modules = await Promise.all(MODULES.map((name) => import(`${engine}/${name}.js`)));
  const wasm = await WebAssembly.compile(await read("step.wasm"));
  const results = [];
  for (const job of JSON.parse(new TextDecoder().decode(await read("jobs.json")))) {
    const kernels = job.plain ? null : wasm;
    results.push(await functions[job.do](Object.assign({}, ...modules), job, read, kernels));
  }
  return results;
}

if (typeof process !== "undefined") {
  // node drive_engine.mjs ENGINE FOLDER
  const fs = await import("node:fs");
  const [engine, folder] = process.argv.slice(2);
  const read = (name) => new Uint8Array(fs.readFileSync(`${folder}/${name}`)).buffer;
  console.log(JSON.stringify(await run(engine, read)));
}

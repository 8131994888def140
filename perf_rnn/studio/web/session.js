// @ts-check
// A session: the Worker that draws, the clock, and all that sounds, shows or records the notes.

import {createRecording} from "./recording.js";
import {createPiano} from "./sound/piano.js";
import {createTransport} from "./transport.js";

const SOUNDFONT = "sound/piano.sf3";
const UNDO_SECONDS = 10;
const PATIENCE = 3000;  // Milliseconds that a browser may take to open its sound.

const urlOf = (path) => new URL(path, import.meta.url).href;

/**
 * Starts to load the network and the sound; nothing sounds before `play` or `key`.
 * @param {any} roll see roll.js.
 * @param {(font: {name: string, copyright: string}) => void} onSound told what plays.
 * @param {(line: string) => void} onProblem
 */
export function createSession(roll, onSound, onProblem) {
  const worker = new Worker(urlOf("engine/worker.js"), {type: "module"});
  const recording = createRecording();
  const soundfont = fetch(urlOf(SOUNDFONT)).then((answer) => {
    if (!answer.ok) throw new Error(`${SOUNDFONT}: ${answer.status}`);
    return answer.arrayBuffer();
  });
  soundfont.catch(() => {});  // Told when it is needed.
  /** @type {any} */
  let transport = null;
  /** @type {"idle" | "playing" | "paused"} */
  let state = "idle";
  let mode = "alone";

  const opened = new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "the Worker cannot be started"));
    worker.onmessage = ({data}) => {
      if (data.type === "opened") resolve(data.info);
      else if (data.type === "failed") {
        reject(new Error(data.message));
        onProblem(data.message);
      } else if (data.type !== "rate" && state !== "idle") transport.receive(data);
    };
  });
  worker.postMessage({type: "open", model: urlOf("model.bin"), wasm: urlOf("engine/step.wasm")});

  /** @type {AudioContext | null} */
  let context = null;
  /** Makes the sound, or wakes it; browsers allow it once a person has touched the page. */
  function wakeSound() {
    if (context) return context.resume();
    const made = (context = new AudioContext({latencyHint: "interactive"}));
    const piano = createPiano(made, made.destination);
    soundfont.then((bytes) => piano.loadBytes(bytes)).then(onSound, (error) => onProblem(error.message));
    transport = createTransport({context: made});
    transport.add(piano, "audio");
    transport.add(roll, "performance");
    transport.add(recording, "performance");
    setTimeout(() => {
      if (made.state !== "running") onProblem("The browser plays no sound: is there a loudspeaker?");
    }, PATIENCE);
  }

  return {
    opened,
    recording,
    get state() { return state; },
    position: () => transport.position(),

    /** Begins a performance, once the network is loaded. */
    async play(seed, settings, primer = null) {
      wakeSound();
      await opened;
      if (state !== "idle") this.stop();
      state = "playing";
      roll.clear();
      recording.begin();
      worker.postMessage({type: "play", seed, settings, mode, primer, now: transport.start()});
    },
    pause() {
      state = "paused";
      worker.postMessage({type: "pause", time: transport.pause()});
    },
    resume() {
      wakeSound();
      state = "playing";
      worker.postMessage({type: "resume", now: transport.resume()});
    },
    stop() {
      state = "idle";
      transport?.stop();
      worker.postMessage({type: "stop"});
    },
    undo() {
      const {time, now} = transport.undo(UNDO_SECONDS);
      recording.undo(time);
      roll.undo(time);
      worker.postMessage({type: "undo", time, now});
    },
    set: (settings) => worker.postMessage({type: "set", settings}),
    setMode(name) {
      mode = name;
      worker.postMessage({type: "mode", mode});
    },
    key(pitch, velocity, timeStamp) {
      const time = transport.key(pitch, velocity, timeStamp, mode !== "tap");
      worker.postMessage({type: "key", time, pitch, velocity});
    },
    pedal(down, timeStamp) {
      if (state !== "playing") return;
      worker.postMessage({type: "pedal", time: transport.pedal(down, timeStamp), down});
    },
    panic: () => transport?.panic(),
  };
}

// @ts-check
// A session: the Worker that draws, the clock, and all that sounds, shows or records the notes.

import {createRecording} from "./recording.js";
import {createPiano} from "./sound/piano.js";
import {openSoundfont} from "./sound/soundfont.js";
import {createTransport} from "./transport.js";

const UNDO_SECONDS = 10;
const PATIENCE = 3000;  // Milliseconds that a browser may take to open its sound.

const MODEL = "model.bin", WASM = "engine/step.wasm", SOUNDFONT = "sound/piano.sf3";

/** @param {string} path */
const urlOf = (path) => new URL(path, import.meta.url).href;

/** @param {string} path @returns {Promise<ArrayBuffer>} */
async function load(path) {
  const answer = await fetch(urlOf(path));
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

/**
 * Starts to load the network and the sound; nothing sounds before `play` or `key`.
 * @param {any} roll see roll.js.
 * @param {(font: {name: string, copyright: string}) => void} onSound told what plays.
 * @param {(line: string) => void} onProblem
 */
export function createSession(roll, onSound, onProblem) {
  const worker = new Worker(urlOf("engine/worker.js"), {type: "module"});
  const recording = createRecording();
  const font = load(SOUNDFONT).then(openSoundfont);
  font.catch(() => {});  // Told when it is needed.
  /** @type {any} */
  let transport = null;
  /** @type {"idle" | "playing" | "paused"} */
  let state = "idle";
  let mode = "alone";
  let unanswered = 0;  // How many times the Worker was told to play and has not answered yet.

  const opened = new Promise((resolve, reject) => {
    /** @param {string} message */
    const fail = (message) => {
      reject(new Error(message));
      onProblem(message);
    };
    worker.onerror = (event) => fail(event.message || "the Worker cannot be started");
    worker.onmessage = ({data}) => {
      if (data.type === "opened") resolve(data.info);
      else if (data.type === "failed") fail(data.message);
      else if (data.type === "playing") unanswered--;
      // What is still on its way from the performance before is not played.
      else if (unanswered === 0 && state !== "idle") transport.receive(data);
    };
    // They are loaded while the Worker starts.
    Promise.all([load(MODEL), load(WASM)]).then(([model, wasm]) => {
      worker.postMessage({type: "open", model, wasm}, [model]);
    }, reject);
  });

  /** @type {AudioContext | null} */
  let context = null;
  /** @type {any} */
  let volume = null;
  /** Makes the sound, or wakes it; browsers allow it once the player has touched the page. */
  function wakeSound() {
    if (context) return context.resume();
    const made = (context = new AudioContext({latencyHint: "interactive"}));
    volume = new GainNode(made);
    volume.connect(made.destination);
    const piano = createPiano(made, volume);
    font.then((opened) => piano.use(opened)).then(onSound, (error) => onProblem(error.message));
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
    /** The samples; null if they cannot be played. */
    font: font.then((opened) => opened.decoded.then(() => opened)).catch(() => null),
    get state() { return state; },
    position: () => transport.position(),

    /**
     * Begins a performance, once the network is loaded; at a key, if that begins it.
     * @param {number} seed
     * @param {Object<string, any>} settings
     * @param {number[][] | null} [primer] start, end, pitch and velocity of notes
     * @param {number | null} [keyTimeStamp]
     */
    async play(seed, settings, primer = null, keyTimeStamp = null) {
      wakeSound();
      await opened;
      if (state !== "idle") this.stop();
      state = "playing";
      roll.clear();
      recording.begin();
      unanswered++;
      worker.postMessage({type: "play", seed, settings, mode, primer, now: transport.start(undefined, keyTimeStamp)});
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
    /** @returns {number} by how many seconds it went back */
    undo() {
      const before = Math.max(0, transport.position());
      const {time, now} = transport.undo(UNDO_SECONDS);
      worker.postMessage({type: "undo", time, now});
      return before - time;
    },
    /** @param {Object<string, any>} settings */
    set: (settings) => worker.postMessage({type: "set", settings}),
    /** @param {string} name */
    setMode(name) {
      mode = name;
      worker.postMessage({type: "mode", mode});
    },
    /**
     * The player's key; in "tap" the network chooses what it plays.
     * @param {number} pitch
     * @param {number} velocity 0: released
     * @param {number} timeStamp
     */
    key(pitch, velocity, timeStamp) {
      const time = transport.key(pitch, velocity, timeStamp, mode !== "tap");
      worker.postMessage({type: "key", time, pitch, velocity});
    },
    /** @param {boolean} down @param {number} timeStamp */
    pedal(down, timeStamp) {
      if (state === "idle") return;
      worker.postMessage({type: "pedal", time: transport.pedal(down, timeStamp), down});
    },
    panic: () => transport?.panic(),
    /** Sends the notes to a MIDI output too. @param {import("./transport.js").Sink} sink */
    addMidi(sink) {
      wakeSound();
      transport.add(sink, "page");
    },
    /** Whether the page itself sounds. @param {boolean} isAudible */
    setAudible(isAudible) {
      volume.gain.value = isAudible ? 1 : 0;
    },
  };
}

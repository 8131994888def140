// @ts-check
/** MIDI keyboards and synthesisers at the computer (the Web MIDI API). */

// Milliseconds. Notes are handed over this early, since those handed over cannot be taken back.
const AHEAD = 300, INTERVAL = 50;
const NOTE_OFF = 0x8, NOTE_ON = 0x9, CONTROL = 0xb;
const PEDAL = 64, ALL_SOUND_OFF = 120, ALL_NOTES_OFF = 123;

/** @typedef {{id: string, name: string}} Port */

/**
 * Asks for MIDI; nothing is heard or sent before `listen` and `send`.
 *
 * @param {object} told
 * @param {(pitch: number, velocity: number, timeStamp: number) => void} told.onKey velocity 0: up;
 *   times in milliseconds of performance.now()
 * @param {(down: boolean, timeStamp: number) => void} told.onPedal
 * @param {(number: number, value: number) => void} told.onControl all other control changes
 * @param {(ports: {inputs: Port[], outputs: Port[]}) => void} told.onChange
 * @param {(line: string) => void} told.onMessage
 * @throws {Error} one line: the browser has no MIDI, or it was not allowed
 */
export async function openMidi({onKey, onPedal, onControl, onChange, onMessage}) {
  if (!navigator.requestMIDIAccess) {
    throw new Error("This browser has no MIDI here; Chrome, Edge and Firefox have it on localhost and https.");
  }
  const access = await navigator.requestMIDIAccess().catch((error) => {
    const reason = error.message || error.name;
    throw new Error(`The browser does not allow MIDI (${reason}). Connect the keyboard first, and allow it when asked.`);
  });
  /** @type {string | null} */
  let listening = null;
  /** @type {Map<string, {keys: Set<number>, isPedalDown: boolean}>} By input. */
  const held = new Map();
  const out = createOutput();

  const list = (/** @type {Iterable<MIDIPort>} */ ports) =>
    [...ports].filter(({state}) => state !== "disconnected")
      .map(({id, name}) => ({id, name: name || id}));
  const inputs = () => list(access.inputs.values());
  const outputs = () => list(access.outputs.values());

  /** Lifts the keys and the pedal of an input that is not heard any more. */
  function release(/** @type {string} */ id) {
    const {keys, isPedalDown} = held.get(id) ?? {keys: [], isPedalDown: false};
    held.delete(id);
    for (const pitch of keys) onKey(pitch, 0, performance.now());
    if (isPedalDown) onPedal(false, performance.now());
  }

  function connect() {
    for (const input of access.inputs.values()) {
      const isHeard = listening === "all" || listening === input.id;
      if (!isHeard) release(input.id);
      input.onmidimessage = isHeard ? (event) => receive(input.id, event) : null;
    }
  }

  /**
   * @param {string} id
   * @param {MIDIMessageEvent} event
   */
  function receive(id, {data, timeStamp}) {
    if (!data || data.length < 3) return;
    const time = timeStamp || performance.now(), [status, number, value] = data;
    if (!held.has(id)) held.set(id, {keys: new Set(), isPedalDown: false});
    const state = /** @type {{keys: Set<number>, isPedalDown: boolean}} */ (held.get(id));
    const kind = status >> 4;
    if (kind === NOTE_ON && value > 0) {
      state.keys.add(number);
      onKey(number, value, time);
    } else if (kind === NOTE_ON || kind === NOTE_OFF) {
      state.keys.delete(number);
      onKey(number, 0, time);
    } else if (kind === CONTROL && number === PEDAL) {
      // Some pedals send their position many times.
      if (state.isPedalDown === value >= 64) return;
      state.isPedalDown = value >= 64;
      onPedal(state.isPedalDown, time);
    } else if (kind === CONTROL && (number === ALL_NOTES_OFF || number === ALL_SOUND_OFF)) {
      release(id);
    } else if (kind === CONTROL && number < ALL_SOUND_OFF) {
      onControl(number, value);
    }
  }

  access.onstatechange = ({port}) => {
    if (port?.state === "disconnected") {
      const isUsed = held.has(port.id) || listening === port.id || out.id === port.id;
      release(port.id);
      if (out.id === port.id) out.use(null);
      if (isUsed) onMessage(`${port.name || port.id} is no longer connected.`);
    }
    connect();
    onChange({inputs: inputs(), outputs: outputs()});
  };

  return {
    get inputs() { return inputs(); },
    get outputs() { return outputs(); },

    /** Hears an input by its id, "all" of them, or with null none. */
    listen(/** @type {string | null} */ id) {
      listening = id;
      connect();
    },

    /** Sends to an output by its id, or with null to none. */
    send(/** @type {string | null} */ id) {
      out.use((id && access.outputs.get(id)) || null);
    },

    /** A sink of the transport whose times are milliseconds of performance.now(). */
    sink: out.sink,

    close() {
      this.listen(null);
      out.use(null);
      access.onstatechange = null;
    },
  };
}

/** Sends notes to an output: the network's on channel 1, the player's on channel 2. */
function createOutput() {
  /**
   * @typedef {object} Sent
   * @property {number} channel
   * @property {number} pitch
   * @property {number} velocity
   * @property {number} on
   * @property {number} off
   * @property {boolean} isOn whether the note-on was handed over
   */
  /** @type {Map<number | string, Sent>} */
  const notes = new Map();
  /** @type {{time: number, message: number[]}[]} */
  let pedals = [];
  /** @type {MIDIOutput | null} */
  let output = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;

  /** Hands over what is due soon, in order of time; notes end before others begin. */
  function pump() {
    const until = performance.now() + AHEAD;
    const due = pedals.filter(({time}) => time <= until);
    pedals = pedals.filter(({time}) => time > until);
    for (const [id, note] of notes) {
      const {channel, pitch, velocity} = note;
      if (!note.isOn && note.on <= until) {
        due.push({time: note.on, message: [(NOTE_ON << 4) | channel, pitch, velocity]});
        note.isOn = true;
      }
      if (note.isOn && note.off <= until) {
        due.push({time: note.off, message: [(NOTE_OFF << 4) | channel, pitch, 0]});
        notes.delete(id);
      }
    }
    due.sort((a, b) => a.time - b.time || a.message[0] - b.message[0]);
    for (const {time, message} of due) output?.send(message, time);
  }

  /** @type {import("./transport.js").Sink} */
  const sink = {
    noteOn(id, pitch, velocity, time, part) {
      if (!output) return;
      for (const note of notes.values()) {
        // The key must be up before it can be struck again.
        if (note.pitch === pitch && note.channel === part && note.on < time) {
          note.off = Math.min(note.off, time);
        }
      }
      notes.set(id, {channel: part, pitch, velocity, on: time, off: Infinity, isOn: false});
      pump();
    },
    noteOff(id, time) {
      const note = notes.get(id);
      if (!note) return;
      note.off = Math.max(time, note.on);
      pump();
    },
    cancel(id) {
      const note = notes.get(id);
      if (!note) return;
      if (note.isOn) note.off = Math.max(note.on, performance.now());
      else notes.delete(id);
      pump();
    },
    pedal(down, time, part) {
      if (!output) return;
      pedals.push({time, message: [(CONTROL << 4) | part, PEDAL, down ? 127 : 0]});
      pump();
    },
    panic() {
      notes.clear();
      pedals = [];
      // Now, and again when all that was handed over has sounded.
      for (const time of [performance.now(), performance.now() + AHEAD]) {
        for (let channel = 0; channel < 16; channel++) {
          for (const number of [PEDAL, ALL_NOTES_OFF]) {
            output?.send([(CONTROL << 4) | channel, number, 0], time);
          }
        }
      }
    },
  };

  return {
    sink,
    get id() { return output?.id; },
    use(/** @type {MIDIOutput | null} */ next) {
      if (output?.state === "connected") sink.panic();
      notes.clear();
      clearInterval(timer);
      output = next;
      if (output) timer = setInterval(pump, INTERVAL);
    },
  };
}

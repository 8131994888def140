// @ts-check
/** Records all notes and pedals of both parts, and makes MIDI and WAV files of them. */

import {writeMidi} from "./midi_file.js";
import {createPiano} from "./sound/piano.js";

const KEPT_SECONDS = 3600, MOST_NOTES = 200000;  // What is older is forgotten.
const PAUSE = 1;  // Seconds between two performances.
const PART_NAMES = ["Network", "Player"];
const RATE = 44100;
const CHUNK = 30;  // Seconds of a WAV file that are rendered at once, so that memory is bounded.
const RUN_UP = 1;  // Seconds before a chunk that are rendered too: the limiter needs them.
const RINGS = 9;  // Seconds for which a note is heard at most.
const LAST_RING = 2;  // Seconds after the last note.

/**
 * @typedef {import("./sound/soundfont.js").Soundfont | null} Font
 * @typedef {{start: number, end: number, pitch: number, velocity: number, part: number}} TakenNote
 * @typedef {{notes: TakenNote[], pedal: {time: number, down: boolean, part: number}[], seconds: number}} Take
 *   times in seconds from its begin; part 0 is the network, 1 the player
 */

/** Returns a recording; it is a sink of the transport, in performance time. */
export function createRecording() {
  /** @type {TakenNote[]} In seconds since the first performance began, in order of arrival. */
  let notes = [];
  /** @type {{time: number, down: boolean, part: number}[]} */
  let pedal = [];
  /** @type {Map<number | string, TakenNote>} Of this performance. */
  let byId = new Map();
  let base = 0;  // When this performance began.

  /** The latest time of all that is recorded. */
  function latest() {
    const times = notes.map(({start, end}) => (end < Infinity ? end : start));
    return [...times, ...pedal.map(({time}) => time)].reduce((a, b) => Math.max(a, b), base);
  }

  function forget(/** @type {number} */ time) {
    if ((notes[0]?.start ?? time) > time - KEPT_SECONDS - 60 && notes.length < MOST_NOTES) return;
    const from = Math.max(time - KEPT_SECONDS, notes[Math.max(0, notes.length - MOST_NOTES / 2)].start);
    notes = notes.filter(({start}) => start >= from);
    pedal = pedal.filter((change) => change.time >= from);
    const kept = new Set(notes);
    byId = new Map([...byId].filter(([, note]) => kept.has(note)));
  }

  /**
   * @param {number} from
   * @param {number} to what sounds then is cut there
   * @returns {Take}
   */
  function between(from, to) {
    const end = Math.min(to, latest());
    const taken = notes
      .filter(({start}) => start >= from && start < to)
      .map((note) => ({...note, start: note.start - from, end: Math.min(note.end, end) - from}))
      .filter((note) => note.end > note.start)
      .sort((a, b) => a.start - b.start || a.pitch - b.pitch);
    const isDown = [0, 1].map((part) =>
      pedal.filter((change) => change.part === part && change.time < from).pop()?.down ?? false);
    const changes = pedal
      .filter(({time}) => time >= from && time < to)
      .map((change) => ({...change, time: change.time - from}))
      .sort((a, b) => a.time - b.time);
    isDown.forEach((down, part) => down && changes.unshift({time: 0, down, part}));
    return {notes: taken, pedal: changes, seconds: taken.reduce((last, note) => Math.max(last, note.end), 0)};
  }

  return {
    /** A new performance begins: its time 0 follows what is recorded. */
    begin() {
      const end = latest();
      for (const note of notes) note.end = Math.min(note.end, Math.max(end, note.start));
      for (const part of [0, 1]) {
        const last = pedal.filter((change) => change.part === part).pop();
        if (last?.down) pedal.push({time: end, down: false, part});
      }
      base = notes.length ? end + PAUSE : 0;
      byId.clear();
    },

    /** @returns {Take} this performance, as far as it was heard, or its last seconds */
    take(now = Infinity, seconds = Infinity) {
      return between(Math.max(base, Math.min(base + now, latest()) - seconds), base + now);
    },

    /** @returns {Take} the last seconds that were heard, from their first note on */
    last(seconds = 30, now = Infinity) {
      const to = Math.min(base + now, latest());
      const starts = notes.map(({start}) => start).filter((start) => start >= to - seconds && start < to);
      return between(starts.reduce((a, b) => Math.min(a, b), to), to);
    },

    /** @type {import("./transport.js").Sink["noteOn"]} */
    noteOn(id, pitch, velocity, time, part) {
      forget(base + time);
      const note = {start: base + time, end: Infinity, pitch, velocity, part};
      notes.push(note);
      byId.set(id, note);
    },

    /** @type {import("./transport.js").Sink["noteOff"]} */
    noteOff(id, time) {
      const note = byId.get(id);
      if (note) note.end = base + time;
    },

    /** @type {import("./transport.js").Sink["cancel"]} */
    cancel(id) {
      const note = byId.get(id);
      if (note) notes.splice(notes.lastIndexOf(note), 1);
      byId.delete(id);
    },

    /** @type {import("./transport.js").Sink["pedal"]} */
    pedal(down, time, part) {
      pedal.push({time: base + time, down, part});
    },

    panic() {},  // The keys are still what they are.

    /** Takes back all of this performance from a time on. */
    undo(/** @type {number} */ time) {
      const from = base + time;
      notes = notes.filter(({start}) => start < from);
      for (const note of notes) note.end = Math.min(note.end, from);
      pedal = pedal.filter((change) => change.time < from);
    },
  };
}

/**
 * Returns a MIDI file, the network and the player on tracks of their own.
 *
 * @param {Take} take
 * @returns {Uint8Array}
 */
export function midiOfTake({notes, pedal}) {
  const parts = PART_NAMES.map((name, part) => ({
    name,
    notes: notes.filter((note) => note.part === part),
    pedal: pedal.filter((change) => change.part === part),
  }));
  return writeMidi(parts.filter((part) => part.notes.length || part.pedal.length));
}

/**
 * Returns a WAV file, 16 bits, stereo.
 *
 * @param {Take} take
 * @param {Font} font what plays it; without one, the synthesised piano
 * @returns {Promise<Blob>}
 */
export async function wavOfTake(take, font) {
  const seconds = take.seconds + LAST_RING;
  /** @type {Int16Array<ArrayBuffer>[]} */
  const parts = [];
  for (let from = 0; from < seconds; from += CHUNK) {
    parts.push(await renderPart(take, font, from, Math.min(CHUNK, seconds - from)));
  }
  const size = parts.reduce((sum, {byteLength}) => sum + byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ at, /** @type {string} */ letters) =>
    [...letters].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);  // PCM.
  head.setUint16(22, 2, true);
  head.setUint32(24, RATE, true);
  head.setUint32(28, RATE * 4, true);
  head.setUint16(32, 4, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head.buffer, ...parts], {type: "audio/wav"});
}

/**
 * Returns frames of both channels in turn.
 *
 * @param {Take} take
 * @param {Font} font
 * @param {number} from seconds
 * @param {number} long seconds
 */
async function renderPart({notes, pedal}, font, from, long) {
  const begin = Math.max(0, from - RUN_UP), end = from + long;
  const context = new OfflineAudioContext(2, Math.ceil((end - begin) * RATE), RATE);
  const piano = createPiano(context);
  if (font) await piano.use(font);
  for (const {time, down, part} of pedal) if (time < end) piano.pedal(down, time - begin, part);
  notes.forEach((note, id) => {
    if (note.start >= end || note.start < begin - RINGS) return;
    const when = note.start - begin;
    piano.noteOn(id, note.pitch, note.velocity, when, note.part, Math.max(0, -when));
    piano.noteOff(id, note.end - begin);
  });
  const buffer = await context.startRendering();
  const skipped = Math.round((from - begin) * RATE);
  const sides = [0, 1].map((side) => buffer.getChannelData(side).subarray(skipped));
  const frames = new Int16Array(2 * sides[0].length);
  for (let i = 0; i < frames.length; i++) {
    frames[i] = Math.max(-32768, Math.min(32767, Math.round(32767 * sides[i & 1][i >> 1])));
  }
  return frames;
}

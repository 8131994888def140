// @ts-check
/** Sends the notes of the Worker and of the player to all that sound or show them, at exact times. */

import {createClock, latencyOf} from "./clock.js";

const NETWORK = 0, PLAYER = 1;
const KEPT = 2;  // Seconds for which a note that has ended is remembered.

/**
 * What notes are sent to. `part` is 0 for the network and 1 for the player.
 *
 * noteOff may come again for a note, with another time: the last counts, and Infinity means that it
 * sounds on. cancel takes a note back that has not begun, or ends it. undo, which a sink need not
 * have, takes back all from a performance time on.
 *
 * @typedef {object} Sink
 * @property {(id: number | string, pitch: number, velocity: number, time: number, part: number) => void} noteOn
 * @property {(id: number | string, time: number) => void} noteOff
 * @property {(id: number | string) => void} cancel
 * @property {(down: boolean, time: number, part: number) => void} pedal
 * @property {() => void} panic
 * @property {(time: number) => void} [undo]
 */

/**
 * @typedef {object} Note
 * @property {number | string} id
 * @property {number} pitch
 * @property {number} velocity
 * @property {number} start seconds of performance time
 * @property {number} end Infinity while unknown
 */

/**
 * Returns the transport of a performance, which is at 0 s and does not play.
 *
 * @param {{context: AudioContext, clock?: import("./clock.js").Clock}} options
 */
export function createTransport({context, clock = createClock(context)}) {
  /** @type {{sink: Sink, timed: "audio" | "page" | "performance"}[]} */
  const sinks = [];
  /** @type {Map<number | string, Note>} The network's notes that are to come or may sound. */
  const notes = new Map();
  /** @type {Map<number, string>} The notes of the keys that are down. */
  const keys = new Map();
  let numKeys = 0;
  let begin = clock.now();  // What the clock shows at performance time 0.
  let isPlaying = false;
  let stoppedAt = 0;

  const position = () => (isPlaying ? (clock.now() - begin) / 1000 : stoppedAt);

  /** How long ago it was, in seconds. */
  const ago = (/** @type {number} */ timeStamp) => Math.max(0, performance.now() - timeStamp) / 1000;

  /** When the player did something, in seconds of performance time; never before its begin. */
  const timeOf = (/** @type {number} */ timeStamp) => Math.max(0, position() - ago(timeStamp));

  /**
   * @param {(sink: Sink, time: number) => void} call
   * @param {number} time of the performance
   * @param {(timed: string) => boolean} which
   */
  function send(call, time, which = () => true) {
    for (const {sink, timed} of sinks) {
      if (!which(timed)) continue;
      const epoch = begin + 1000 * time;
      if (timed === "performance") call(sink, time);
      else if (time === Infinity) call(sink, Infinity);
      else call(sink, timed === "audio" ? clock.audioOf(epoch) : clock.pageOf(epoch));
    }
  }

  /** What sounds, in contrast to what shows and records. */
  const sounds = (/** @type {string} */ timed) => timed !== "performance";

  /** @param {Note} note */
  function sendNote(note, which = (/** @type {string} */ timed) => isPlaying || !sounds(timed)) {
    const {id, pitch, velocity, start, end} = note;
    send((sink, time) => sink.noteOn(id, pitch, velocity, time, NETWORK), start, which);
    if (end < Infinity) send((sink, time) => sink.noteOff(id, time), end, which);
  }

  /** Calls at once, with the present time of each clock, for what the player does. */
  function sendNow(/** @type {(sink: Sink, time: number) => void} */ call, /** @type {number} */ time) {
    for (const {sink, timed} of sinks) {
      call(sink, timed === "performance" ? time : timed === "audio" ? 0 : performance.now());
    }
  }

  /** Silences the network from now on. */
  function silence() {
    const time = position();
    for (const {id, start, end} of notes.values()) {
      for (const {sink, timed} of sinks) {
        if (!sounds(timed) || end <= time) continue;
        if (start >= time) sink.cancel(id);
        else sink.noteOff(id, timed === "audio" ? 0 : performance.now());
      }
    }
    return time;
  }

  /** Takes back the network's notes from a time on; those that sound then wait for a new end. */
  function cancel(/** @type {number} */ from) {
    for (const note of notes.values()) {
      if (note.start >= from) {
        for (const {sink} of sinks) sink.cancel(note.id);
        notes.delete(note.id);
      } else if (note.end >= from && note.end < Infinity) {
        note.end = Infinity;
        send((sink, time) => sink.noteOff(note.id, time), Infinity);
      }
    }
  }

  return {
    /**
     * @param {Sink} sink
     * @param {"audio" | "page" | "performance"} timed its clock: seconds of the context's,
     *   milliseconds of performance.now(), or seconds of performance time
     */
    add(sink, timed) {
      sinks.push({sink, timed});
    },

    /**
     * Begins a performance.
     *
     * @param {number} lead seconds until its time 0 is heard; more if the sound is more delayed
     * @param {number | null} timeStamp of the key that begins it, on performance.now()'s clock:
     *   that is time 0, without a lead
     * @returns {number} `now` for the Worker: what the clock shows at performance time 0
     */
    start(lead = 0.25, timeStamp = null) {
      this.stop();
      const until = timeStamp === null ? Math.max(lead, latencyOf(context) + 0.05) : -ago(timeStamp);
      begin = clock.now() + 1000 * until;
      isPlaying = true;
      return begin;
    },

    get isPlaying() {
      return isPlaying;
    },

    /** @returns {number} what is heard now, in seconds of performance time; below 0 at first */
    position,

    /** @returns {number} where it stands still, in seconds of performance time */
    pause() {
      if (isPlaying) stoppedAt = silence();
      isPlaying = false;
      return stoppedAt;
    },

    /** @returns {number} `now` for the Worker */
    resume() {
      if (isPlaying) return begin;
      begin = clock.now() - 1000 * stoppedAt;
      isPlaying = true;
      for (const note of notes.values()) if (note.start >= stoppedAt) sendNote(note, sounds);
      return begin;
    },

    /**
     * Goes back in the performance.
     *
     * @param {number} seconds
     * @returns {{time: number, now: number}} for the Worker
     */
    undo(seconds) {
      const present = silence(), time = Math.max(0, present - seconds);
      begin += 1000 * (present - time);
      stoppedAt = time;
      cancel(time);
      for (const {sink} of sinks) sink.undo?.(time);
      return {time, now: begin};
    },

    /** Ends the performance. */
    stop() {
      const time = this.pause();
      for (const {id, start, end} of notes.values()) {
        for (const {sink, timed} of sinks) {
          if (start >= time) sink.cancel(id);
          else if (end > time && !sounds(timed)) sink.noteOff(id, time);
        }
      }
      notes.clear();
    },

    /**
     * Takes a message of the Worker; does nothing with others than notes and cancel.
     *
     * @param {{type: string, notes?: number[][], ends?: number[][], from?: number}} message
     */
    receive({type, notes: begun = [], ends = [], from = Infinity}) {
      if (type === "cancel") return cancel(from);
      if (type !== "notes") return;
      for (const [id, start, pitch, velocity] of begun) {
        const note = {id, pitch, velocity, start, end: Infinity};
        notes.set(id, note);
        sendNote(note);
      }
      for (const [id, end] of ends) {
        const note = notes.get(id);
        if (!note) continue;
        note.end = end;
        const isSilent = !isPlaying && note.start >= stoppedAt;
        send((sink, time) => sink.noteOff(id, time), end, (timed) => !(isSilent && sounds(timed)));
      }
      const past = position() - KEPT;
      for (const [id, note] of notes) if (note.end < past) notes.delete(id);
    },

    /**
     * The player's key goes down, or up with velocity 0; it sounds at once.
     *
     * @param {number} pitch
     * @param {number} velocity
     * @param {number} timeStamp when, on performance.now()'s clock
     * @param {boolean} isHeard whether it sounds and is recorded
     * @returns {number} when, in seconds of performance time
     */
    key(pitch, velocity, timeStamp = performance.now(), isHeard = true) {
      const time = timeOf(timeStamp);
      const held = keys.get(pitch);
      if (held) sendNow((sink, at) => sink.noteOff(held, at), time);
      keys.delete(pitch);
      if (velocity && isHeard) {
        const id = `key ${++numKeys}`;
        keys.set(pitch, id);
        sendNow((sink, at) => sink.noteOn(id, pitch, velocity, at, PLAYER), time);
      }
      return time;
    },

    /**
     * The player's sustain pedal.
     *
     * @param {boolean} down
     * @param {number} timeStamp when, on performance.now()'s clock
     * @returns {number} when, in seconds of performance time
     */
    pedal(down, timeStamp = performance.now()) {
      const time = timeOf(timeStamp);
      sendNow((sink, at) => sink.pedal(down, at, PLAYER), time);
      return time;
    },

    /** Ends all sound at once; the performance goes on. */
    panic() {
      keys.clear();
      for (const {sink} of sinks) sink.panic();
    },
  };
}

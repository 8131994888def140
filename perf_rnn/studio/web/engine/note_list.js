// @ts-check
/** The notes that the network plays, and what the page is told of them. */

const STEPS_KEPT = 3000;

/**
 * @typedef {object} PlayedNote Times are in steps of the performance.
 * @property {number} id
 * @property {number} start
 * @property {number | null} end null: it sounds.
 * @property {number} pitch
 * @property {number} velocity
 * @property {boolean} isSent
 */

export class NoteList {
  /** @param {(message: object) => void} send @param {number} stepsPerSecond */
  constructor(send, stepsPerSecond) {
    this._send = send;
    this._stepsPerSecond = stepsPerSecond;
    this._nextId = 0;
    /** In order of their starts. @type {PlayedNote[]} */
    this.notes = [];
    /** Those whose end is not sent yet. @type {Set<PlayedNote>} */
    this._ended = new Set();
  }

  /** @param {number} step @param {number} pitch @param {number} velocity */
  start(step, pitch, velocity) {
    const note = { id: this._nextId++, start: step, end: null, pitch, velocity, isSent: false };
    this.notes.push(note);
  }

  /** Ends the sounding note of a pitch, if there is one. @param {number} step @param {number} pitch */
  end(step, pitch) {
    const note = this.notes.find((note) => note.pitch === pitch && note.end === null);
    if (!note) return;
    note.end = Math.max(step, note.start + 1);
    this._ended.add(note);
  }

  /** @returns {number[]} The pitches that sound. */
  sounding() {
    return this.notes.filter(({ end }) => end === null).map(({ pitch }) => pitch);
  }

  /** @param {number} from @param {number} to @returns {number} Notes that start from one step up to
   *   another. */
  count(from, to) {
    let place = this.notes.length;
    let count = 0;
    while (place > 0 && this.notes[--place].start >= from) if (this.notes[place].start < to) count++;
    return count;
  }

  /**
   * Withdraws all that is later than a step.
   *
   * @param {number} step Notes that start at it stay.
   * @param {boolean} keepEnds Whether notes that sound at it have ends that stay.
   */
  withdraw(step, keepEnds) {
    const gone = this.notes.filter(({ start }) => start > step);
    this.notes = this.notes.filter(({ start }) => start <= step);
    const open = this.notes.filter(({ end }) => end !== null && end > step);
    const isKnown = gone.some(({ isSent }) => isSent) || open.some((note) => !this._ended.has(note));
    for (const note of gone) this._ended.delete(note);
    for (const note of open) {
      if (!keepEnds) note.end = null;
      if (keepEnds) this._ended.add(note);
      else this._ended.delete(note);
    }
    if (isKnown) this._send({ type: "cancel", from: (step + 0.5) / this._stepsPerSecond });
  }

  /** Sends what is new. @param {number} until No note starts before it that was not sent. */
  flush(until) {
    const fresh = this.notes.filter(({ isSent }) => !isSent);
    for (const note of fresh) note.isSent = true;
    const seconds = this._stepsPerSecond;
    this._send({
      type: "notes",
      notes: fresh.map(({ id, start, pitch, velocity }) => [id, start / seconds, pitch, velocity]),
      ends: [...this._ended].map(({ id, end }) => [id, /** @type {number} */ (end) / seconds]),
      until: until / seconds,
    });
    this._ended.clear();
  }

  /** Forgets notes that ended long before a step. @param {number} step */
  forget(step) {
    this.notes = this.notes.filter(({ end }) => end === null || end > step - STEPS_KEPT);
  }
}

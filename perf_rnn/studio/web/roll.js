// @ts-check
// The roll: what has been played rises from the keys, coloured by who played it.

import {HIGHEST, isBlack, keyPlaces, LOWEST} from "./keyboard.js";

const SECONDS = 10;  // Of music in the roll.
const MOST_NOTES = 3000;  // A page in the background draws nothing and forgets nothing.
const places = new Map(keyPlaces(LOWEST, HIGHEST).map((place) => [place.pitch, place]));

/**
 * A sink of notes in seconds of performance time, drawn into a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export function createRoll(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const stillness = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Map<any, {pitch: number, velocity: number, part: number, start: number, end: number}>} */
  const notes = new Map();
  let colors = readColors(), width = 0, height = 0, shown = 0;

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    /** @param {string} name */
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const [network, player, lane, octave] = ["accent", "cursor", "black-key", "octave"].map(color);
    return {parts: [network, player], lane, octave};
  }
  matchMedia("(prefers-color-scheme: dark)").onchange = () => {
    colors = readColors();
    draw(shown);
  };
  new ResizeObserver(() => {
    ({clientWidth: width, clientHeight: height} = canvas);
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    draw(shown);
  }).observe(canvas);

  function drawKeys() {
    for (const {pitch, left, width: share} of places.values()) {
      if (isBlack(pitch)) {
        context.fillStyle = colors.lane;
        context.fillRect(left * width, 0, share * width, height);
      } else if (pitch % 12 === 0) {
        context.fillStyle = colors.octave;
        context.fillRect(Math.round(left * width) - 0.5, 0, 1, height);
      }
    }
  }

  /**
   * Returns where a time lies. With reduced motion a page fills from the top, and is turned when it
   * is full.
   * @param {number} time
   * @param {number} now
   */
  const place = (time, now) => {
    if (!stillness.matches) return height - ((now - time) / SECONDS) * height;
    return ((time - Math.floor(now / SECONDS) * SECONDS) / SECONDS) * height;
  };

  /**
   * Draws what is to be seen at a time, and says which keys sound.
   * @param {number} now
   * @returns {Map<number, number>} the part of each sounding pitch.
   */
  function draw(now) {
    shown = now;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    drawKeys();
    const sounding = new Map();
    for (const [id, {pitch, velocity, part, start, end}] of notes) {
      const key = places.get(pitch);
      if (end < now - 2 * SECONDS) notes.delete(id);
      if (start > now || !key) continue;
      if (end > now) sounding.set(pitch, part);
      const top = Math.max(place(start, now), -8);
      const bottom = Math.min(place(Math.min(end, now), now), height);
      if (bottom < 0) continue;
      context.globalAlpha = 0.35 + (0.65 * velocity) / 127;
      context.fillStyle = colors.parts[part];
      const left = key.left * width + 0.5, wide = Math.max(1, key.width * width - 1);
      context.beginPath();
      context.roundRect(left, top, wide, Math.max(bottom - top, 2), Math.min(3, wide / 4));
      context.fill();
    }
    context.globalAlpha = 1;
    return sounding;
  }

  /** @type {import("./transport.js").Sink} */
  const sink = {
    noteOn(id, pitch, velocity, time, part) {
      if (notes.size >= MOST_NOTES) notes.delete(notes.keys().next().value);
      notes.set(id, {pitch, velocity, part, start: time, end: Infinity});
    },
    noteOff(id, time) {
      const note = notes.get(id);
      if (note) note.end = time;
    },
    cancel(id) { notes.delete(id); },
    pedal() {},
    panic() {},
    /** Takes the performance back to a time. */
    undo(time) {
      for (const [id, note] of notes) {
        if (note.start >= time) notes.delete(id);
        else if (note.part) note.end = Math.min(note.end, time);  // The network's are sent anew.
      }
    },
  };
  return {...sink, draw, clear: () => notes.clear()};
}

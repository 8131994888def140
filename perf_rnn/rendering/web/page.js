// @ts-check
"use strict";

// The list of pieces: drawing, playing, sorting, downloads.

import {createPiano} from "./sound/piano.js";
import {openSoundfont} from "./sound/soundfont.js";

/**
 * @typedef {object} Entry A piece, as page.py writes it.
 * @property {string} name
 * @property {number} seconds
 * @property {number} num_notes
 * @property {number} primer
 * @property {Object<string, number | string>} facts
 * @property {string} notes
 * @property {string} pedal
 * @property {string} midi
 * @property {string | null} wav
 *
 * @typedef {object} Note
 * @property {number} start in seconds
 * @property {number} end when the key goes up
 * @property {number} release when the sound ends, later if the pedal is down
 * @property {number} pitch
 * @property {number} velocity
 * @property {boolean} isDrum
 *
 * @typedef {{notes: Note[], pedal: number[][]}} Music notes in order of start; [begin, end] of the pedal.
 */

const LEFT = 30, BOTTOM = 18, TOP = 4;  // Margins of a roll in CSS pixels.
const PEDAL = 12;  // The height of the pedal's strip, if there is one.
const TICK_SECONDS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LOOKAHEAD = 1.5;  // Seconds of notes handed to the piano at once; idle tabs wake each second.
const AFTERGLOW = 1.2;  // Seconds for the last note to fade.
const PLAY_ICON = "M8 5v14l11-7z", PAUSE_ICON = "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z";

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
/** @param {number} pitch */
const isBlack = (pitch) => [1, 3, 6, 8, 10].includes(pitch % 12);
/** @param {number} value @param {number} low @param {number} high */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {number} seconds */
function showTime(seconds) {
  const whole = Math.floor(seconds + 1e-6), rest = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** @param {number | string} value */
function showFact(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

/** Returns an NLL as all texts show it: with three decimals. @param {number | string} value */
function showNll(value) {
  return typeof value === "number" ? value.toFixed(3) : value;
}

/** Returns the bytes of base64 text. @param {string} text */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * Returns the notes and pedal of a piece, as page.py packs them.
 * @param {Entry} piece
 * @returns {Music}
 */
function unpackMusic(piece) {
  const bytes = bytesOf(piece.notes), count = bytes.length / 15;
  const [start, end, release] = [0, 1, 2].map(
    (column) => new Float32Array(bytes.buffer, column * 4 * count, count),
  );
  const [pitch, velocity, isDrum] = [12, 13, 14].map((at) => bytes.subarray(at * count));
  const notes = Array.from(start, (_, i) => ({
    start: start[i], end: end[i], release: release[i],
    pitch: pitch[i], velocity: velocity[i], isDrum: isDrum[i] === 1,
  }));
  const times = new Float32Array(bytesOf(piece.pedal).buffer);
  const pedal = Array.from({length: times.length / 2}, (_, i) => [times[2 * i], times[2 * i + 1]]);
  return {notes, pedal};
}

/** A piece on the page. */
class Card {
  /** @param {Entry} piece */
  constructor(piece) {
    this.piece = piece;
    this.position = 0;
    this.isShown = false;
    /** @type {Music | undefined} */
    this.unpacked = undefined;
    this.element = element("piece").content.firstElementChild.cloneNode(true);
    /** @param {string} selector @returns {any} */
    const find = (selector) => this.element.querySelector(selector);
    this.playButton = find(".play");
    this.roll = find(".roll");
    this.canvas = find("canvas");
    this.cursor = find(".cursor");
    this.clock = find(".clock");
    for (const part of piece.name.split(/(?<=[_/])/)) {
      find("h2").append(Object.assign(document.createElement("span"), {textContent: part}));
    }
    find(".counts").textContent =
      piece.num_notes === 1 ? "1 note" : `${piece.num_notes.toLocaleString()} notes`;
    for (const [name, value] of Object.entries(piece.facts)) {
      const [entry, term, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      text.textContent = name === "NLL" ? showNll(value) : showFact(value);
      if (name === "NLL") {
        entry.title = "How surprising the network finds this piece: lower is more ordinary";
      }
      entry.append(term, text);
      find("dl").append(entry);
    }
    const download = find(".download");
    download.setAttribute("aria-label", `Download MIDI of ${piece.name}`);
    download.addEventListener("click", () => this.download());
    const wav = find(".wav");
    if (piece.wav) Object.assign(wav, {href: piece.wav, hidden: false, download: ""});
    // From a page on disk browsers open the file instead of downloading it: not in the page's place.
    if (location.protocol === "file:") Object.assign(wav, {target: "_blank", textContent: "WAV ↗"});
    this.playButton.addEventListener("click", () => player.toggle(this));
    this.roll.setAttribute("aria-label", `Position in ${piece.name}`);
    this.roll.setAttribute("aria-valuemax", piece.seconds);
    this.roll.addEventListener("click", (/** @type {MouseEvent} */ event) => this.seekTo(event));
    this.roll.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.seekBy(event));
    this.showPlaying(false);
    this.moveTo(0);
  }

  /** Notes and pedal, unpacked when first needed. */
  get music() {
    return (this.unpacked ??= unpackMusic(this.piece));
  }

  /** @param {boolean} isPlaying */
  showPlaying(isPlaying) {
    this.playButton.setAttribute("aria-label", `${isPlaying ? "Pause" : "Play"} ${this.piece.name}`);
    this.playButton.querySelector("path").setAttribute("d", isPlaying ? PAUSE_ICON : PLAY_ICON);
  }

  /** @param {number} seconds */
  moveTo(seconds) {
    this.position = clamp(seconds, 0, this.piece.seconds);
    const share = this.position / this.piece.seconds;
    const x = LEFT + share * (this.roll.clientWidth - LEFT);
    this.cursor.style.transform = `translateX(${x}px)`;
    this.cursor.style.visibility = this.position || player.card === this ? "visible" : "hidden";
    const now = showTime(this.position), all = showTime(this.piece.seconds);
    if (this.clock.textContent !== `${now} / ${all}`) {
      this.clock.textContent = `${now} / ${all}`;
      this.roll.setAttribute("aria-valuetext", `${now} of ${all}`);
    }
    this.roll.setAttribute("aria-valuenow", this.position.toFixed(2));
  }

  /** @param {MouseEvent} event */
  seekTo(event) {
    const box = this.roll.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT);
    player.seek(this, share * this.piece.seconds);
  }

  /** @param {KeyboardEvent} event */
  seekBy(event) {
    const step = event.shiftKey ? 10 : 2;
    /** @type {Object<string, number>} */
    const targets = {
      ArrowRight: this.position + step, ArrowUp: this.position + step,
      ArrowLeft: this.position - step, ArrowDown: this.position - step,
      Home: 0, End: this.piece.seconds,
    };
    const target = targets[event.key];
    if (target !== undefined) player.seek(this, target);
    else if (event.key === " " || event.key === "Enter") player.toggle(this);
    else return;
    event.preventDefault();
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytesOf(this.piece.midi)], {type: "audio/midi"}));
    link.download = `${this.piece.name.split("/").pop()}.mid`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  /** @param {boolean} isShown */
  show(isShown) {
    this.isShown = isShown;
    if (isShown) return this.draw();
    // Hundreds of pieces do not fit into memory as pictures.
    this.canvas.width = this.canvas.height = 0;
    if (player.card !== this) this.unpacked = undefined;
  }

  draw() {
    const scale = devicePixelRatio, width = this.roll.clientWidth, height = this.roll.clientHeight;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    drawRoll(context, width, height, this.piece, this.music);
    this.moveTo(this.position);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 * @param {Entry} piece
 * @param {Music} music
 */
function drawRoll(context, width, height, piece, {notes, pedal}) {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const noteColors = color("velocities").split(", ");
  const primerColors = color("primer-velocities").split(", ");
  const pitches = notes.length ? notes.map((note) => note.pitch) : [60];
  let low = pitches.reduce((a, b) => Math.min(a, b)) - 2;
  let high = pitches.reduce((a, b) => Math.max(a, b)) + 2;
  while (high - low < 29) { low--; high++; }
  const bottom = height - BOTTOM - (pedal.length ? PEDAL : 0);
  const keyHeight = (bottom - TOP) / (high - low + 1);
  /** @param {number} seconds */
  const x = (seconds) => LEFT + (seconds / piece.seconds) * (width - LEFT);
  /** @param {number} pitch */
  const y = (pitch) => bottom - (pitch - low + 1) * keyHeight;
  if (piece.primer > 0) {
    context.fillStyle = color("primer");
    context.fillRect(LEFT, TOP, x(Math.min(piece.primer, piece.seconds)) - LEFT, bottom - TOP);
  }
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "left";
  for (let pitch = low; pitch <= high; pitch++) {
    if (isBlack(pitch + 120) && keyHeight >= 3) {
      context.fillStyle = color("black-key");
      context.fillRect(LEFT, y(pitch), width - LEFT, keyHeight);
    }
    if (pitch >= 0 && pitch <= 120 && pitch % 12 === 0) {
      context.fillStyle = color("octave");
      context.fillRect(LEFT, Math.round(y(pitch) + keyHeight) - 0.5, width - LEFT, 1);
      context.fillStyle = color("quiet");
      context.fillText(`C${pitch / 12 - 1}`, 4, y(pitch) + keyHeight / 2);
    }
  }
  drawTimes(context, width, height, piece, x, color("quiet"));
  if (pedal.length) {
    context.textAlign = "left";
    context.fillText("ped.", 4, bottom + PEDAL / 2);
  }
  context.fillStyle = color("pedal");
  for (const [start, end] of pedal) {
    context.fillRect(x(start), bottom + PEDAL / 2 - 2, Math.max(1, x(end) - x(start)), 4);
  }
  const thick = Math.max(2, keyHeight - (keyHeight > 4 ? 1 : 0));
  for (const {start, end, pitch, velocity} of notes) {
    const colors = start < piece.primer - 1e-3 ? primerColors : noteColors;
    context.fillStyle = colors[Math.floor((velocity / 128) * colors.length)];
    const long = x(end) - x(start);
    context.fillRect(x(start), y(pitch), Math.max(1.5, long - (long > 4 ? 0.75 : 0)), thick);
  }
  if (!notes.length) {
    context.fillStyle = color("quiet");
    context.textAlign = "center";
    context.fillText("no notes", (LEFT + width) / 2, (TOP + bottom) / 2);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 * @param {Entry} piece
 * @param {(seconds: number) => number} x
 * @param {string} color
 */
function drawTimes(context, width, height, piece, x, color) {
  const room = Math.max(2, Math.floor((width - LEFT) / 64));
  const step = TICK_SECONDS.find((each) => piece.seconds <= each * room) ?? piece.seconds;
  const inSeconds = piece.seconds <= 120;
  context.fillStyle = color;
  for (let time = 0; time <= piece.seconds + 1e-6; time += step) {
    const text = inSeconds ? `${time} s` : showTime(time);
    const isLast = x(time) > width - 20;
    context.textAlign = isLast ? "right" : time ? "center" : "left";
    context.fillText(text, isLast ? width - 1 : x(time), height - 7);
  }
}

/** The piece's WAV file, beside the page. */
class FileSound {
  /** @param {string} url @param {number} from in seconds */
  constructor(url, from) {
    this.audio = new Audio(url);
    this.audio.currentTime = from;
    this.isLost = false;
    this.audio.addEventListener("error", () => (this.isLost = true));
    this.audio.play().catch(() => {});
  }

  get time() { return this.audio.currentTime; }
  get isOver() { return this.audio.ended; }
  stop() { this.audio.pause(); }
}

/** The page's own piano; `loaded` is settled when its samples are there, or cannot be. */
const sampled = {
  /** @type {AudioContext | undefined} */
  made: undefined,
  /** @type {ReturnType<typeof createPiano> | undefined} */
  shared: undefined,
  /** @type {Promise<any> | undefined} */
  loading: undefined,

  get context() { return (this.made ??= new AudioContext()); },
  get piano() { return (this.shared ??= createPiano(this.context)); },
  /** @returns {Promise<any>} */
  get loaded() {
    const bytes = () => bytesOf(element("soundfont").textContent).buffer;
    return (this.loading ??= this.piano.use(openSoundfont(bytes())).catch(() => {}));
  },
};

/** The piece on the page's own piano. */
class PianoSound {
  /** @param {Card} card @param {number} from in seconds */
  constructor(card, from) {
    sampled.context.resume();
    this.seconds = card.piece.seconds;
    this.from = from;
    this.notes = card.music.notes.filter((note) => !note.isDrum && note.release > from);
    this.next = 0;
    this.startedAt = Infinity;
    this.isStopped = false;
    this.isLost = false;
    this.timer = 0;
    sampled.loaded.then(() => this.start());
  }

  start() {
    if (this.isStopped) return;
    this.startedAt = sampled.context.currentTime + 0.08 - this.from;
    this.schedule();
    this.timer = setInterval(() => this.schedule(), 200);
  }

  get time() { return Math.max(this.from, sampled.context.currentTime - this.startedAt); }
  get isOver() { return this.time > this.seconds + AFTERGLOW; }

  schedule() {
    for (; this.next < this.notes.length; this.next++) {
      const {start, release, pitch, velocity} = this.notes[this.next];
      const begin = Math.max(start, this.from);
      if (begin > this.time + LOOKAHEAD) break;
      if (release <= this.time) continue;
      const when = this.startedAt + begin;
      sampled.piano.noteOn(this.next, pitch, velocity, when, 0, begin - start);
      sampled.piano.noteOff(this.next, this.startedAt + release);
    }
  }

  stop() {
    this.isStopped = true;
    clearInterval(this.timer);
    sampled.piano.panic();
  }
}

/** Plays one piece at a time. */
const player = {
  /** @type {Card | null} */
  card: null,
  /** @type {FileSound | PianoSound | null} */
  sound: null,

  /** @param {Card} card */
  toggle(card) {
    if (this.card === card) this.pause();
    else this.play(card, card.position >= card.piece.seconds ? 0 : card.position);
  },

  /** @param {Card} card @param {number} seconds */
  seek(card, seconds) {
    const target = clamp(seconds, 0, card.piece.seconds);
    if (this.card === card) this.play(card, target);
    else card.moveTo(target);
  },

  /** @param {Card} card @param {number} from in seconds */
  play(card, from) {
    this.pause();
    this.card = card;
    this.sound = card.piece.wav ? new FileSound(card.piece.wav, from) : new PianoSound(card, from);
    card.showPlaying(true);
    this.follow();
  },

  pause() {
    this.sound?.stop();
    this.card?.showPlaying(false);
    this.card = this.sound = null;
  },

  /** @returns {void} */
  follow() {
    const {card, sound} = this;
    if (!card || !sound) return;
    if (sound.isLost) {
      card.piece.wav = null;
      return this.play(card, card.position);
    }
    if (sound.isOver) {
      this.pause();
      card.moveTo(0);
      return;
    }
    card.moveTo(sound.time);
    requestAnimationFrame(() => this.sound === sound && this.follow());
  },
};

function showPage() {
  /** @type {Entry[]} */
  const pieces = JSON.parse(element("data").textContent);
  const cards = pieces.map((piece) => new Card(piece));
  const list = element("pieces");
  const all = pieces.reduce((sum, piece) => sum + piece.seconds, 0);
  element("summary").textContent =
    `${pieces.length} ${pieces.length === 1 ? "piece" : "pieces"}, ${showTime(all)} in all`;
  element("grey").hidden = !pieces.some((piece) => piece.primer);
  setUpSorting(cards, list);
  const byElement = new Map(cards.map((card) => [card.element, card]));
  const observer = new IntersectionObserver(
    (entries) => entries.forEach((e) => byElement.get(e.target)?.show(e.isIntersecting)),
    {rootMargin: "50%"},
  );
  cards.forEach((card) => observer.observe(card.element));
  const redraw = () => cards.filter((card) => card.isShown).forEach((card) => card.draw());
  new ResizeObserver(redraw).observe(list);
  darkScheme.addEventListener("change", redraw);
  addEventListener("beforeprint", () => cards.forEach((card) => card.draw()));
  addEventListener("afterprint", () => cards.forEach((card) => card.show(card.isShown)));
}

/** @param {Card[]} cards @param {HTMLElement} list */
function setUpSorting(cards, list) {
  /** @type {[string, (piece: Entry) => any][]} */
  const always = [
    ["name", (piece) => piece.name],
    ["length", (piece) => piece.seconds],
    ["number of notes", (piece) => piece.num_notes],
  ];
  const keys = new Map(always);
  for (const {piece} of cards) {
    for (const name of Object.keys(piece.facts)) {
      if (!keys.has(name)) keys.set(name, (other) => other.facts[name]);
    }
  }
  const select = element("sort"), button = element("direction");
  select.append(...[...keys.keys()].map((name) => new Option(name)));
  let sign = 1;
  const sort = () => {
    /** @type {(piece: Entry) => any} */
    const value = keys.get(select.value) ?? (() => undefined);
    // What has no such fact comes last, whichever the direction.
    /** @param {Card} card */
    const rank = ({piece}) => Number(value(piece) === undefined);
    cards.sort((a, b) => rank(a) - rank(b) || sign * compare(value(a.piece), value(b.piece)));
    list.append(...cards.map((card) => card.element));
  };
  select.addEventListener("change", sort);
  button.addEventListener("click", () => {
    sign = -sign;
    button.textContent = sign > 0 ? "↑" : "↓";
    button.setAttribute("aria-label", sign > 0 ? "ascending" : "descending");
    sort();
  });
  sort();
}

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, {numeric: true});
}

showPage();

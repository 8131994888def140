// @ts-check
// The settings: what each knob stands for, and how it is written in the page's address.

/**
 * @typedef {Object} Knob
 * @property {string} name of the setting, and of its parameter in the address.
 * @property {string} label
 * @property {number} low lowest position of the slider.
 * @property {number} high
 * @property {number} step
 * @property {number | null} initial value; null: the network is left alone.
 * @property {[number, number]} [range] of its values, low to high if not given.
 * @property {string[]} ends what low and high mean.
 * @property {string[]} [modes] where it matters; everywhere if not given.
 * @property {(info: any) => boolean} [isIn] whether a network has it; info is null until it is known.
 * @property {boolean} [list] whether its value may be a list, which holds one by one over time.
 * @property {boolean} [fine] whether it is one of the finer settings.
 * @property {(position: number) => number | null} [value] of a position, which it is if not given.
 * @property {(value: any) => number} [position] of a value.
 * @property {(value: any) => string} show
 */

const MOST_VALUES = 16;  // Of a list.

/** @param {number} value */
const percent = (value) => `${Math.round(100 * value)} %`;
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
/** @param {number} pitch */
const pitchName = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

/** @type {Knob[]} */
export const KNOBS = [
  {
    name: "temperature", label: "Temperature", low: 0.5, high: 1.5, step: 0.05, initial: 1,
    ends: ["safe", "wild"], show: (value) => value.toFixed(2),
  },
  {
    name: "loudness", label: "Loudness", low: -1, high: 1, step: 0.05, initial: 0,
    ends: ["soft", "loud"],
    show: (value) => (value ? `${value > 0 ? "+" : ""}${percent(value)}` : "as it likes"),
  },
  {
    // The slider is logarithmic; its lowest position asks for nothing.
    name: "notes_per_second", label: "Density", low: -0.25, high: 5, step: 0.25, initial: null,
    range: [1, 32], ends: ["as it likes", "dense"], list: true,
    isIn: (info) => !info || canAskFor("notes_per_second", info),
    value: (position) => (position < 0 ? null : Math.round(10 * 2 ** position) / 10),
    position: (value) => (value === null ? -0.25 : Math.log2([value].flat()[0])),
    show: (value) => (value === null ? "as it likes" : `${[value].flat().join(", ")} notes/s`),
  },
  {
    name: "guidance", label: "Guidance", low: 1, high: 4, step: 0.25, initial: 1, range: [0, 10],
    ends: ["as trained", "strict"], isIn: (info) => Boolean(info?.hasGuidance),
    show: (value) => (value === 1 ? "as trained" : String(value)),
  },
  {
    name: "pause", label: "Pause before it answers", low: 0.6, high: 2, step: 0.1, initial: 1,
    ends: ["short", "long"], modes: ["response"], show: (value) => `${value.toFixed(1)} s`,
  },
  {
    name: "split", label: "Your part of the keyboard", low: 20, high: 108, step: 1, initial: null,
    range: [21, 108], ends: ["all of it", "the top"], modes: ["duet"],
    value: (position) => (position < 21 ? null : position),
    position: (value) => value ?? 20,
    show: (value) => (value === null ? "shared" : `from ${pitchName(value)} up`),
  },
  {
    name: "top_p", label: "Top-p", low: 0.5, high: 1, step: 0.01, initial: 1, fine: true,
    ends: ["few events", "all"], show: percent,
  },
  {
    name: "min_p", label: "Min-p", low: 0, high: 0.2, step: 0.01, initial: 0, fine: true,
    ends: ["all events", "few"], show: percent,
  },
  {
    name: "pitch_min_p", label: "Min-p of pitches", low: 0, high: 0.2, step: 0.01, initial: 0.05,
    fine: true, ends: ["all pitches", "few"], show: percent,
  },
];

/**
 * Whether a network plays what is asked for: by a control of its own, or because it is made more
 * probable.
 * @param {string} name
 * @param {{controls: string[], biases: string[]}} info
 */
export const canAskFor = (name, {controls, biases}) => [...controls, ...biases].includes(name);

export const MODES = ["alone", "response", "duet", "tap"];

export {NAMES as PITCH_CLASSES};

/** @returns {Object<string, any>} the settings as they are at first. */
export function initialSettings() {
  const settings = Object.fromEntries(KNOBS.map((knob) => [knob.name, knob.initial]));
  return {...settings, pitch_class_histogram: null};
}

/**
 * The parameters of the address, of what differs from the initial settings.
 * @param {{settings: Object<string, any>, mode: string, seed: number | null}} state
 */
export function toQuery({settings, mode, seed}) {
  const query = new URLSearchParams();
  if (mode !== "alone") query.set("mode", mode);
  if (seed !== null) query.set("seed", String(seed));
  for (const {name, initial} of KNOBS) {
    if (settings[name] === initial) continue;
    const values = [settings[name]].flat().map((value) => Number(value.toFixed(3)));
    query.set(name, values.join("-"));
  }
  const histogram = settings.pitch_class_histogram;
  if (histogram) query.set("pitch_class_histogram", histogram.map(Math.round).join(""));
  return query.toString();
}

/**
 * What the parameters of an address say; `wrong` names those that cannot be read.
 * @param {string} text
 */
export function fromQuery(text) {
  const query = new URLSearchParams(text), settings = initialSettings();
  /** @type {string[]} */
  const wrong = [];
  /**
   * @template T
   * @param {string} name
   * @param {(written: string) => T | undefined} convert
   */
  const read = (name, convert) => {
    const written = query.get(name);
    if (written === null) return undefined;
    const value = convert(written);
    if (value === undefined) wrong.push(`${name}=${written}`);
    return value;
  };
  /** @param {number} low @param {number} high @returns {(written: string) => number | undefined} */
  const number = (low, high) => (written) => {
    const value = Number(written);
    return written.trim() && value >= low && value <= high ? value : undefined;
  };
  /** @param {(written: string) => number | undefined} convert @returns {(written: string) => any} */
  const listOf = (convert) => (written) => {
    const values = written.split("-").map(convert);
    if (values.includes(undefined) || values.length > MOST_VALUES) return undefined;
    return values.length === 1 ? values[0] : values;
  };
  for (const {name, range, low, high, list, initial} of KNOBS) {
    const convert = number(...(range ?? [low, high]));
    settings[name] = read(name, list ? listOf(convert) : convert) ?? initial;
  }
  settings.pitch_class_histogram =
    read("pitch_class_histogram", (written) =>
      /^[01]{12}$/.test(written) && written.includes("1") ? [...written].map(Number) : undefined,
    ) ?? null;
  const mode = read("mode", (written) => (MODES.includes(written) ? written : undefined)) ?? "alone";
  const seed = read("seed", (written) =>
    /^\d{1,15}$/.test(written) ? Number(written) : undefined) ?? null;
  return {settings, mode, seed, wrong};
}

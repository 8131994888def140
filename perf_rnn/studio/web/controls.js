// @ts-check
// The knobs and the octave of pitch classes.

import {isBlack, keyPlaces} from "./keyboard.js";
import {KNOBS, PITCH_CLASSES} from "./settings.js";

/** @param {string} id */
const find = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * Makes the sliders.
 * @param {(name: string, value: number | null) => void} onChange
 */
export function createKnobs(onChange) {
  const shown = KNOBS.map((knob) => {
    const element = find("knob").content.firstElementChild.cloneNode(true);
    const [label, output, slider, low, high] = element.children;
    label.textContent = knob.label;
    label.htmlFor = slider.id = knob.name;
    [low.textContent, high.textContent] = knob.ends;
    Object.assign(slider, {min: knob.low, max: knob.high, step: knob.step});
    slider.oninput = () => {
      const position = Number(slider.value);
      onChange(knob.name, knob.value ? knob.value(position) : position);
    };
    find(knob.fine ? "fine" : "knobs").append(element);
    return {knob, element, slider, output, label};
  });
  return {
    /**
     * Shows the settings, and of the knobs those that the network has and that matter in a mode.
     * @param {Object<string, any>} settings
     * @param {string} mode
     * @param {any} info see `Knob.isIn`
     */
    show(settings, mode, info) {
      for (const {knob, element, slider, output} of shown) {
        const value = settings[knob.name];
        slider.value = String(knob.position ? knob.position(value) : value);
        output.textContent = knob.show(value);
        slider.setAttribute("aria-valuetext", output.textContent);
        const isIn = knob.isIn?.(info) ?? true, matters = knob.modes?.includes(mode) ?? true;
        element.hidden = !isIn || !matters;
      }
    },
    /**
     * Moves the knob of a name to a share of its way.
     * @param {string | undefined} name
     * @param {number} share
     */
    turn(name, share) {
      const found = shown.find((each) => each.knob.name === name);
      if (!found) return;
      const {slider, knob} = found;
      slider.value = String(knob.low + share * (knob.high - knob.low));
      slider.oninput();
    },
    /** Shows which MIDI control turns each knob. @param {Map<number, string>} controls */
    showControls(controls) {
      for (const {knob, label} of shown) {
        const numbers = [...controls].filter(([, name]) => name === knob.name).map(([number]) => number);
        label.textContent = [knob.label, ...numbers.map((number) => `· CC ${number}`)].join(" ");
      }
    },
  };
}

/**
 * Makes the keyboard of pitch classes and the choice of scales.
 * @param {(classes: number[] | null) => void} onChange
 */
export function createPitchClasses(onChange) {
  let chosen = Array(12).fill(0);
  const buttons = keyPlaces(60, 71).map(({pitch, left, width}) => {
    const button = document.createElement("button"), place = pitch - 60;
    button.type = "button";
    button.className = isBlack(pitch) ? "black" : "";
    button.textContent = PITCH_CLASSES[place];
    button.style.left = `${100 * left}%`;
    button.style.width = `${100 * width}%`;
    button.onclick = () => {
      const classes = chosen.map((value, i) => (i === place ? 1 - value : value));
      onChange(classes.includes(1) ? classes : null);
    };
    return button;
  });
  find("classes").append(...buttons);
  const root = find("root"), scale = find("scale");
  root.append(...PITCH_CLASSES.map((name, i) => new Option(name, String(i))));
  // The page comes with the scales, as the pitch classes of those on C.
  const scales = [...scale.options].map(({value}) => value).filter((value) => /^[01]{12}$/.test(value));
  /** @param {number} from @param {string} value */
  const scaleOn = (from, value) => [...value].map((_, i) => Number(value[(i - from + 12) % 12]));
  /** @param {number[]} a @param {number[]} b */
  const equals = (a, b) => a.every((value, i) => value === b[i]);
  root.onchange = scale.onchange = () => {
    if (!scale.value) onChange(null);
    else if (scales.includes(scale.value)) onChange(scaleOn(Number(root.value), scale.value));
  };
  return {
    /** @param {number[] | null} classes */
    show(classes) {
      chosen = classes ?? Array(12).fill(0);
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(chosen[i] === 1)));
      if (!classes) return (scale.value = "");
      // The root that is chosen already goes first: several roots can have the same pitch classes.
      const roots = [...Array(12).keys()];
      /** @type {[number, string][]} */
      const places = [
        ...scales.map((value) => /** @type {[number, string]} */ ([Number(root.value), value])),
        ...scales.flatMap((value) => roots.map((from) => /** @type {[number, string]} */ ([from, value]))),
      ];
      const found = places.find(([from, value]) => equals(scaleOn(from, value), classes));
      if (found) [root.value, scale.value] = [String(found[0]), found[1]];
      else scale.value = "own";
    },
  };
}

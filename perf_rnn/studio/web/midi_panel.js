// @ts-check
// The choice of MIDI inputs and outputs, and which control turns which knob.

import {openMidi} from "./midi_ports.js";
import {recall, remember} from "./storage.js";

/** @param {string} id */
const find = (id) => /** @type {any} */ (document.getElementById(id));

/** @param {{id: string, name: string}} port @returns {string[]} */
const valueAndText = ({id, name}) => [id, name];

/**
 * @param {any} session see session.js.
 * @param {any} knobs see controls.js.
 * @param {(pitch: number, velocity: number, timeStamp: number) => void} onKey
 * @param {(line: string) => void} say
 */
export function createMidiPanel(session, knobs, onKey, say) {
  /** The name of the knob that each control change turns. */
  const controls = recall("controls");
  const learn = find("learn");
  let touched = "";  // The knob that was focused last.
  knobs.showControls(controls);
  addEventListener("focusin", ({target}) => {
    if (target instanceof HTMLInputElement && target.type === "range") touched = target.id;
  });
  const isLearning = () => learn.getAttribute("aria-pressed") === "true";
  learn.onclick = () => {
    learn.setAttribute("aria-pressed", String(!isLearning()));
    if (isLearning()) say("Choose a knob on this page, then move the control that shall turn it.");
  };

  /** @param {number} number @param {number} value from 0 to 127 */
  function onControl(number, value) {
    if (isLearning() && touched) {
      controls.set(number, touched);
      remember("controls", controls);
      knobs.showControls(controls);
      learn.setAttribute("aria-pressed", "false");
      say(`Control ${number} turns it now.`);
    }
    if (controls.has(number)) knobs.turn(controls.get(number), value / 127);
  }

  find("connect").onclick = async () => {
    say("Asking the browser for MIDI.");  // Firefox takes its time where no device is.
    try {
      const ports = await openMidi({
        onKey, onControl, onMessage: say, onChange: showPorts,
        onPedal: (down, timeStamp) => session.pedal(down, timeStamp),
      });
      session.addMidi(ports.sink);
      find("input").onchange = () => ports.listen(find("input").value || null);
      find("output").onchange = () => ports.send(find("output").value || null);
      find("audible").onchange = () => session.setAudible(find("audible").checked);
      ports.listen("all");
      showPorts(ports);
      find("connect").hidden = true;
      find("connected").hidden = false;
      say("MIDI is connected.");
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
  };
  /** @param {any} ports see midi_ports.js. */
  function showPorts({inputs, outputs}) {
    fill(find("input"), [["all", "all"], ...inputs.map(valueAndText), ["", "none"]]);
    fill(find("output"), [["", "none"], ...outputs.map(valueAndText)]);
  }
  /** @param {HTMLSelectElement} select @param {string[][]} options value and text */
  function fill(select, options) {
    const before = select.value;
    select.replaceChildren(...options.map(([id, name]) => new Option(name, id)));
    if (options.some(([id]) => id === before)) select.value = before;
  }
}

// @ts-check
// My settings: kept under names, each as the parameters of an address.

import {recall, remember} from "./storage.js";

/** @param {string} id */
const find = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * @param {() => string} query of the present settings.
 * @param {(query: string) => void} onChoose
 * @param {(line: string) => void} say
 */
export function createMySettings(query, onChoose, say) {
  const mine = recall("my-settings");
  const name = find("settings-name");

  function keep() {
    if (!remember("my-settings", mine)) {
      say("This browser keeps nothing for this page: settings last until it is closed.");
    }
    show();
  }
  /** @param {string} text @param {string} label @param {() => void} onClick */
  function button(text, label, onClick) {
    const made = Object.assign(document.createElement("button"), {type: "button", textContent: text});
    made.setAttribute("aria-label", label);
    made.onclick = onClick;
    return made;
  }
  function show() {
    find("my-settings").replaceChildren(...[...mine].map(([title, value]) => {
      const item = document.createElement("li");
      item.append(
        button(title, `Use ${title}`, () => onChoose(value)),
        button("×", `Delete ${title}`, () => { mine.delete(title); keep(); }),
      );
      return item;
    }));
  }
  function save() {
    const title = name.value.trim();
    if (!title) return say("Give the settings a name.");
    mine.set(title, query());
    name.value = "";
    keep();
    say(`Saved as ${title}.`);
  }
  find("save-settings").onclick = save;
  name.onkeydown = (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && save();
  show();
}

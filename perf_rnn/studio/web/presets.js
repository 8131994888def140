// @ts-check
// Presets: settings of one's own under names, each kept as the parameters of an address.

import {recall, remember} from "./storage.js";

const find = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * @param {() => string} query of the present settings.
 * @param {(query: string) => void} onChoose
 * @param {(line: string) => void} say
 */
export function createPresets(query, onChoose, say) {
  const presets = recall("presets");
  const name = find("preset-name");

  function keep() {
    if (!remember("presets", presets)) {
      say("This browser keeps nothing for this page: presets last until it is closed.");
    }
    show();
  }
  function button(text, label, onClick) {
    const made = Object.assign(document.createElement("button"), {type: "button", textContent: text});
    made.setAttribute("aria-label", label);
    made.onclick = onClick;
    return made;
  }
  function show() {
    find("presets").replaceChildren(...[...presets].map(([title, value]) => {
      const item = document.createElement("li");
      item.append(
        button(title, `Use ${title}`, () => onChoose(value)),
        button("×", `Delete ${title}`, () => { presets.delete(title); keep(); }),
      );
      return item;
    }));
  }
  function save() {
    const title = name.value.trim();
    if (!title) return say("Give the preset a name.");
    presets.set(title, query());
    name.value = "";
    keep();
    say(`Saved as ${title}.`);
  }
  find("save-preset").onclick = save;
  name.onkeydown = (event) => event.key === "Enter" && save();
  show();
}

// @ts-check
// The choice of moods: each stands for a density and pitch classes. The page comes with them, as the
// parameters of an address.

import {fromQuery, initialSettings, toQuery} from "./settings.js";

/**
 * @param {(settings: Object<string, any>) => void} onChoose told the settings that it stands for.
 */
export function createMoods(onChoose) {
  const choice = /** @type {HTMLSelectElement} */ (document.getElementById("mood"));
  /** @param {any} settings */
  const ofMood = ({notes_per_second, pitch_class_histogram}) => ({notes_per_second, pitch_class_histogram});
  choice.onchange = () => onChoose(ofMood(fromQuery(choice.value).settings));
  return {
    /** Shows which mood the settings are, if any. @param {Object<string, any>} settings */
    show(settings) {
      const query = toQuery({settings: {...initialSettings(), ...ofMood(settings)}, mode: "alone", seed: null});
      const isThere = [...choice.options].some(({value}) => value === query);
      choice.value = isThere ? query : "own";
    },
  };
}

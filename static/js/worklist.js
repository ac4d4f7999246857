/* Ticks in the worklist: all at once, a range with the shift key, and how many there are. Without a script the ticks work too. */

import { language } from "./words.js";

const picks = [...document.querySelectorAll("input[name=pick]")];
const all = document.querySelector("#select-all input");
const count = document.getElementById("selection-count");
const buttons = [...document.querySelectorAll("#selection button")];
let last = null;

function apply() {
  const selected = picks.filter((pick) => pick.checked).length;
  all.checked = selected === picks.length;
  all.indeterminate = selected > 0 && selected < picks.length;
  count.querySelector("output").textContent = new Intl.NumberFormat(language).format(selected);
  for (const button of buttons) {
    button.disabled = selected < (button.dataset.least ?? 1) || selected > (button.dataset.most ?? Infinity);
  }
}

function pick(event) {
  const here = picks.indexOf(event.target);
  if (event.shiftKey && last !== null) {
    for (const between of picks.slice(Math.min(here, last), Math.max(here, last) + 1)) between.checked = event.target.checked;
  }
  last = here;
  apply();
}

if (picks.length > 0) {
  for (const box of picks) box.addEventListener("click", pick);
  all.addEventListener("change", () => {
    for (const box of picks) box.checked = all.checked;
    apply();
  });
  // Browsers may restore the ticks after the module has run.
  window.addEventListener("pageshow", apply);
  apply();
  document.getElementById("select-all").hidden = false;
  count.hidden = false;
}

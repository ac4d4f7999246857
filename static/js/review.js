/* The page where people read: the viewer, and one key for each control that names one in `data-key`. In the note, keys
   write text, and Escape leaves it. */

import { keepDraft } from "./draft.js";
import { pressed } from "./keys.js";

const GLANCE = 400; // ms that a picture must have been seen: what comes sooner was meant for the one before

const form = document.getElementById("review");
const stage = document.getElementById("stage");
const readings = form.querySelectorAll("[name=reading]");
const controls = new Map();
for (const control of form.querySelectorAll("[data-key]")) controls.set(control.dataset.key, control);

// Capturing, so that a key that stands on a button means that one also where the viewer has it for something else.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
    if (event.target.matches("textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const control = controls.get(pressed(event).toLowerCase());
    if (control) {
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat) return;
      if (control.matches("textarea")) control.focus();
      else control.click();
    } else if (event.key.length === 1 && !stage.parentElement.contains(event.target)) {
      // The viewer's own keys mean it from anywhere. Arrows scroll the page while the focus is not in the viewer.
      if (!stage.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
    }
  },
  { capture: true },
);

// A second press while the answer is on its way would record a second reading.
form.addEventListener("submit", (event) => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  delete form.dataset.sent;
});
keepDraft(form, form.querySelector("[role=status]"));

// And one that comes before the next picture is there would record a reading of what nobody has seen. It may be there
// although the viewer is not.
const xray = document.getElementById("xray");
for (const button of readings) button.disabled = true;
import("./viewer/page.js").catch(() => xray.decode()).then(
  () =>
    setTimeout(() => {
      for (const button of readings) button.disabled = false;
    }, GLANCE),
  () => {},
);

/* One key for each control that names one in `data-key`; in the note, keys write text, and Escape leaves it. */

import { pressed } from "./keys.js";

const controls = new Map();
for (const control of document.querySelectorAll("[data-key]")) controls.set(control.dataset.key, control);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("textarea, input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const control = controls.get(pressed(event).toLowerCase());
  if (!control) return;
  event.preventDefault();
  if (control.matches("textarea")) control.focus();
  else control.click();
});

for (const button of document.querySelectorAll("[data-toggles]")) {
  const toggled = document.getElementById(button.dataset.toggles);
  button.addEventListener("click", () => {
    toggled.hidden = !toggled.hidden;
  });
}

// A second press while the answer is on its way would record a second reading.
document.getElementById("review").addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  delete document.getElementById("review").dataset.sent;
});

/* Keys, while the focus is inside the viewer: letters pressed elsewhere are not meant for it. */

import { pressed } from "../keys.js";

const COMMANDS = {
  "+": "zoom-in",
  "=": "zoom-in",
  "-": "zoom-out",
  0: "reset",
  1: "actual",
  r: "turn-right",
  R: "turn-left",
  f: "flip",
  i: "invert",
  w: "grey",
  m: "magnifier",
  s: "beside",
  h: "heatmap",
  "?": "keys",
  "؟": "keys", // the Arabic one
};
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STEP = 48; // CSS pixels

/* on: {command(name), pan(dx, dy), grey(dx, dy)}. */
export function takeKeys(viewer, on) {
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
    const arrow = ARROWS[event.key];
    const key = pressed(event);
    // Shift counts, and not the capital, which Caps Lock makes as well.
    const command = COMMANDS[event.shiftKey ? key.toUpperCase() : key.toLowerCase()];
    if (arrow) {
      if (event.target.matches("input")) return; // a slider's own
      const [x, y] = arrow.map((part) => part * STEP);
      if (event.shiftKey) on.grey(-x, -y);
      else on.pan(x, y);
    } else if (command) on.command(command);
    else return;
    event.preventDefault();
  });
}

/* Keys, while the focus is inside the viewer: letters pressed elsewhere are not meant for it. */

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
};
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STEP = 48; // CSS pixels

/* on: {command(name), pan(dx, dy), grey(dx, dy)}. */
export function takeKeys(viewer, on) {
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      if (event.target.matches("input")) return; // a slider's own
      const [x, y] = arrow.map((part) => part * STEP);
      if (event.shiftKey) on.grey(-x, -y);
      else on.pan(x, y);
    } else if (COMMANDS[event.key]) on.command(COMMANDS[event.key]);
    else return;
    event.preventDefault();
  });
}

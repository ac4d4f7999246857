/* The viewer of the result page: canvases over the two pictures, which stay for layout and screen readers, and show as
   they are until this module has run. */

import { takeGestures } from "./gestures.js";
import { GreyWindow } from "./grey.js";
import { takeKeys } from "./keys.js";
import { Pane } from "./pane.js";
import { pyramid } from "./pyramid.js";
import { View } from "./view.js";
import { wholePercent } from "../words.js";

const viewer = document.getElementById("viewer");
const stage = document.getElementById("stage");
const image = document.getElementById("xray");
const shown = document.getElementById("heatmap-shown");
const opacity = document.getElementById("heatmap-opacity");
const opacityValue = document.getElementById("heatmap-opacity-value");
const brightness = document.getElementById("brightness");
const contrast = document.getElementById("contrast");
const status = document.getElementById("viewer-status");
const oriented = document.getElementById("viewer-oriented");
const keys = document.getElementById("viewer-keys");
const buttons = new Map([...viewer.querySelectorAll("[data-command]")].map((button) => [button.dataset.command, button]));

const pick = await pyramid(image).catch((error) => {
  viewer.querySelector(".viewer__soon").remove(); // nobody is to read a thumbnail for the X-ray
  document.getElementById("xray-missing").hidden = false;
  throw error;
});
const heatmap = await loaded(document.getElementById("heatmap"));

const size = { width: image.naturalWidth, height: image.naturalHeight };
const view = new View(size.width, size.height);
const grey = new GreyWindow(viewer);
const main = new Pane(stage, pick, size, heatmap);
const plain = heatmap && new Pane(stage, pick, size, null);
const panes = [main, plain].filter(Boolean);
const on = { grey: false, magnifier: false, beside: false };
let point = null;
let scheduled = false;
let sayLater = null;
const KEPT = "heatmap"; // how it is shown, from picture to picture in this tab

/* The heatmap; null for a picture that was not analysed, and where it did not come: the X-ray can be read without it. */
async function loaded(image) {
  try {
    await image?.decode();
    return image;
  } catch {
    document.getElementById("heatmap-missing").hidden = false;
    for (const element of viewer.querySelectorAll("#heatmap, [data-of-heatmap], [data-command=beside]")) element.remove();
    return null;
  }
}

/* At most once a frame, however many events there were. */
function draw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const lens = on.magnifier ? (point ?? { x: view.width / 2, y: view.height / 2 }) : null;
    for (const pane of panes) if (!pane.element.hidden) pane.draw(view, lens);
    viewer.classList.toggle("viewer--whole", view.isWhole);
    orient();
    say();
  });
}

/* Said at once and on the picture itself: whoever does not know that it is flipped takes right for left. */
function orient() {
  press("flip", view.isFlipped);
  const turned = Math.round(view.turnedBy);
  const words = [
    view.isFlipped && oriented.dataset.textFlipped,
    turned && oriented.dataset.textTurned.replace("{degrees}", turned),
  ];
  const said = words.filter(Boolean).join(" · ");
  if (oriented.textContent !== said) oriented.textContent = said;
}

function say() {
  clearTimeout(sayLater);
  sayLater = setTimeout(() => {
    const zoom = wholePercent(view.scale * devicePixelRatio);
    status.textContent = status.dataset.textZoom.replace("{zoom}", zoom);
  }, 200);
}

function applyGrey() {
  const filter = grey.apply();
  for (const { xray } of panes.flatMap((pane) => pane.canvases)) xray.style.filter = filter;
  brightness.value = grey.brightness;
  contrast.value = grey.contrast;
  press("invert", grey.inverted);
}

function recallHeatmap() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    shown.checked = kept.shown;
    opacity.value = kept.opacity;
  } catch {
    // nothing kept, nowhere to keep it, or no heatmap
  }
}

function keepHeatmap() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ shown: shown.checked, opacity: opacity.value }));
  } catch {
    // it is shown as the page has it
  }
}

function applyHeatmap() {
  if (!heatmap) return;
  keepHeatmap();
  const share = Number(opacity.value) / 100;
  for (const { overlay } of main.canvases) {
    overlay.style.opacity = share;
    overlay.hidden = !shown.checked;
  }
  opacity.disabled = !shown.checked;
  opacityValue.textContent = wholePercent(share);
  opacity.setAttribute("aria-valuetext", opacityValue.textContent);
}

const press = (command, pressed) => buttons.get(command)?.setAttribute("aria-pressed", pressed);

function toggle(name) {
  on[name] = !on[name];
  press(name, on[name]);
  viewer.classList.toggle(`viewer--${name}`, on[name]);
}

function moveGrey(dx, dy) {
  grey.change(-dy / 3, dx / 3);
  applyGrey();
}

const COMMANDS = {
  "zoom-in": () => view.zoomAt(1.25),
  "zoom-out": () => view.zoomAt(0.8),
  actual: () => view.actualPixels(devicePixelRatio),
  "turn-left": () => view.turnLeft(),
  "turn-right": () => view.turnRight(),
  flip: () => view.flip(),
  grey: () => toggle("grey"),
  magnifier: () => toggle("magnifier"),
  invert() {
    grey.inverted = !grey.inverted;
    applyGrey();
  },
  reset() {
    view.reset();
    grey.reset();
    applyGrey();
  },
  beside() {
    if (!plain) return;
    toggle("beside");
    plain.element.hidden = !on.beside;
  },
  heatmap() {
    if (!heatmap) return;
    shown.checked = !shown.checked;
    applyHeatmap();
  },
  keys: () => keys.showModal(),
};

function command(name) {
  COMMANDS[name]();
  draw();
}

function pan(dx, dy) {
  view.pan(dx, dy);
  draw();
}

for (const pane of panes) {
  takeGestures(
    pane.element,
    {
      pan,
      zoom(factor, x, y) {
        view.zoomAt(factor, x, y);
        draw();
      },
      grey: moveGrey,
      point(x, y, byFinger) {
        point = { x, y, byFinger };
        if (on.magnifier) draw();
      },
    },
    { grey: () => on.grey, whole: () => view.isWhole },
  );
}
takeKeys(viewer, { command, pan, grey: moveGrey });
for (const [name, button] of buttons) button.addEventListener("click", () => command(name));
for (const slider of [brightness, contrast]) {
  slider.addEventListener("input", () => {
    grey[slider.id] = Number(slider.value);
    applyGrey();
  });
}
shown?.addEventListener("change", applyHeatmap);
opacity?.addEventListener("input", applyHeatmap);
// Browsers may restore the controls after the module has run.
window.addEventListener("pageshow", applyHeatmap);

if (plain) plain.element.hidden = true;
new ResizeObserver(([{ contentRect }]) => {
  view.resize(contentRect.width, contentRect.height);
  draw();
}).observe(main.element);
applyGrey();
recallHeatmap();
applyHeatmap();
stage.tabIndex = 0;
stage.setAttribute("role", "group");
stage.setAttribute("aria-label", stage.dataset.textStage);
viewer.classList.add("viewer--live");
for (const element of viewer.querySelectorAll("[data-with-js]")) element.hidden = false;

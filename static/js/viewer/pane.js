/* A pane shows the X-ray, with or without the heatmap, and the magnifier over it. */

import { Layers } from "./layers.js";

const LARGER = 2.5;

function element(className, parent) {
  const made = document.createElement("div");
  made.className = className;
  parent.append(made);
  return made;
}

export class Pane {
  constructor(stage, pick, size, heatmap) {
    this.element = element("viewer__pane", stage);
    this.layers = new Layers(this.element, pick, size, heatmap);
    this.lens = element("viewer__lens", this.element);
    this.lens.hidden = true;
    this.lensLayers = new Layers(this.lens, pick, size, heatmap);
  }

  get canvases() {
    return [this.layers, this.lensLayers];
  }

  /* point: where the magnifier looks and whether a finger hides that place; null without it. */
  draw(view, point) {
    this.layers.draw(view.matrix, view.width, view.height);
    this.lens.hidden = point === null;
    if (point === null) return;
    const { clientWidth: width, clientHeight: height } = this.lens;
    this.lens.style.left = `${point.x - width / 2}px`;
    this.lens.style.top = `${point.y - (point.byFinger ? 1.2 : 0.5) * height}px`;
    const [a, b, c, d, e, f] = view.matrix;
    const moved = [width / 2 + (e - point.x) * LARGER, height / 2 + (f - point.y) * LARGER];
    this.lensLayers.draw([...[a, b, c, d].map((part) => part * LARGER), ...moved], width, height);
  }
}

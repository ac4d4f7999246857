/* X-ray and heatmap, one canvas over the other, drawn by one matrix, so that they cannot part. The grey window and the
   heatmap's opacity are left to CSS, which changes them without drawing anew. */

const DENSEST = 2; // canvas pixels for a CSS pixel: more is not seen and costs

export class Layers {
  /* place: the element to fill. pick: see pyramid.js. heatmap: an image, or null. */
  constructor(place, pick, size, heatmap) {
    Object.assign(this, { place, pick, size, heatmap });
    this.xray = this.#canvas("viewer__canvas viewer__canvas--xray");
    this.overlay = heatmap && this.#canvas("viewer__canvas viewer__canvas--heatmap");
  }

  #canvas(className) {
    const canvas = document.createElement("canvas");
    canvas.className = className;
    this.place.append(canvas);
    return canvas;
  }

  draw(matrix, width, height) {
    const ratio = Math.min(devicePixelRatio, DENSEST);
    const shown = matrix.map((part) => part * ratio);
    const scale = Math.hypot(shown[0], shown[1]);
    this.#put(this.xray, this.pick(scale), shown, width * ratio, height * ratio);
    if (this.overlay) this.#put(this.overlay, this.heatmap, shown, width * ratio, height * ratio);
  }

  #put(canvas, source, matrix, width, height) {
    const [wide, high] = [Math.max(1, Math.round(width)), Math.max(1, Math.round(height))];
    if (canvas.width !== wide) canvas.width = wide;
    if (canvas.height !== high) canvas.height = high;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    context.setTransform(...matrix);
    context.drawImage(source, 0, 0, this.size.width, this.size.height);
  }
}

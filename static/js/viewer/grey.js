/* The grey window: which greys of the X-ray are spread from black to white. CSS's own brightness() and contrast() would
   cut off at white in between; one linear step in an SVG filter does not. */

const SVG = "http://www.w3.org/2000/svg";
const ID = "xray-window";

export class GreyWindow {
  #parts;

  /* place: where the filter may stand. */
  constructor(place) {
    const svg = document.createElementNS(SVG, "svg");
    const filter = document.createElementNS(SVG, "filter");
    const transfer = document.createElementNS(SVG, "feComponentTransfer");
    this.#parts = ["R", "G", "B"].map((channel) => document.createElementNS(SVG, `feFunc${channel}`));
    this.#parts.forEach((part) => part.setAttribute("type", "linear"));
    for (const [name, value] of Object.entries({ width: 0, height: 0, "aria-hidden": true })) svg.setAttribute(name, value);
    svg.classList.add("viewer__filter");
    filter.id = ID;
    filter.setAttribute("color-interpolation-filters", "sRGB");
    transfer.append(...this.#parts);
    filter.append(transfer);
    svg.append(filter);
    place.append(svg);
    this.reset();
  }

  reset() {
    this.brightness = this.contrast = 0; // both -100 to 100
    this.inverted = false;
  }

  change(brightness, contrast) {
    const bounded = (value) => Math.min(Math.max(value, -100), 100);
    this.brightness = bounded(this.brightness + brightness);
    this.contrast = bounded(this.contrast + contrast);
  }

  /* Sets the filter, and returns what `style.filter` must be. */
  apply() {
    const middle = 0.5 - this.brightness / 200;
    const slope = 8 ** (this.contrast / 100);
    const intercept = 0.5 - middle * slope;
    for (const part of this.#parts) {
      part.setAttribute("slope", this.inverted ? -slope : slope);
      part.setAttribute("intercept", this.inverted ? 1 - intercept : intercept);
    }
    const unchanged = this.brightness === 0 && this.contrast === 0 && !this.inverted;
    return unchanged ? "none" : `url(#${ID})`;
  }
}

/* Where the picture lies in its pane: zoom, place, turns and flips as one matrix. Pure arithmetic; lengths are CSS pixels. */

const MOST = 8; // times fitted size or actual pixels, whichever is larger

export class View {
  width = 1;
  height = 1;

  constructor(imageWidth, imageHeight) {
    Object.assign(this, { imageWidth, imageHeight });
    this.reset();
  }

  reset() {
    this.turn = [1, 0, 0, 1]; // x' = a x + c y, y' = b x + d y
    this.zoom = 1; // 1: the whole picture, as large as the pane allows; less for actual pixels of a small picture alone
    this.x = this.y = 0; // of the picture's middle, from the pane's middle
  }

  resize(width, height) {
    Object.assign(this, { width, height });
    this.#keepInside();
  }

  get #turned() {
    return this.turn[0] === 0 ? [this.imageHeight, this.imageWidth] : [this.imageWidth, this.imageHeight];
  }

  get #fitted() {
    const [width, height] = this.#turned;
    return Math.min(this.width / width, this.height / height);
  }

  /* CSS pixels for each pixel of the picture. */
  get scale() {
    return this.#fitted * this.zoom;
  }

  get isWhole() {
    return this.zoom <= 1;
  }

  /* Whether right and left are exchanged. */
  get isFlipped() {
    const [a, b, c, d] = this.turn;
    return a * d - b * c < 0;
  }

  /* Degrees clockwise, of the picture or, where it is flipped, of its mirror image. */
  get turnedBy() {
    const [, , c, d] = this.turn;
    return (360 + (Math.atan2(-c, d) * 180) / Math.PI) % 360;
  }

  /* What lies under the point stays under it. */
  zoomAt(factor, pointX = this.width / 2, pointY = this.height / 2) {
    this.#zoomTo(Math.max(this.zoom * factor, Math.min(1, this.zoom)), pointX, pointY);
  }

  #zoomTo(wanted, pointX, pointY) {
    const zoom = Math.min(wanted, Math.max(MOST, MOST / this.#fitted));
    const change = zoom / this.zoom;
    const [fromX, fromY] = [pointX - this.width / 2, pointY - this.height / 2];
    this.x = fromX - (fromX - this.x) * change;
    this.y = fromY - (fromY - this.y) * change;
    this.zoom = zoom;
    this.#keepInside();
  }

  actualPixels(pixelRatio) {
    this.#zoomTo(1 / (this.#fitted * pixelRatio), this.width / 2, this.height / 2);
  }

  pan(byX, byY) {
    this.x += byX;
    this.y += byY;
    this.#keepInside();
  }

  /* As one sees it, whatever was turned before. */
  flip() {
    const [a, b, c, d] = this.turn;
    this.turn = [-a, b, -c, d];
    this.x = -this.x;
  }

  turnRight() {
    const [a, b, c, d] = this.turn;
    const scale = this.scale;
    this.turn = [-b, a, -d, c];
    [this.x, this.y] = [-this.y, this.x];
    // A picture seen whole stays whole; otherwise what is seen keeps its size.
    if (this.zoom !== 1) this.zoom = Math.max(this.zoom < 1 ? 0 : 1, scale / this.#fitted);
    this.#keepInside();
  }

  turnLeft() {
    for (let times = 0; times < 3; times++) this.turnRight();
  }

  #keepInside() {
    const scale = this.scale;
    const [width, height] = this.#turned;
    const roomX = Math.max(0, (width * scale - this.width) / 2);
    const roomY = Math.max(0, (height * scale - this.height) / 2);
    this.x = Math.min(Math.max(this.x, -roomX), roomX);
    this.y = Math.min(Math.max(this.y, -roomY), roomY);
  }

  /* From the picture's pixels to the pane, as setTransform takes it. */
  get matrix() {
    const scale = this.scale;
    const [a, b, c, d] = this.turn.map((part) => part * scale);
    const [middleX, middleY] = [this.imageWidth / 2, this.imageHeight / 2];
    return [
      a,
      b,
      c,
      d,
      this.width / 2 + this.x - a * middleX - c * middleY,
      this.height / 2 + this.y - b * middleX - d * middleY,
    ];
  }
}

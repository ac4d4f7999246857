/* The X-ray at full, half, quarter … size: drawing twelve megapixels into a small pane costs what the pane costs. */

const SMALLEST = 1000;

function half(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

/* Returns pick(scale): the smallest level that has a pixel for each that is shown. */
export async function pyramid(image) {
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const levels = [{ source: await createImageBitmap(image), factor: 1 }];
  for (let factor = 0.5; Math.max(width, height) * factor >= SMALLEST / 2; factor /= 2) {
    const above = levels[levels.length - 1].source;
    levels.push({ source: half(above, Math.ceil(width * factor), Math.ceil(height * factor)), factor });
  }
  levels.reverse();
  return (scale) => (levels.find(({ factor }) => factor >= scale) ?? levels[levels.length - 1]).source;
}

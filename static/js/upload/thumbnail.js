/* Small pictures of the chosen files. One is decoded at a time, and only its small copy is kept: two hundred
   X-rays at full size would not fit into memory. */

const SIZE = 144; // twice what is shown, for dense screens

let last = Promise.resolve();

/* Puts the picture into `place` when its turn comes; what the browser cannot draw (a TIFF) leaves it as it is. */
export function drawThumbnail(file, place) {
  last = last.then(() => place.isConnected && draw(file, place)).catch(() => {});
}

async function draw(file, place) {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const scale = SIZE / Math.max(image.naturalWidth, image.naturalHeight);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    place.replaceChildren(canvas);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/* Dropping files anywhere on the page, and pasting them. */

import { droppedFiles } from "./files.js";

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

/* dropped: called with [{file, name}]. */
export function takeDrops(dropped) {
  // dragenter and dragleave come for every element passed, so they are counted.
  let depth = 0;

  function dragging(change) {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("is-dropping", depth > 0);
  }

  document.addEventListener("dragenter", (event) => hasFiles(event) && dragging(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && dragging(-1));
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    dragging(0);
    dropped(await droppedFiles(event.dataTransfer));
  });
  document.addEventListener("paste", async ({ clipboardData }) => {
    if (clipboardData.files.length) dropped(await droppedFiles(clipboardData));
  });
}

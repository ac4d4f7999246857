/* The arrow keys lead along the list, the way that the arrows on the links point. In the viewer and in fields they have
   another meaning. No letters: those pressed outside the viewer are not meant for the page. */

const previous = document.querySelector(".way__previous");
const next = document.querySelector(".way__next");
const keys = document.documentElement.dir === "rtl" ? ["ArrowRight", "ArrowLeft"] : ["ArrowLeft", "ArrowRight"];
const links = new Map([previous, next].map((link, index) => [keys[index], link]).filter(([, link]) => link?.href));

for (const [key, link] of links) link.setAttribute("aria-keyshortcuts", key);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat) return;
  if (event.target.closest("#viewer, input, select, textarea")) return;
  links.get(event.key)?.click();
});

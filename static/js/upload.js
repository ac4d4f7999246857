/* Adds to the upload form: dropping files anywhere on the page, previews, removing a file before sending.
   The input always holds what is shown, so the browser posts the form as it would without this module. */

// What browsers can draw; a TIFF gets a tile instead.
const PREVIEWABLE = new Set(["image/jpeg", "image/png", "image/webp", "image/bmp"]);

const form = document.getElementById("upload-form");
const input = document.getElementById("id_file");
const zone = form.querySelector(".drop");
const section = document.getElementById("chosen");
const list = document.getElementById("chosen-list");
const template = document.getElementById("chosen-file");
const status = document.getElementById("upload-status");
const button = form.querySelector("button[type=submit]");
const buttonText = button.textContent;
const text = form.dataset;
const maxBytes = Number(text.maxMegabytes) * 1_000_000;
const language = document.documentElement.lang;

let chosen = [];
let previews = [];

const identity = (file) => [file.name, file.size, file.lastModified].join("/");

/* Into a text with a {place}, without regarding `$` in a file name. */
const fill = (sentence, place, value) => sentence.split(`{${place}}`).join(value);

function readableSize(bytes) {
  const [value, unit] = bytes >= 1e6 ? [bytes / 1e6, "megabyte"] : [Math.max(bytes / 1e3, 1), "kilobyte"];
  return new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

function extension(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1, dot + 6).toUpperCase() : "";
}

function preview(file, place) {
  if (!PREVIEWABLE.has(file.type)) return;
  const url = URL.createObjectURL(file);
  previews.push(url);
  const image = new Image(72, 72);
  image.alt = "";
  // The tile stays until there is a picture, and for good if the file is none.
  image.addEventListener("load", () => place.replaceChildren(image));
  image.src = url;
}

function row(file, index) {
  const item = template.content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.chosen__${name}`);
  part("name").textContent = file.name;
  part("size").textContent = readableSize(file.size);
  part("type").textContent = extension(file.name);
  if (file.size > maxBytes) {
    item.classList.add("chosen__file--refused");
    part("hint").textContent = text.textTooLarge;
    part("hint").hidden = false;
  }
  part("remove").setAttribute("aria-label", fill(text.textRemove, "name", file.name));
  part("remove").addEventListener("click", () => remove(index));
  preview(file, part("preview"));
  return item;
}

function show(said) {
  previews.forEach((url) => URL.revokeObjectURL(url));
  previews = [];
  list.replaceChildren(...chosen.map(row));
  section.hidden = chosen.length === 0;
  zone.classList.toggle("drop--chosen", chosen.length > 0);
  const count = chosen.length === 1 ? text.textChosenOne : fill(text.textChosenMany, "count", chosen.length);
  status.textContent = [said, count].filter(Boolean).join(" ");
}

function fillInput() {
  const transfer = new DataTransfer();
  chosen.forEach((file) => transfer.items.add(file));
  input.files = transfer.files;
}

function add(files) {
  const known = new Set(chosen.map(identity));
  chosen = chosen.concat([...files].filter((file) => !known.has(identity(file))));
  fillInput();
  show();
}

function remove(index) {
  const [gone] = chosen.splice(index, 1);
  fillInput();
  show(fill(text.textRemoved, "name", gone.name));
  // The button that had the focus is gone: go on with its neighbour.
  const buttons = list.querySelectorAll(".chosen__remove");
  (buttons[Math.min(index, buttons.length - 1)] ?? input).focus();
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

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
  event.dataTransfer.dropEffect = button.disabled ? "none" : "copy";
});
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  dragging(0);
  if (!button.disabled) add(event.dataTransfer.files);
});

input.addEventListener("change", () => {
  // Closing the dialogue without a choice empties the input in some browsers; keep what was chosen.
  add(input.files);
});

form.addEventListener("submit", () => {
  button.disabled = true;
  button.textContent = text.textSending;
  form.setAttribute("aria-busy", "true");
  status.textContent = text.textSendingStatus;
});

// Coming back with the browser's "back" may show the page as it was left: sending.
window.addEventListener("pageshow", () => {
  button.disabled = false;
  button.textContent = buttonText;
  form.removeAttribute("aria-busy");
  if (input.files.length) add(input.files);
  else status.textContent = "";
});

zone.classList.add("drop--enhanced");
zone.querySelector("[data-without-js]").hidden = true;
zone.querySelector("[data-with-js]").hidden = false;

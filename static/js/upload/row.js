/* One file's row: what it is, how far it is, what came out, and what can be done about it. */

import { extension } from "./files.js";
import { drawThumbnail } from "./thumbnail.js";
import { fill, percent, readableSize } from "./words.js";

const template = document.getElementById("picked-file");
const answers = document.getElementById("answers").content;

/* Which buttons a state offers. */
const OFFERED = {
  chosen: ["remove"],
  waiting: ["cancel"],
  sending: ["cancel"],
  analysing: ["cancel"],
  done: ["open"],
  rejected: ["force", "remove"],
  failed: ["again", "remove"],
  cancelled: ["again", "remove"],
};

/* Makes the row of `item`, adds `item.draw()`, and returns its element. on: {remove, cancel, again, force}, called with
   the item. */
export function makeRow(item, text, on) {
  const element = template.content.firstElementChild.cloneNode(true);
  const part = (name) => element.querySelector(`.picked__${name}`);
  const bar = part("progress");
  part("name").textContent = item.name;
  part("size").textContent = readableSize(item.file.size);
  part("type").textContent = extension(item.file.name).slice(0, 5).toUpperCase();
  part("hint").textContent = item.hint;
  part("hint").hidden = !item.hint;
  bar.setAttribute("aria-label", fill(text.textProgressOf, { name: item.name }));
  for (const button of element.querySelectorAll("[data-does]")) {
    const does = button.dataset.does;
    // "Try again" two hundred times over tells nobody which.
    const words = button.textContent.trim() || text.textRemove;
    button.setAttribute("aria-label", `${words}: ${item.name}`);
    if (on[does]) button.addEventListener("click", () => on[does](item));
  }
  drawThumbnail(item.file, part("preview"));

  let drawn = null;
  item.draw = () => {
    const { state, share } = item;
    if (state === "sending") bar.value = share;
    if (state === drawn) return;
    drawn = state;
    element.dataset.state = state;
    bar.hidden = !(state === "sending" || state === "analysing");
    if (state === "analysing") bar.removeAttribute("value");
    part("hint").hidden = !item.hint || state !== "chosen";
    part("said").replaceChildren(...said(item, text));
    if (state === "done") part("open").href = item.outcome.answer.url;
    offer(element, OFFERED[state]);
  };
  item.draw();
  return element;
}

function offer(element, offered) {
  const active = document.activeElement; // asked now, for what is hidden loses the focus
  for (const control of element.querySelectorAll("[data-does]")) control.hidden = !offered.includes(control.dataset.does);
  // Whoever pressed a button that is gone now goes on with the next of the same row.
  if (element.contains(active) && active.hidden) element.querySelector("[data-does]:not([hidden])")?.focus();
}

function said(item, text) {
  const { state, outcome } = item;
  if (state === "done") return answer(outcome.answer, text);
  if (state === "rejected") return [answers.querySelector("[data-answer=rejected]").cloneNode(true), text.textRejected];
  if (state === "failed") return [answers.querySelector("[data-answer=failed]").cloneNode(true), reason(outcome, text)];
  return [text[`textState${state[0].toUpperCase()}${state.slice(1)}`] ?? ""];
}

function reason({ status, detail }, text) {
  return detail || (status === 0 ? text.textNoConnection : fill(text.textServerError, { status }));
}

function answer(found, text) {
  const label = answers.querySelector(`[data-answer="${found.prediction}"]`).cloneNode(true);
  const probability = document.createElement("strong");
  probability.className = "picked__probability";
  probability.textContent = percent(found.probability, text);
  const note = document.createElement("span");
  note.className = "label__note";
  if (!found.reliable) note.textContent = text.textUnreliable;
  else if (found.uncertain) note.textContent = text.textUncertain;
  return [label, probability, note];
}

/* One file's row: what it is, how far it is, what came out, and what can be done about it. */

import { extension } from "./files.js";
import { mayTryAgain } from "./queue.js";
import { drawThumbnail } from "./thumbnail.js";
import { fill, gettext, percent, readableSize } from "../words.js";

const template = document.getElementById("picked-file");
const answers = document.getElementById("answers").content;

/* Which buttons a state offers, and which without the file itself. */
const OFFERED = {
  chosen: ["remove"],
  waiting: ["cancel"],
  paused: ["cancel"],
  sending: ["cancel"],
  analysing: [],
  done: ["open"],
  rejected: ["force", "remove"],
  failed: ["again", "remove"],
  cancelled: ["again", "remove"],
};
const OFFERED_WITHOUT = { done: ["open"], rejected: ["open", "remove"] };

const STATES = {
  waiting: gettext("Waiting"),
  sending: gettext("Sending…"),
  analysing: gettext("Analysing…"),
  cancelled: gettext("Cancelled"),
};
const REJECTED = gettext("This does not look like a frontal chest X-ray, so it was not analysed.");

/* Makes the row of `item`, adds `item.draw()`, and returns its element. An item without `file` is one of before the page
   was left. on: {remove, cancel, again, force}, called with the item. */
export function makeRow(item, on) {
  const element = template.content.firstElementChild.cloneNode(true);
  const part = (name) => element.querySelector(`.picked__${name}`);
  const bar = part("progress");
  part("name").textContent = item.name;
  part("size").textContent = readableSize(item.size);
  part("type").textContent = extension(item.name).slice(0, 5).toUpperCase();
  part("hint").textContent = item.hint;
  part("hint").hidden = !item.hint;
  bar.setAttribute("aria-label", fill(gettext("Progress of {name}"), { name: item.name }));
  for (const button of element.querySelectorAll("[data-does]")) {
    const does = button.dataset.does;
    // "Try again" two hundred times over tells nobody which.
    const words = button.textContent.trim() || gettext("Remove");
    button.setAttribute("aria-label", `${words}: ${item.name}`);
    if (on[does]) button.addEventListener("click", () => on[does](item));
  }
  if (item.file) drawThumbnail(item.file, part("preview"));
  else if (page(item)) part("preview").replaceChildren(thumbnail(page(item)));

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
    part("said").replaceChildren(...said(item));
    // Opened so, it leads on to its neighbours in the history.
    if (page(item)) part("open").href = `${page(item)}?back=`;
    const offered = (item.file ? OFFERED : OFFERED_WITHOUT)[state] ?? ["remove"];
    const possible = { again: mayTryAgain(item), open: Boolean(page(item)) };
    offer(element, offered.filter((does) => possible[does] ?? true));
  };
  item.draw();
  return element;
}

/* The address of what the server keeps of it: its answer, or that it was refused. */
function page({ outcome }) {
  return outcome?.answer?.url ?? outcome?.url;
}

function thumbnail(url) {
  return Object.assign(new Image(), { loading: "lazy", alt: "", src: `${url}thumbnail.jpg` });
}

function offer(element, offered) {
  const active = document.activeElement; // asked now, for what is hidden loses the focus
  for (const control of element.querySelectorAll("[data-does]")) control.hidden = !offered.includes(control.dataset.does);
  // Whoever pressed a button that is gone now goes on with the next of the same row.
  if (element.contains(active) && active.hidden) element.querySelector("[data-does]:not([hidden])")?.focus();
}

function said(item) {
  const { state, outcome } = item;
  if (state === "done") return answer(outcome.answer);
  if (state === "rejected") return [answers.querySelector("[data-answer=rejected]").cloneNode(true), REJECTED];
  if (state === "failed") return [answers.querySelector("[data-answer=failed]").cloneNode(true), ...reason(outcome)];
  if (state === "paused") return [gettext("Waiting, as the server asked")];
  return [STATES[state] ?? ""];
}

function reason({ status, detail, loggedOut }) {
  if (loggedOut) return [gettext("You are no longer logged in. Log in in another tab, then try again."), logIn()];
  if (detail) return [detail];
  if (status === 0) return [gettext("The server could not be reached. Check the connection and try again.")];
  return [fill(gettext("The server could not answer (error {status}). Try again in a minute."), { status })];
}

/* In another tab, for leaving this page would lose what was chosen. */
function logIn() {
  const href = document.getElementById("upload-form").dataset.login;
  return Object.assign(document.createElement("a"), { href, target: "_blank", textContent: gettext("Log in") });
}

function answer(found) {
  const label = answers.querySelector(`[data-answer="${found.prediction}"]`).cloneNode(true);
  const probability = document.createElement("strong");
  probability.className = "picked__probability";
  probability.textContent = percent(found.probability);
  const note = document.createElement("span");
  note.className = "label__note";
  if (!found.reliable) note.textContent = gettext("unreliable");
  else if (found.uncertain) note.textContent = gettext("uncertain");
  return [label, probability, note];
}

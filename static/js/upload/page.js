/* The upload form with a script: files and folders are chosen or dropped, and each is sent by itself, with its progress
   and its answer in its row. Without it the browser posts the form as a whole. */

import { takeDrops } from "./drop.js";
import { chosenFiles, extension, pictures } from "./files.js";
import { keep, kept } from "./kept.js";
import { ACTIVE, CANCELLABLE, mayTryAgain, Queue } from "./queue.js";
import { newKey, predict } from "./request.js";
import { makeRow } from "./row.js";
import { makeSummary } from "./summary.js";
import { fill, gettext, ngettext } from "../words.js";

const MOST = 200;

const form = document.getElementById("upload-form");
const settings = form.dataset;
const input = document.getElementById("id_file");
const folder = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true });
const zone = form.querySelector(".drop");
const section = document.getElementById("picked");
const list = document.getElementById("picked-list");
const button = form.querySelector("button[type=submit]");
const status = document.getElementById("upload-status");
const total = document.getElementById("total");
const latest = document.querySelector(".recent");
const maxBytes = Number(settings.maxMegabytes) * 1_000_000;
const extensions = new Set(settings.extensions.split(","));

const items = new Set();
const summary = makeSummary(total, document.getElementById("told"));
const queue = new Queue({
  known: settings.known === "yes",
  send: (item, told) => predict({ ...item, address: settings.address, account: settings.account }, told),
  changed,
  paused: summary.drawPause,
});

const identity = ({ file, name }) => [name, file.size, file.lastModified].join("/");
const sendable = () => [...items].filter(({ file }) => file);
const inState = (...states) => sendable().filter((item) => states.includes(item.state));

/* The server judges; this only spares a wait. */
function hint(file) {
  if (file.size > maxBytes) return settings.textTooLarge;
  return extensions.has(extension(file.name)) ? "" : settings.textOtherType;
}

function add(found) {
  const wanted = pictures(found, extensions);
  // What has its answer may be asked again, at another operating point.
  const known = new Set(sendable().filter((item) => item.state !== "done").map(identity));
  const fresh = wanted.filter((one) => !known.has(identity(one)) && known.add(identity(one)));
  const room = Math.max(0, MOST - inState("chosen", ...ACTIVE).length);
  for (const { file, name } of fresh.slice(0, room)) {
    show({ file, name, size: file.size, key: newKey(), hint: hint(file), state: "chosen", share: 0 });
  }
  const left = found.length - wanted.length;
  const twice = wanted.length - fresh.length;
  refresh(left && noPictures(left), twice && alreadyThere(twice), fresh.length > room && tooMany(fresh.length - room));
}

function show(item) {
  items.add(item);
  item.row = makeRow(item, { remove, cancel: (one) => queue.cancel(one), again, force });
  list.append(item.row);
}

function noPictures(count) {
  const said = ngettext(
    "{count} file of the folder is not a picture and was left out.",
    "{count} files of the folder are not pictures and were left out.",
    count,
  );
  return fill(said, { count });
}

function alreadyThere(count) {
  const said = ngettext(
    "{count} file is in the list already and was left out.",
    "{count} files are in the list already and were left out.",
    count,
  );
  return fill(said, { count });
}

function tooMany(count) {
  const most = gettext("At most {most} files fit on this page at once.");
  const left = ngettext("{count} file was left out.", "{count} files were left out.", count);
  return fill(`${most} ${left}`, { most: MOST, count });
}

/* The list as it was when the page was left. */
function showKept() {
  const { rows, unanswered } = kept(settings.account);
  rows.forEach(show);
  const words = ngettext(
    "{count} file had no answer yet: look for it among the results, or choose it again.",
    "{count} files had no answer yet: look for them among the results, or choose them again.",
    unanswered,
  );
  const said = gettext("This is the list as you left it, without the files themselves.");
  if (rows.length || unanswered) refresh(rows.length > 0 && said, unanswered > 0 && fill(words, { count: unanswered }));
}

/* Redraws all but the rows, and says what was chosen, after `sentences`. */
function refresh(...sentences) {
  const chosen = inState("chosen").length;
  section.hidden = items.size === 0;
  zone.classList.toggle("drop--chosen", items.size > 0);
  summary.draw([...items]);
  guard();
  keep(settings.account, [...items]);
  const count = fill(ngettext("{count} file chosen.", "{count} files chosen.", chosen), { count: chosen });
  status.textContent = [...sentences, chosen > 0 && count].filter(Boolean).join(" ");
}

function remove(item) {
  const next = item.row.nextElementSibling ?? item.row.previousElementSibling;
  item.row.remove();
  items.delete(item);
  refresh(fill(gettext("{name} removed."), { name: item.name }));
  // The button that had the focus is gone: go on with its neighbour.
  (next?.querySelector("[data-does]:not([hidden])") ?? input).focus();
}

const again = (item) => queue.add([item]);

/* Another request than the refused one, and so under another key. */
function force(item) {
  item.force = true;
  item.key = newKey();
  queue.add([item]);
}

let scheduled = false;

function changed(item) {
  item.draw();
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const busy = inState(...ACTIVE).length > 0;
    summary.say(summary.draw([...items]), !busy);
    guard();
    keep(settings.account, [...items]);
    if (!busy) finish();
  });
}

/* A single picture leads to its result, as it does without the script, or else shows why there is none. */
function finish() {
  const [only, ...others] = sendable();
  if (!only || others.length) return;
  if (only.state === "done") location.assign(only.outcome.answer.url);
  else only.row.scrollIntoView({ block: "nearest" });
}

function askBeforeLeaving(event) {
  event.preventDefault();
  event.returnValue = ""; // what older browsers look at
}

/* Only while there is something to lose, on its way or chosen and not sent: the listener keeps browsers from going back
   without loading anew. */
function guard() {
  if (inState("chosen", ...ACTIVE).length) window.addEventListener("beforeunload", askBeforeLeaving);
  else window.removeEventListener("beforeunload", askBeforeLeaving);
}

function takeInput(from) {
  if (from.files.length) add(chosenFiles(from));
  from.value = ""; // so that the same file may be chosen once more
}

input.addEventListener("change", () => takeInput(input));
folder.addEventListener("change", () => takeInput(folder));
document.getElementById("choose-folder").addEventListener("click", () => folder.click());
takeDrops(add);

/* As the server does where the form is posted as a whole. */
form.addEventListener("change", ({ target }) => {
  if (target.name !== "operating_point") return;
  const secure = location.protocol === "https:" ? ";secure" : "";
  const term = target === form.elements.operating_point[0] ? 0 : 365 * 24 * 60 * 60;
  document.cookie = `operating_point=${target.value};path=/;max-age=${term};samesite=lax${secure}`;
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const operatingPoint = new FormData(form).get("operating_point");
  const chosen = inState("chosen");
  // With another operating point, it means once more those that were answered at the first.
  const sent = chosen.length ? chosen : inState("done").filter((item) => item.operatingPoint !== operatingPoint);
  if (!sent.length) {
    status.textContent = sendable().length
      ? gettext("All files below were sent. Choose more of them, or another operating point.")
      : gettext("Choose at least one X-ray picture first.");
    input.focus();
    return;
  }
  sent.forEach((item) => Object.assign(item, { operatingPoint, key: newKey() }));
  status.textContent = "";
  latest?.remove(); // no longer the latest
  queue.add(sent);
  summary.draw([...items]);
  // On a small screen the rows begin below the button that was pressed.
  if (total.getBoundingClientRect().bottom > innerHeight) total.scrollIntoView({ block: "center" });
});

total.querySelector("[data-total=cancel]").addEventListener("click", () => {
  inState(...CANCELLABLE).forEach((item) => queue.cancel(item));
  summary.draw([...items]);
  total.querySelector("[data-total]:not([hidden])")?.focus();
});
total.querySelector("[data-total=again]").addEventListener("click", () => queue.add(sendable().filter(mayTryAgain)));

// The script judges for itself whether anything was chosen: the input is emptied after each choice.
form.noValidate = true;
zone.classList.add("drop--enhanced");
for (const element of document.querySelectorAll("[data-without-js]")) element.hidden = true;
for (const element of document.querySelectorAll("[data-with-js]")) element.hidden = false;
document.getElementById("choose-folder").hidden = !("webkitdirectory" in folder);
showKept();
// Browsers may restore what was chosen before the page was left.
takeInput(input);

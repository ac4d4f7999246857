/* The total: a bar with counts for the eye, and now and then a sentence for screen readers. */

import { ACTIVE, CANCELLABLE, mayTryAgain, SETTLED } from "./queue.js";
import { duration, fill, gettext } from "../words.js";

const QUIET = 4000; // milliseconds between two sentences, so that two hundred pictures do not talk over each other

export function makeSummary(section, live) {
  const bar = section.querySelector("progress");
  const counts = section.querySelector(".total__counts");
  const pause = section.querySelector(".total__pause");
  const actions = section.querySelectorAll("[data-total]");
  let timer = null;
  let pending = "";
  let lastSaid = 0;
  let counting = null;

  function say(sentence, now = false) {
    pending = sentence;
    if (now) sayPending();
    else timer ??= setTimeout(sayPending, Math.max(0, lastSaid + QUIET - Date.now()));
  }

  function sayPending() {
    clearTimeout(timer);
    timer = null;
    lastSaid = Date.now();
    live.textContent = pending;
  }

  /* Returns the sentence to say. */
  function draw(items) {
    const sent = items.filter((item) => item.state !== "chosen");
    const count = (test) => sent.filter(test).length;
    const settled = count((item) => SETTLED.has(item.state));
    const active = count((item) => ACTIVE.has(item.state));
    section.hidden = sent.length === 0;
    if (section.hidden) return "";
    bar.max = sent.length;
    bar.value = settled;
    const answered = (label) => count((item) => item.state === "done" && item.outcome.answer.prediction === label);
    const parts = [
      [gettext("Pneumonia: {count}"), answered("Pneumonia")],
      [gettext("Normal: {count}"), answered("Normal")],
      [gettext("Not analysed: {count}"), count((item) => item.state === "rejected")],
      [gettext("Failed: {count}"), count((item) => item.state === "failed")],
      [gettext("Cancelled: {count}"), count((item) => item.state === "cancelled")],
    ].filter(([, number]) => number > 0);
    const sentence = [
      fill(gettext("{done} of {count} finished"), { done: settled, count: sent.length }),
      ...parts.map(([words, number]) => fill(words, { count: number })),
    ].join(" · ");
    counts.textContent = sentence;
    section.classList.toggle("total--over", active === 0);
    const again = count(mayTryAgain);
    const cancellable = count((item) => CANCELLABLE.has(item.state));
    for (const action of actions) {
      const shown = { cancel: cancellable > 0, again: active === 0 && again > 0, history: active === 0 }[action.dataset.total];
      action.hidden = !shown;
    }
    return active ? sentence : `${gettext("All done.")} ${sentence}`;
  }

  /* Counts down for the eye alone. */
  function drawPause(seconds) {
    clearInterval(counting);
    pause.hidden = seconds === 0;
    if (!seconds) return;
    const said = gettext("The server asks to wait {time}. Sending then continues by itself.");
    const end = Date.now() + 1000 * seconds;
    const count = () => {
      const left = Math.max(1, Math.ceil((end - Date.now()) / 1000));
      pause.textContent = fill(said, { time: duration(left) });
    };
    count();
    counting = setInterval(count, 1000);
    say(pause.textContent, true);
  }

  return { draw, drawPause, say };
}

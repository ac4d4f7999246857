/* Who is sent when. Knows nothing of the page: it changes `item.state` and says so.

   chosen -> waiting -> sending -> analysing -> done | rejected | failed
   sending, analysing -> paused, where the server asks for a pause; then sending once more
   waiting, sending and paused -> cancelled; what is settled may wait again. What has been sent whole is
   analysed and kept whoever still waits for it, so it is not called cancelled. */

const AT_ONCE = 2;

export const ACTIVE = new Set(["waiting", "sending", "analysing", "paused"]);
export const CANCELLABLE = new Set(["waiting", "sending", "paused"]);
export const SETTLED = new Set(["done", "rejected", "failed", "cancelled"]);

/* Not where the file itself was refused, as it will be again, nor where it is no longer here. */
export function mayTryAgain({ file, state, outcome }) {
  if (!file) return false;
  if (state === "cancelled") return true;
  return state === "failed" && (outcome.status >= 500 || [0, 401, 403, 408, 409, 429].includes(outcome.status));
}

export class Queue {
  #waiting = [];
  #running = new Map();
  #known;
  #timer = null;

  /* send(item, told) -> {answered, abort}, see request.js. changed(item): the item has another state or share.
     paused(seconds): the server wants to be left alone; 0 when that is over. known: whether the server knows
     this browser already. */
  constructor({ send, changed, paused, known }) {
    Object.assign(this, { send, changed, paused });
    this.#known = known;
  }

  add(items) {
    for (const item of items) {
      this.#set(item, "waiting");
      this.#waiting.push(item);
    }
    this.#next();
  }

  cancel(item) {
    if (!CANCELLABLE.has(item.state)) return;
    this.#waiting = this.#waiting.filter((other) => other !== item);
    this.#running.get(item)?.abort();
    this.#set(item, "cancelled");
    if (!this.#waiting.length) this.#resume();
  }

  #set(item, state) {
    item.state = state;
    item.share = 0;
    this.changed(item);
  }

  #next() {
    // The first answer brings a visitor's cookie; two requests without it would be two visitors.
    const most = this.#known ? AT_ONCE : 1;
    while (this.#timer === null && this.#running.size < most && this.#waiting.length) this.#run(this.#waiting.shift());
  }

  async #run(item) {
    this.#set(item, "sending");
    const request = this.send(item, (share) => {
      if (item.state !== "sending") return;
      if (share === 1) item.state = "analysing";
      item.share = share;
      this.changed(item);
    });
    this.#running.set(item, request);
    const outcome = await request.answered;
    // Cancelled and started again meanwhile, the item has a newer request.
    if (this.#running.get(item) === request) this.#running.delete(item);
    this.#known ||= outcome.kind === "done" || outcome.kind === "rejected";
    if (ACTIVE.has(item.state) && !this.#running.has(item) && !this.#waiting.includes(item)) this.#settle(item, outcome);
    this.#next();
  }

  #settle(item, outcome) {
    if (outcome.kind === "throttled") {
      this.#set(item, "paused");
      this.#waiting.unshift(item);
      this.#pause(outcome.seconds);
      return;
    }
    item.outcome = outcome;
    this.#set(item, outcome.kind);
  }

  #pause(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#resume(), seconds * 1000);
    this.paused(seconds);
  }

  #resume() {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.paused(0);
    this.#next();
  }
}

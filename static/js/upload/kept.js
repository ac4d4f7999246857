/* The list of this tab, so that whoever goes back from a result finds it again: what became of each file, not the file,
   which no page can keep. */

import { SETTLED } from "./queue.js";

const PLACE = "sent";

/* account: whose list it is, as the page was made for them. */
export function keep(account, items) {
  const settled = items.filter(({ state }) => SETTLED.has(state));
  const rows = settled.map(({ name, size, state, outcome }) => ({ name, size, state, outcome }));
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ account, rows, unanswered: items.length - rows.length }));
  } catch {
    // closed to this page, or full: it works as well without
  }
}

/* {rows, unanswered}, without any where the page is opened afresh or for somebody else. */
export function kept(account) {
  const none = { rows: [], unanswered: 0 };
  try {
    const found = JSON.parse(sessionStorage.getItem(PLACE)) ?? none;
    const afresh = performance.getEntriesByType("navigation")[0].type === "navigate";
    if (found.account === account && !afresh) return found;
    sessionStorage.removeItem(PLACE);
  } catch {
    // closed to this page
  }
  return none;
}

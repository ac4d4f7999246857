/* What is being written beside a picture, kept in this tab until it is recorded: a session that ended meanwhile, another
   language or loading anew lose none of it. */

const PREFIX = "draft:";

/* `form`: with a field `note`; its data tell who writes (`reader`), their own reading of this picture so far (`own`), the
   picture that they read last (`last`), and the sentence that says, in `status`, that a reading may be lost (`lost`). */
export function keepDraft(form, status) {
  const { reader, own, last, lost } = form.dataset;
  const place = PREFIX + location.pathname;
  let storage = null;
  try {
    storage = window.sessionStorage;
  } catch {
    // closed to this page
  }
  if (!storage) return; // it works as well without

  const keep = (sent) => {
    const note = form.note.value;
    try {
      // An emptied one as well, where the server has kept what was there before.
      if (note || sent || form.note.defaultValue) storage.setItem(place, JSON.stringify({ reader, own, note, sent }));
      else storage.removeItem(place);
    } catch {
      // full: the note is still in its field
    }
  };

  for (const key of Object.keys(storage).filter((each) => each.startsWith(PREFIX))) {
    const draft = parsed(storage.getItem(key));
    const isRecorded = key === place ? draft?.own !== own : draft?.sent && last && key.includes(last);
    if (draft?.reader !== reader || isRecorded) storage.removeItem(key);
    else if (key === place && form.note.value === form.note.defaultValue) {
      form.note.value = draft.note;
      if (draft.sent) status.append(Object.assign(document.createElement("p"), { className: "errornote", textContent: lost }));
      keep(false);
    }
  }
  form.note.addEventListener("input", () => keep(false));
  form.addEventListener("submit", ({ submitter, defaultPrevented }) => {
    if (!defaultPrevented) keep(submitter?.name === "reading");
  });
}

/* Nothing for what is no draft of this page's. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/* One picture to the server: POST /predict, and what came back. */

/* Random, also on pages without HTTPS, where `crypto.randomUUID` is missing. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/* As it is now, and not as the page was made with: logging in, in another tab too, brings another. */
const csrfToken = () => /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";

function seconds(request) {
  const asked = Number(request.getResponseHeader("Retry-After"));
  return asked > 0 ? asked : 5;
}

function outcome(request) {
  const body = request.response ?? {};
  if (request.status === 200 && body.url) {
    const { prediction, probability, reliable, uncertain, url } = body;
    return { kind: "done", answer: { prediction, probability, reliable, uncertain, url } };
  }
  if (request.status === 429) return { kind: "throttled", seconds: seconds(request) };
  if (body.code === "not_a_chest_xray") return { kind: "rejected", url: body.url };
  // What the API says of these two is meant for programs.
  const loggedOut = request.status === 401 || body.code === "csrf_failed";
  return { kind: "failed", status: request.status, detail: body.detail, loggedOut };
}

/* Returns {answered, abort}: `answered` resolves to {kind, …}, and never rejects. A request repeated under the same
   key makes no second result.
   account: whose picture it is to be, as the page was made for them; empty where nobody was logged in.
   told: called with the share that is sent, 0..1. */
export function predict({ address, account, file, key, operatingPoint, force }, told) {
  const request = new XMLHttpRequest(); // fetch tells nothing of what is sent so far
  const answered = new Promise((resolve) => {
    request.addEventListener("load", () => resolve(outcome(request)));
    request.addEventListener("error", () => resolve({ kind: "failed", status: 0 }));
    request.addEventListener("abort", () => resolve({ kind: "cancelled" }));
  });
  request.upload.addEventListener("progress", (event) => event.lengthComputable && told(event.loaded / event.total));
  request.upload.addEventListener("load", () => told(1));
  request.open("POST", address);
  request.responseType = "json";
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("X-CSRFToken", csrfToken());
  request.setRequestHeader("Idempotency-Key", key);
  if (account) request.setRequestHeader("X-Account", account);
  const form = new FormData();
  form.append("file", file, file.name);
  if (operatingPoint) form.append("operating_point", operatingPoint);
  if (force) form.append("force", "true");
  request.send(form);
  return { answered, abort: () => request.abort() };
}

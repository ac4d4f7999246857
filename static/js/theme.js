/* The switch between dark and light, without loading the page anew: what was chosen or moved on it stays. */

const form = document.getElementById("theme-switch");
const button = form.querySelector("button");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const theme = button.value;
  document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme;
  button.value = theme === "light" ? "dark" : "light";
  button.setAttribute("aria-pressed", theme === "light");
  // The server answers with the cookie and the way back; only the cookie is wanted here.
  fetch(form.action, { method: "POST", body: new URLSearchParams({ theme }), redirect: "manual", keepalive: true });
});

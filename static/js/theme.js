/* The switch between dark and light, without loading the page anew: what was chosen or moved on it stays. */

const form = document.getElementById("theme-switch");
const button = form.querySelector("button");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const theme = button.value;
  const other = theme === "light" ? "dark" : "light";
  // The admin's pages wear it as a class, since the attribute means something else to Django's own style sheet.
  const worn = document.body.classList.replace(`theme-${other}`, `theme-${theme}`);
  if (!worn) document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme;
  button.value = other;
  button.setAttribute("aria-pressed", theme === "light");
  // The server answers with the cookie and the way back; only the cookie is wanted here.
  fetch(form.action, { method: "POST", body: new URLSearchParams({ theme }), redirect: "manual", keepalive: true });
});

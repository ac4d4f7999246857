/* Shows the heatmap's controls, which do nothing without a script and are therefore hidden until here. */

const heatmap = document.getElementById("heatmap");
const shown = document.getElementById("heatmap-shown");
const opacity = document.getElementById("heatmap-opacity");
const value = document.getElementById("heatmap-opacity-value");
const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });

function apply() {
  const share = Number(opacity.value) / 100;
  heatmap.style.opacity = share;
  heatmap.hidden = !shown.checked;
  opacity.disabled = !shown.checked;
  value.textContent = percent.format(share);
  opacity.setAttribute("aria-valuetext", value.textContent);
}

shown.addEventListener("change", apply);
opacity.addEventListener("input", apply);
// Browsers may restore the controls after the module has run.
window.addEventListener("pageshow", apply);

apply();
document.getElementById("viewer-controls").hidden = false;

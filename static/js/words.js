/* Sentences and figures in the page's language. The catalogue of sentences is a script that the page loads before. */

export const gettext = globalThis.django?.gettext ?? ((sentence) => sentence);
export const ngettext = globalThis.django?.ngettext ?? ((one, many, count) => (count === 1 ? one : many));

/* As the server writes them: in Arabic too with the digits 0 to 9. */
export const language = `${document.documentElement.lang}-u-nu-latn`;

const whole = new Intl.NumberFormat(language, { useGrouping: false });
const one = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/* Into a sentence with {places}, without regarding `$` in a file name. */
export const fill = (sentence, values) =>
  Object.entries(values).reduce(
    (text, [place, value]) => text.split(`{${place}}`).join(typeof value === "number" ? whole.format(value) : value),
    sentence,
  );

export function readableSize(bytes) {
  const [value, unit] = bytes >= 999_500 ? [bytes / 1e6, gettext("MB")] : [bytes && Math.max(bytes / 1e3, 0.1), gettext("kB")];
  const figure = new Intl.NumberFormat(language, { maximumFractionDigits: value < 10 ? 1 : 0, useGrouping: false });
  return `${figure.format(value)}\u00a0${unit}`;
}

/* How long to wait: in whole seconds, from two minutes on in minutes, rounded up. */
export function duration(seconds) {
  const [value, unit] = seconds < 120 ? [seconds, "second"] : [Math.ceil(seconds / 60), "minute"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long", useGrouping: false }).format(value);
}

/* A share, 0..1, without decimals. */
export const wholePercent = (share) => `${whole.format(Math.round(100 * share))}\u00a0%`;

/* Rounding must not claim a certainty of 0 or 100 %. */
export function percent(share) {
  const value = 100 * share;
  const figure = (number) => `${one.format(number)}\u00a0%`;
  if (value >= 99.95) return fill(gettext("over {value}"), { value: figure(99.9) });
  return value < 0.05 ? fill(gettext("under {value}"), { value: figure(0.1) }) : figure(value);
}

/* Sentences and figures as the page's language writes them. The sentences themselves stand in the page. */

const language = document.documentElement.lang;

/* Into a sentence with {places}, without regarding `$` in a file name. */
export const fill = (sentence, values) =>
  Object.entries(values).reduce((text, [place, value]) => text.split(`{${place}}`).join(value), sentence);

export function readableSize(bytes) {
  const [value, unit] = bytes >= 1e6 ? [bytes / 1e6, "megabyte"] : [Math.max(bytes / 1e3, 1), "kilobyte"];
  return new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

const one = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/* Rounding must not claim a certainty of 0 or 100 %. */
export function percent(share, { textOverValue, textUnderValue }) {
  const value = 100 * share;
  const figure = (number) => `${one.format(number)}\u00a0%`;
  if (value >= 99.95) return fill(textOverValue, { value: figure(99.9) });
  return value < 0.05 ? fill(textUnderValue, { value: figure(0.1) }) : figure(value);
}

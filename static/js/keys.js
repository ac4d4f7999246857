/* The key that was pressed, as `event.key` tells it; on a keyboard that writes neither Latin letters nor digits, what an
   English one has in that place. Signs are taken as they are: a French keyboard has its question mark where the M is. */
export function pressed({ key, code }) {
  if (/^[\x00-\x7f]*$/.test(key)) return key;
  return /^(?:Key|Digit)(.)$/.exec(code)?.[1] ?? key;
}

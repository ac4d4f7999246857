/* Mouse, pen and fingers on a pane, told as what they mean: pan, zoom about a point, grey window, pointing. */

/* on: {pan(dx, dy), zoom(factor, x, y), grey(dx, dy), point(x, y, byFinger)}. is: {grey(), whole()}: whether dragging
   sets the grey window, as the secondary button always does; whether the picture is as small as it gets. */
export function takeGestures(pane, on, is) {
  const down = new Map();
  let grey = false;

  const at = (event) => {
    const box = pane.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const middle = ([one, other]) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
  const apart = ([one, other]) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));

  pane.addEventListener("pointerdown", (event) => {
    pane.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    grey = event.button === 2 || is.grey();
  });

  pane.addEventListener("pointermove", (event) => {
    const now = at(event);
    on.point(now.x, now.y, event.pointerType === "touch");
    const before = down.get(event.pointerId);
    if (!before) return;
    if (down.size === 2) {
      const was = [...down.values()];
      down.set(event.pointerId, now);
      const become = [...down.values()];
      const [from, to] = [middle(was), middle(become)];
      on.pan(to.x - from.x, to.y - from.y);
      on.zoom(apart(become) / apart(was), to.x, to.y);
      return;
    }
    down.set(event.pointerId, now);
    (grey ? on.grey : on.pan)(now.x - before.x, now.y - before.y);
  });

  const up = (event) => down.delete(event.pointerId);
  pane.addEventListener("pointerup", up);
  pane.addEventListener("pointercancel", up);
  pane.addEventListener("contextmenu", (event) => event.preventDefault());
  pane.addEventListener(
    "wheel",
    (event) => {
      if (event.deltaY > 0 && is.whole()) return; // the page scrolls on, rather than stops here
      event.preventDefault();
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      const { x, y } = at(event);
      on.zoom(1.002 ** -Math.min(Math.max(pixels, -300), 300), x, y);
    },
    { passive: false },
  );
}

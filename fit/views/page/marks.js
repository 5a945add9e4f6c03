// The runs in the figures. Pointing at one, or moving to it with the arrow keys, shows its values; a click, or Enter, picks
// it. Elements of a figure that stand for runs name their rows in data-run, counted from 0 in the table of runs.
const marks = (() => {
  "use strict";
  const REACH = 12;  // pixels within which a mark is pointed at
  const HANDLED = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Enter", " "];
  const tip = Object.assign(document.createElement("div"), { id: "run-tip", hidden: true });
  tip.setAttribute("role", "status");
  const drawings = [...document.querySelectorAll("figure svg")]
    .map((svg) => ({ svg, marks: null, at: null, elements: [...svg.querySelectorAll("[data-run]")] }))
    .filter(({ elements }) => elements.length);

  // A mark: its element, the rows of its runs, and its points, in the units of the drawing.
  const marksOf = (drawing) => (drawing.marks ??= drawing.elements.map((element) => {
    const rows = element.dataset.run.split(" ").map(Number);
    if (element.localName === "use") return { element, rows, points: [[+element.getAttribute("x"), +element.getAttribute("y")]] };
    const numbers = element.getAttribute("d").match(/-?\d+(\.\d+)?(e-?\d+)?/g).map(Number);
    return { element, rows, points: numbers.flatMap((x, i) => (i % 2 ? [] : [[x, numbers[i + 1]]])) };
  }));
  const distance = (x, y, points) => {
    let nearest = Infinity;
    for (let i = 0; i < points.length; i++) {
      const [ax, ay] = points[Math.max(i - 1, 0)], [bx, by] = points[i], dx = bx - ax, dy = by - ay;
      const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
      nearest = Math.min(nearest, Math.hypot(x - ax - along * dx, y - ay - along * dy));
    }
    return nearest;
  };
  const nearest = (drawing, event) => {  // a dot before the line that it lies on
    const matrix = drawing.svg.getScreenCTM();
    if (!matrix) return null;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let found = null, least = Infinity;
    for (const mark of marksOf(drawing)) {
      if (mark.element.classList.contains("out")) continue;
      const away = matrix.a * distance(x, y, mark.points), behind = away + (mark.points.length > 1 ? REACH / 3 : 0);
      if (away <= REACH && behind < least) [found, least] = [mark, behind];
    }
    return found;
  };

  let describe = () => [], pick = () => {}, pointed = null;
  const point = (drawing, mark, x, y) => {
    if (pointed !== mark) {
      pointed?.element.classList.remove("pointed");
      mark?.element.classList.add("pointed");
      pointed = mark;
      if (mark) tip.replaceChildren(...describe(mark.rows));
    }
    tip.hidden = !mark;
    if (!mark) return;
    const { width, height } = tip.getBoundingClientRect(), room = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, Math.min(x + 14, room - width - 4))}px`;
    tip.style.top = `${y + 18 + height < innerHeight ? y + 18 : Math.max(4, y - height - 14)}px`;
  };
  const pointAt = (drawing, mark) => {  // without a mouse: at the last point of the mark
    const [x, y] = mark.points.at(-1), place = new DOMPoint(x, y).matrixTransform(drawing.svg.getScreenCTM());
    point(drawing, mark, place.x, place.y);
  };
  const withKeys = (drawing, event) => {
    if (!HANDLED.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    const order = marksOf(drawing).filter(({ element }) => !element.classList.contains("out"))
      .sort((a, b) => a.rows[0] - b.rows[0] || a.points.at(-1)[0] - b.points.at(-1)[0]);
    if (!order.length) return;
    event.preventDefault();
    const i = order.indexOf(drawing.at), last = order.length - 1;
    if ((event.key === "Enter" || event.key === " ") && i >= 0) return pick(drawing.at.rows[0]);
    const to = { Home: 0, End: last, ArrowLeft: i - 1, ArrowUp: i - 1 }[event.key] ?? i + 1;
    drawing.at = order[(to + order.length) % order.length];
    pointAt(drawing, drawing.at);
  };

  // describe: (rows) => the content of the tip. pick: (row) => what a click does.
  const connect = (functions) => {
    ({ describe, pick } = functions);
    document.body.append(tip);
    for (const drawing of drawings) {
      const { svg } = drawing, name = svg.getAttribute("aria-label");
      svg.setAttribute("tabindex", "0");
      svg.setAttribute("role", "group");
      svg.setAttribute("aria-label", `${name} Arrow keys move over its runs, Enter highlights one.`);
      svg.addEventListener("pointermove", (event) => point(drawing, nearest(drawing, event), event.clientX, event.clientY));
      svg.addEventListener("pointerleave", () => point(drawing, null));
      svg.addEventListener("click", (event) => {
        const mark = nearest(drawing, event);
        if (mark) { drawing.at = mark; pick(mark.rows[0]); }
      });
      svg.addEventListener("focus", () => {
        if (!svg.matches(":focus-visible")) return;
        drawing.at ??= marksOf(drawing).toSorted((a, b) => a.rows[0] - b.rows[0])[0];
        pointAt(drawing, drawing.at);
      });
      svg.addEventListener("blur", () => point(drawing, null));
      svg.addEventListener("keydown", (event) => withKeys(drawing, event));
    }
    addEventListener("scroll", () => { if (!document.activeElement?.matches?.("svg")) point(null, null); }, { passive: true });
  };
  // Fade what is not among the rows kept, and bring out the run that is picked; null if none is.
  const show = (kept, picked) => {
    for (const { svg, elements } of drawings) {
      svg.classList.toggle("has-picked", picked !== null && elements.some((each) => isOf(each, picked)));
      for (const element of elements) {
        const rows = element.dataset.run.split(" ").map(Number);
        element.classList.toggle("out", !rows.some((row) => kept.has(row)));
        element.classList.toggle("picked", picked !== null && rows.includes(picked));
      }
    }
  };
  const isOf = (element, row) => element.dataset.run.split(" ").includes(String(row));
  const hide = () => point(null, null);
  return { connect, show, hide, count: drawings.length };
})();

// LiveMap: a scatter plot that follows its data; see live_map.py for the traits.

const DATA = ["_x", "_y", "_colour", "_size", "_frames", "labels", "categories",
  "x_label", "y_label", "colour_label", "size_label", "height"];
const MARKS = ["selected", "active"];
const REACH = 12, CELL = 24, MANY = 5000;
const ICONS = {
  pan: "M8 2v12M2 8h12M8 2 6.3 3.7M8 2l1.7 1.7M8 14l-1.7-1.7M8 14l1.7-1.7M2 8l1.7-1.7M2 8l1.7 1.7M14 8l-1.7-1.7M14 8l-1.7 1.7",
  rectangle: "M3 3.5h10v9H3z",
  lasso: "M8 3c3.2 0 5.5 1.4 5.5 3.3S11.2 9.6 8 9.6 2.5 8.2 2.5 6.3 4.8 3 8 3zM5.2 9.2c-1 .9-.6 2.1.5 2.1 1.1 0 1.4 1 .6 2.1",
  reset: "M3 6.5V3h3.5M13 6.5V3H9.5M3 9.5V13h3.5M13 9.5V13H9.5",
};

function render({ model, el }) {
  const root = element("div", "matterscape-view matterscape-map", el);
  const bar = element("div", "matterscape-bar", root);
  const caption = element("div", "matterscape-caption", bar);
  const error = element("div", "matterscape-error", root, { role: "alert" });
  const stage = new Stage(root, { draw, sketch });
  const tools = {};
  for (const [name, title] of [["pan", "Drag to move (Esc)"], ["rectangle", "Select a rectangle (R)"],
    ["lasso", "Select with a lasso (L)"], ["reset", "Show everything (0)"]]) {
    tools[name] = element("button", `matterscape-tool matterscape-tool-${name}`, bar, { type: "button", title, "aria-label": title });
    tools[name].innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
    tools[name].addEventListener("click", () => (name === "reset" ? resetView() : setMode(name)));
  }

  let x, y, colour, size, count, order, shades, chosen, colourRange, sizeRange;
  let home, view, names, zoomed = false, plot = null, grid = null;
  let mode = "pan", hovered = null, drag = null, outdated = true;

  // ---- data ----
  function readData() {
    const frames = model.get("_frames");
    [x, y, colour, size] = ["x", "y", "colour", "size"].map((name) => column(model, `_${name}`, frames[name] ?? [0, 1]));
    count = x.length;
    const shown = (values, other) => values.filter((v, i) => Number.isFinite(other[i]));
    home = { x: paddedRange(...extent([shown(x, y)])), y: paddedRange(...extent([shown(y, x)])) };
    colourRange = extent([colour]);
    sizeRange = extent([size]);
    shades = Int16Array.from({ length: count }, (_, i) => colourIndex(i));
    order = Uint32Array.from({ length: count }, (_, i) => i);
    // Many points are drawn a block at a time, colour by colour within it: few calls to the canvas, and no colour
    // always on top. One number holds colour and index, so that the sort needs no comparison function.
    for (let from = 0; count > MANY && colour.length && from < count; from += MANY) {
      const block = order.subarray(from, from + MANY);
      block.set(block.map((i) => (shades[i] + 2) * MANY + (i - from)).sort().map((code) => from + (code % MANY)));
    }
    const axesNames = `${model.get("x_label")} ${model.get("y_label")}`;
    if (axesNames !== names) zoomed = false; // a zoom belongs to its quantities
    names = axesNames;
    if (!zoomed) view = { x: [...home.x], y: [...home.y] };
    hovered = null;
    outdated = false;
    stage.hideTip();
    stage.node.setAttribute("role", "application");
    stage.node.setAttribute("aria-label", `Map of ${count} points, ${model.get("y_label") || "y"} against ${model.get("x_label") || "x"}. `
      + "Arrow keys move between points, Enter selects, R and L start a rectangle or a lasso, plus and minus zoom, 0 shows everything.");
    readMarks();
  }

  // One message changes several traits: the data is read once, with the next frame.
  function noteData() {
    outdated = true;
    stage.node.style.height = `${model.get("height")}px`;
    stage.refresh();
  }

  function noteMarks() {
    if (!outdated) readMarks();
    stage.refresh();
  }

  function readMarks() {
    chosen = new Uint8Array(count);
    for (const i of model.get("selected")) chosen[i] = 1;
    const selected = model.get("selected").length;
    caption.textContent = `${count.toLocaleString("en")} points`
      + (selected ? ` · ${selected.toLocaleString("en")} selected` : "");
    root.dataset.points = count;
    root.dataset.selected = selected;
    root.dataset.active = model.get("active") ?? "";
  }

  const colourIndex = (i) => {
    if (!colour.length) return -2;
    if (Number.isNaN(colour[i])) return -1;
    return model.get("categories").length ? Math.round(colour[i]) : sequentialIndex(colour[i], ...colourRange);
  };
  const key = () => {
    if (!colour.length) return null;
    const label = model.get("colour_label"), categories = model.get("categories");
    if (categories.length) return { label, categories };
    return colourRange[0] <= colourRange[1] ? { label, range: colourRange } : null;
  };
  const axes = () => [{ range: view.x, label: model.get("x_label") }, { range: view.y, label: model.get("y_label") }];
  const basicRadius = () => Math.max(1.6, Math.min(5, 3.1 * (2000 / Math.max(1, count)) ** 0.25));
  const radius = (i) => {
    if (!size.length) return basicRadius();
    const t = sizeRange[1] > sizeRange[0] ? (size[i] - sizeRange[0]) / (sizeRange[1] - sizeRange[0]) : 0.5;
    return basicRadius() * (Number.isNaN(t) ? 0.6 : 0.6 + 1.6 * Math.sqrt(t));
  };
  const pixel = (i) => [
    plot.box.left + ((x[i] - view.x[0]) / (view.x[1] - view.x[0])) * plot.box.width,
    plot.box.top + (1 - (y[i] - view.y[0]) / (view.y[1] - view.y[0])) * plot.box.height,
  ];
  const placed = (i) => !Number.isNaN(x[i]) && !Number.isNaN(y[i]);

  // ---- drawing ----
  function draw(ctx, theme) {
    if (outdated) readData();
    const [ax, ay] = axes(), barKey = key();
    plot = layoutPlot(ctx, theme, stage.width, stage.height, ax, ay, barKey);
    grid = null;
    drawGrid(ctx, theme, plot, ax, ay);
    ctx.save();
    ctx.beginPath(); ctx.rect(plot.box.left, plot.box.top, plot.box.width, plot.box.height); ctx.clip();
    const alpha = count > MANY ? 0.75 : 0.92, selected = model.get("selected");
    const many = selected.length > 1; // the others step back behind a selection of several
    if (many) drawPoints(ctx, theme, 0, 0.2);
    drawPoints(ctx, theme, many ? 1 : null, alpha);
    ctx.restore();
    drawAxes(ctx, theme, plot, ax, ay);
    if (barKey) drawKey(ctx, theme, plot, barKey);
    if (!order.some(placed)) drawSentence(ctx, theme, plot.box, "No points to show.");
  }

  // which: 1 the selected points, 0 the others, null all of them.
  function drawPoints(ctx, theme, which, alpha) {
    const categorical = model.get("categories").length > 0;
    const palette = (k) => k === -2 ? categoryCss(0, theme) : k === -1 ? theme.missing : categorical ? categoryCss(k, theme) : SEQUENTIAL_CSS[k];
    const outline = count <= MANY, squares = count > 20000;
    ctx.globalAlpha = alpha;
    ctx.lineWidth = 0.5;
    ctx.strokeStyle = theme.paper;
    let current = null;
    const flush = () => { if (current !== null) { ctx.fill(); if (outline) ctx.stroke(); } };
    const { left, top, width, height } = plot.box, plain = size.length ? null : basicRadius();
    const stretchX = width / (view.x[1] - view.x[0]), stretchY = height / (view.y[1] - view.y[0]);
    for (let k = 0; k < count; k++) {
      const i = order[k];
      if (which !== null && chosen[i] !== which) continue;
      const px = left + (x[i] - view.x[0]) * stretchX, py = top + (view.y[1] - y[i]) * stretchY;
      const c = shades[i], r = plain ?? radius(i);
      // Written so that a missing position fails it.
      if (!(px > left - r && px < left + width + r && py > top - r && py < top + height + r)) continue;
      if (c !== current || outline) { flush(); ctx.fillStyle = palette(c); ctx.beginPath(); current = c; }
      if (squares) ctx.rect(px - r * 0.9, py - r * 0.9, r * 1.8, r * 1.8);
      else { ctx.moveTo(px + r, py); ctx.arc(px, py, r, 0, 2 * Math.PI); }
    }
    flush();
    ctx.globalAlpha = 1;
  }

  function sketch(ctx, theme) {
    if (!plot) return;
    const { box } = plot, active = model.get("active");
    ctx.save();
    ctx.beginPath(); ctx.rect(box.left, box.top, box.width, box.height); ctx.clip();
    if (hovered !== null && hovered !== active) ring(ctx, hovered, theme.ink, 1.5, 2.5);
    const selected = model.get("selected");
    if (selected.length === 1 && selected[0] !== active && placed(selected[0])) ring(ctx, selected[0], theme.ink, 1.5, 2.5);
    if (active !== null && active < count && placed(active)) {
      ring(ctx, active, theme.paper, 5, 4);
      ring(ctx, active, theme.accent, 2.5, 4);
    }
    if (drag?.path) {
      ctx.beginPath();
      if (drag.shape === "rectangle") ctx.rect(...corner(drag.path));
      else { drag.path.forEach(([px, py], k) => (k ? ctx.lineTo(px, py) : ctx.moveTo(px, py))); ctx.closePath(); }
      ctx.globalAlpha = 0.14; ctx.fillStyle = theme.accent; ctx.fill();
      ctx.globalAlpha = 1; ctx.strokeStyle = theme.accent; ctx.lineWidth = 1.5; ctx.setLineDash([5, 4]); ctx.stroke();
    }
    ctx.restore();
  }

  function ring(ctx, i, style, width, gap) {
    const [px, py] = pixel(i);
    ctx.strokeStyle = style; ctx.lineWidth = width;
    ctx.beginPath(); ctx.arc(px, py, radius(i) + gap, 0, 2 * Math.PI); ctx.stroke();
  }

  const corner = (path) => {
    const [[x0, y0], [x1, y1]] = [path[0], path[path.length - 1]];
    return [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
  };

  // ---- finding points ----
  function buildGrid() {
    const columns = Math.ceil(stage.width / CELL), rows = Math.ceil(stage.height / CELL);
    grid = { columns, rows, cells: new Map() };
    for (let i = 0; i < count; i++) {
      if (!placed(i)) continue;
      const [px, py] = pixel(i);
      if (!inside(px, py)) continue;
      const cell = Math.floor(py / CELL) * columns + Math.floor(px / CELL);
      if (!grid.cells.has(cell)) grid.cells.set(cell, []);
      grid.cells.get(cell).push(i);
    }
  }

  const inside = (px, py) => plot && px >= plot.box.left && px <= plot.box.left + plot.box.width
    && py >= plot.box.top && py <= plot.box.top + plot.box.height;

  function nearest(px, py) {
    if (!inside(px, py)) return null;
    if (!grid) buildGrid();
    let best = null, bound = REACH;
    for (let row = Math.floor(py / CELL) - 1; row <= Math.floor(py / CELL) + 1; row++) {
      for (let col = Math.floor(px / CELL) - 1; col <= Math.floor(px / CELL) + 1; col++) {
        for (const i of grid.cells.get(row * grid.columns + col) ?? []) {
          const [qx, qy] = pixel(i), distance = Math.hypot(qx - px, qy - py);
          if (distance < bound) { bound = distance; best = i; }
        }
      }
    }
    return best;
  }

  // The nearest point within 45 degrees of a direction; the whole half-plane when that cone is empty.
  function neighbour(from, [ux, uy]) {
    const [px, py] = pixel(from);
    let best = [null, null], bound = [Infinity, Infinity];
    for (let i = 0; i < count; i++) {
      if (i === from || !placed(i)) continue;
      const [qx, qy] = pixel(i), along = (qx - px) * ux + (qy - py) * uy, across = Math.abs((qx - px) * uy - (qy - py) * ux);
      if (along <= 0.01) continue;
      const distance = Math.hypot(along, across), where = across <= along ? 0 : 1;
      if (distance < bound[where]) { bound[where] = distance; best[where] = i; }
    }
    return best[0] ?? best[1];
  }

  function enclosed(path, shape) {
    const found = [], [left, top, width, height] = corner(path);
    for (let i = 0; i < count; i++) {
      if (!placed(i)) continue;
      const [px, py] = pixel(i);
      if (!inside(px, py)) continue;
      if (shape === "rectangle" ? px >= left && px <= left + width && py >= top && py <= top + height : inPolygon(px, py, path)) found.push(i);
    }
    return found;
  }

  function inPolygon(px, py, path) {
    let odd = false;
    for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
      const [xi, yi] = path[i], [xj, yj] = path[j];
      if (yi > py !== yj > py && px < ((xj - xi) * (py - yi)) / (yj - yi) + xi) odd = !odd;
    }
    return odd;
  }

  // ---- what the user does ----
  function describe(i) {
    const rows = [], span = (range) => range[1] - range[0];
    rows.push([model.get("x_label") || "x", formatValue(x[i], span(home.x))], [model.get("y_label") || "y", formatValue(y[i], span(home.y))]);
    if (colour.length) {
      const categories = model.get("categories");
      rows.push([model.get("colour_label") || "colour",
        categories.length && !Number.isNaN(colour[i]) ? categories[Math.round(colour[i])] : formatValue(colour[i], span(colourRange))]);
    }
    if (size.length) rows.push([model.get("size_label") || "size", formatValue(size[i], span(sizeRange))]);
    const label = model.get("labels")[i];
    return [label ? `${label} · #${i}` : `#${i}`, rows];
  }

  function showPoint(i) {
    const [title, rows] = describe(i);
    stage.showTip(title, rows, ...pixel(i));
  }

  function choose(indices, add) {
    const set = add ? new Set(model.get("selected")) : new Set();
    const toggle = add && indices.length === 1;
    for (const i of indices) toggle && set.has(i) ? set.delete(i) : set.add(i);
    model.set("selected", [...set].sort((a, b) => a - b));
    model.save_changes();
  }

  function activate(i) {
    model.set("active", i);
    const [title, rows] = describe(i);
    stage.say([title, ...rows.map((row) => row.join(" "))].join(", "));
  }

  function setMode(name) {
    mode = name;
    drag = null;
    for (const tool of ["pan", "rectangle", "lasso"]) tools[tool].setAttribute("aria-pressed", String(tool === mode));
    stage.node.style.cursor = mode === "pan" ? "default" : "crosshair";
    root.dataset.mode = mode;
    stage.refresh(false);
  }

  function resetView() { zoomed = false; view = { x: [...home.x], y: [...home.y] }; stage.hideTip(); stage.refresh(); }

  function zoom(factor, [px, py]) {
    const [ax, ay] = axes(), at = { x: fromX(plot.box, ax, px), y: fromY(plot.box, ay, py) };
    for (const name of ["x", "y"]) view[name] = view[name].map((v) => at[name] + (v - at[name]) * factor);
    zoomed = true;
    stage.hideTip();
    stage.refresh();
  }

  function pan(dx, dy) {
    const fx = (dx / plot.box.width) * (view.x[1] - view.x[0]), fy = (dy / plot.box.height) * (view.y[1] - view.y[0]);
    view.x = view.x.map((v) => v - fx);
    view.y = view.y.map((v) => v + fy);
    zoomed = true;
    stage.refresh();
  }

  stage.node.addEventListener("pointerdown", (event) => {
    const start = stage.position(event);
    if (event.button !== 0 || !inside(...start)) return;
    stage.node.focus({ preventScroll: true });
    stage.node.setPointerCapture(event.pointerId);
    const shape = mode === "pan" && event.shiftKey ? "rectangle" : mode;
    drag = { start, last: start, shape, moved: false, path: null };
  });
  stage.node.addEventListener("pointermove", (event) => {
    const at = stage.position(event);
    if (!drag) {
      const found = nearest(...at);
      if (found !== hovered) { hovered = found; stage.refresh(false); }
      found === null ? stage.hideTip() : showPoint(found);
      if (mode === "pan") stage.node.style.cursor = found === null ? "default" : "pointer";
      return;
    }
    if (!drag.moved && Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) < 4) return;
    drag.moved = true;
    stage.hideTip();
    hovered = null;
    if (drag.shape === "pan") { pan(at[0] - drag.last[0], at[1] - drag.last[1]); stage.node.style.cursor = "grabbing"; }
    else { (drag.path ??= [drag.start]).push(at); stage.refresh(false); }
    drag.last = at;
  });
  stage.node.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { moved, path, shape, start } = drag;
    drag = null;
    stage.node.style.cursor = mode === "pan" ? "default" : "crosshair";
    if (moved) { if (path) choose(enclosed(path, shape), event.shiftKey); stage.refresh(false); return; }
    const found = nearest(...start);
    if (found !== null) activate(found);
    if (found !== null || !event.shiftKey) choose(found === null ? [] : [found], event.shiftKey);
  });
  stage.node.addEventListener("pointercancel", () => { drag = null; stage.refresh(false); });
  stage.node.addEventListener("pointerleave", () => { hovered = null; stage.hideTip(); stage.refresh(false); });
  stage.node.addEventListener("dblclick", resetView);
  // The wheel scrolls the page until the map has been clicked or reached by Tab; with Ctrl it always zooms.
  stage.node.addEventListener("wheel", (event) => {
    const at = stage.position(event);
    if (!inside(...at) || !(event.ctrlKey || event.metaKey || stage.node.contains(document.activeElement))) return;
    event.preventDefault();
    zoom(Math.exp(Math.max(-0.3, Math.min(0.3, event.deltaY * 0.002))), at);
  }, { passive: false });

  const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const centre = () => [plot.box.left + plot.box.width / 2, plot.box.top + plot.box.height / 2];
  const KEYS = {
    r: () => setMode("rectangle"), l: () => setMode("lasso"), 0: resetView,
    "+": () => zoom(1 / 1.3, centre()), "=": () => zoom(1 / 1.3, centre()), "-": () => zoom(1.3, centre()),
    Escape: () => (mode === "pan" ? choose([], false) : setMode("pan")),
    Enter: (event) => { if (model.get("active") !== null) choose([model.get("active")], event.shiftKey); },
  };
  stage.node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !plot || !count) return;
    const action = ARROWS[event.key] ? move : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on the same keys
    action(event);
  });

  function move(event) {
    const from = model.get("active");
    const to = from === null || !placed(from) ? order.find(placed) : neighbour(from, ARROWS[event.key]);
    if (to === null || to === undefined) return;
    activate(to);
    model.save_changes();
    const [px, py] = pixel(to);
    if (!inside(px, py)) { const [cx, cy] = centre(); pan(cx - px, cy - py); }
    showPoint(to);
  }

  // ---- life ----
  // Where a point is on the page, for tests and for scripts that point at it.
  root.pointPosition = (i) => {
    const frame = stage.node.getBoundingClientRect(), [px, py] = pixel(i);
    return [frame.left + px, frame.top + py];
  };
  const stop = [listen(model, DATA, noteData), listen(model, MARKS, noteMarks), listen(model, ["error"], () => showError(error, model))];
  noteData();
  setMode("pan");
  showError(error, model);
  return () => { stop.forEach((f) => f()); stage.dispose(); };
}

export default { initialize, render };

// LiveAtoms: atoms that move; see live_atoms.py for the traits.

const DATA = ["_positions", "_radii", "_colour", "_frame", "_range", "_cell", "_symbols", "_elements", "colour_label", "height"];
const EDGES = [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5], [2, 3], [2, 6], [3, 7], [4, 5], [4, 6], [5, 7], [6, 7]];
const START = [[0.94, 0.1, -0.32], [-0.17, 0.96, -0.2], [0.29, 0.24, 0.93]]; // a little from the right and from above

function render({ model, el }) {
  const root = element("div", "matterscape-view matterscape-atoms", el);
  const bar = element("div", "matterscape-bar", root);
  const caption = element("div", "matterscape-caption", bar);
  const error = element("div", "matterscape-error", root, { role: "alert" });
  const stage = new Stage(root, { draw, sketch });

  let count, positions, radii, colour, range, corners, centre, reach, order, projected, box, key;
  let turn = START.map((row) => [...row]), zoom = 1.15, drag = null, outdated = true;
  const sprites = new Map();

  // ---- data ----
  const floats = (name) => {
    const view = model.get(name);
    return view?.byteLength ? new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Float32Array(0);
  };

  function readData() {
    positions = floats("_positions");
    radii = floats("_radii");
    colour = column(model, "_colour", model.get("_frame"));
    range = model.get("_range") ?? extent([colour]);
    count = radii.length;
    if (order?.length !== count) order = Uint32Array.from({ length: count }, (_, i) => i);
    const cell = model.get("_cell");
    const periodic = cell.some((row) => row.some((v) => v !== 0));
    corners = periodic ? Array.from({ length: 8 }, (_, c) => [0, 1, 2].map((x) => cell.reduce((sum, row, k) => sum + ((c >> k) & 1) * row[x], 0))) : [];
    const shown = periodic ? corners : Array.from({ length: count }, (_, i) => positions.subarray(3 * i, 3 * i + 3));
    const low = [0, 1, 2].map((x) => Math.min(...shown.map((p) => p[x]))), high = [0, 1, 2].map((x) => Math.max(...shown.map((p) => p[x])));
    const size = 0.5 * Math.hypot(...low.map((v, x) => high[x] - v)) + 1;
    // a molecule's frame moves only when it has left it, so that the picture does not shiver
    if (periodic || !centre || size > reach || size < 0.5 * reach) {
      centre = low.map((v, x) => (v + high[x]) / 2);
      reach = size;
    }
    outdated = false;
    root.dataset.atoms = count;
    caption.textContent = `${count.toLocaleString("en")} atoms`;
    stage.node.setAttribute("role", "application");
    stage.node.setAttribute("aria-label", `${count} atoms in three dimensions. Arrow keys turn them, plus and minus zoom, 0 shows everything.`);
  }

  function note() {
    outdated = true;
    stage.node.style.height = `${model.get("height")}px`;
    stage.refresh();
  }

  // ---- drawing ----
  const seen = (p) => turn.map((row) => row[0] * (p[0] - centre[0]) + row[1] * (p[1] - centre[1]) + row[2] * (p[2] - centre[2]));

  // One shaded sphere per colour, drawn once and then copied.
  function sprite(rgb) {
    const name = rgb.join();
    if (!sprites.has(name)) {
      const canvas = document.createElement("canvas"), size = 64;
      canvas.width = canvas.height = size;
      const ctx = canvas.getContext("2d"), mixed = (other, t) => css(rgb.map((v, k) => Math.round(v + (other[k] - v) * t)));
      const shade = ctx.createRadialGradient(size * 0.37, size * 0.33, size * 0.03, size / 2, size / 2, size / 2);
      shade.addColorStop(0, mixed([255, 255, 255], 0.75));
      shade.addColorStop(0.35, mixed([255, 255, 255], 0.12));
      shade.addColorStop(0.8, mixed([0, 0, 0], 0.22));
      shade.addColorStop(1, mixed([0, 0, 0], 0.55));
      ctx.fillStyle = shade;
      ctx.beginPath(); ctx.arc(size / 2, size / 2, size / 2 - 1, 0, 2 * Math.PI); ctx.fill();
      sprites.set(name, canvas);
    }
    return sprites.get(name);
  }

  const shadeOf = (i) => {
    if (!colour.length) return model.get("_elements")[i];
    return Number.isNaN(colour[i]) ? [150, 150, 150] : SEQUENTIAL[sequentialIndex(colour[i], ...range)];
  };

  function draw(ctx, theme) {
    if (outdated) readData();
    key = colour.length && range[0] <= range[1] ? { label: model.get("colour_label"), range } : null;
    const right = key ? keyWidth(ctx, theme, key) : 8;
    box = { left: 8, top: 12, width: Math.max(40, stage.width - 8 - right), height: Math.max(40, stage.height - 24) };
    const scale = (zoom * Math.min(box.width, box.height)) / (2 * reach), [mx, my] = [box.left + box.width / 2, box.top + box.height / 2];
    const place = ([x, y, z]) => [mx + scale * x, my - scale * y, z];
    projected = Array.from({ length: count }, (_, i) => place(seen(positions.subarray(3 * i, 3 * i + 3))));
    order.sort((a, b) => projected[a][2] - projected[b][2]);
    ctx.save();
    ctx.beginPath(); ctx.rect(0, 0, box.left + box.width, stage.height); ctx.clip();
    const ends = corners.map((c) => place(seen(c)));
    const edges = EDGES.filter(() => ends.length).map(([a, b]) => [ends[a], ends[b]]).sort((a, b) => a[0][2] + a[1][2] - b[0][2] - b[1][2]);
    ctx.strokeStyle = theme.line;
    const line = ([a, b]) => { ctx.beginPath(); ctx.moveTo(a[0], a[1]); ctx.lineTo(b[0], b[1]); ctx.stroke(); };
    ctx.lineWidth = 1; ctx.globalAlpha = 0.7;
    edges.slice(0, 9).forEach(line);
    const shades = model.get("_elements") && Array.from({ length: count }, (_, i) => sprite(shadeOf(i)));
    for (let k = 0; k < count; k++) {
      const i = order[k], [px, py, depth] = projected[i], r = scale * radii[i];
      // far atoms fade into the paper, but hide what is behind them
      const alpha = Math.min(1, Math.max(0.55, 0.85 + (0.3 * depth) / reach));
      if (alpha < 1) {
        ctx.globalAlpha = 1;
        ctx.fillStyle = theme.paper;
        ctx.beginPath(); ctx.arc(px, py, 0.96 * r, 0, 2 * Math.PI); ctx.fill();
      }
      ctx.globalAlpha = alpha;
      ctx.drawImage(shades[i], px - r, py - r, 2 * r, 2 * r);
    }
    ctx.globalAlpha = 0.7;
    edges.slice(9).forEach(line);
    ctx.restore();
    ctx.globalAlpha = 1;
    if (key) drawKey(ctx, theme, { box }, key);
  }

  function sketch(ctx, theme) {
    const active = model.get("active");
    if (active === null || !projected || active >= count) return;
    const [px, py] = projected[active], r = (zoom * Math.min(box.width, box.height) * radii[active]) / (2 * reach);
    for (const [style, width] of [[theme.paper, 5], [theme.accent, 2.5]]) {
      ctx.strokeStyle = style; ctx.lineWidth = width;
      ctx.beginPath(); ctx.arc(px, py, r + 3, 0, 2 * Math.PI); ctx.stroke();
    }
  }

  // ---- what the user does ----
  function spin(dx, dy) {
    const rotate = (a, b, angle) => {
      const [c, s] = [Math.cos(angle), Math.sin(angle)], [ra, rb] = [turn[a], turn[b]];
      turn[a] = ra.map((v, k) => c * v + s * rb[k]);
      turn[b] = rb.map((v, k) => c * v - s * ra[k]);
    };
    rotate(0, 2, dx);
    rotate(1, 2, -dy);
    // rounding must not shear the picture after many turns
    const unit = (v) => v.map((c) => c / Math.hypot(...v)), dot = (a, b) => a.reduce((sum, c, k) => sum + c * b[k], 0);
    turn[0] = unit(turn[0]);
    turn[1] = unit(turn[1].map((c, k) => c - dot(turn[0], turn[1]) * turn[0][k]));
    const [a, b] = turn;
    turn[2] = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    stage.hideTip();
    stage.refresh();
  }

  function magnify(factor) { zoom = Math.max(0.3, Math.min(12, zoom * factor)); stage.hideTip(); stage.refresh(); }
  function reset() { turn = START.map((row) => [...row]); zoom = 1.15; stage.hideTip(); stage.refresh(); }

  function under([px, py]) {
    for (let k = count - 1; k >= 0; k--) {
      const i = order[k], [qx, qy] = projected[i], r = (zoom * Math.min(box.width, box.height) * radii[i]) / (2 * reach);
      if (Math.hypot(px - qx, py - qy) <= r) return i;
    }
    return null;
  }

  function describe(i) {
    const rows = [["position (Å)", [0, 1, 2].map((x) => formatValue(positions[3 * i + x], 2 * reach)).join(", ")]];
    if (colour.length) rows.push([model.get("colour_label") || "colour", formatValue(colour[i], range[1] - range[0])]);
    return [`${model.get("_symbols")[i]} · #${i}`, rows];
  }

  stage.node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !projected) return;
    stage.node.focus({ preventScroll: true });
    stage.node.setPointerCapture(event.pointerId);
    drag = { start: stage.position(event), last: stage.position(event), moved: false };
  });
  stage.node.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = stage.position(event);
    if (!drag.moved && Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) < 4) return;
    drag.moved = true;
    spin((at[0] - drag.last[0]) * 0.008, (at[1] - drag.last[1]) * 0.008);
    drag.last = at;
  });
  stage.node.addEventListener("pointerup", () => {
    if (!drag) return;
    const { moved, start } = drag;
    drag = null;
    if (moved) return;
    const found = under(start);
    model.set("active", found);
    model.save_changes();
    if (found === null) { stage.hideTip(); return; }
    const [title, rows] = describe(found);
    stage.showTip(title, rows, projected[found][0], projected[found][1]);
    stage.say([title, ...rows.map((row) => row.join(" "))].join(", "));
  });
  stage.node.addEventListener("pointercancel", () => { drag = null; });
  stage.node.addEventListener("pointerleave", () => stage.hideTip());
  stage.node.addEventListener("dblclick", reset);
  // The wheel scrolls the page until the view has been clicked or reached by Tab; with Ctrl it always zooms.
  stage.node.addEventListener("wheel", (event) => {
    if (!(event.ctrlKey || event.metaKey || stage.node.contains(document.activeElement))) return;
    event.preventDefault();
    magnify(Math.exp(-Math.max(-0.3, Math.min(0.3, event.deltaY * 0.002))));
  }, { passive: false });

  const KEYS = {
    ArrowLeft: () => spin(-0.15, 0), ArrowRight: () => spin(0.15, 0), ArrowUp: () => spin(0, -0.15), ArrowDown: () => spin(0, 0.15),
    "+": () => magnify(1.2), "=": () => magnify(1.2), "-": () => magnify(1 / 1.2), 0: reset,
  };
  stage.node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !projected || !KEYS[event.key]) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on the same keys
    KEYS[event.key]();
  });

  // ---- life ----
  // Where an atom is on the page, for tests and for scripts that point at it.
  root.atomPosition = (i) => {
    const frame = stage.node.getBoundingClientRect();
    return [frame.left + projected[i][0], frame.top + projected[i][1]];
  };
  const stop = [
    listen(model, DATA, note),
    listen(model, ["active"], () => { root.dataset.active = model.get("active") ?? ""; stage.refresh(false); }),
    listen(model, ["error"], () => showError(error, model)),
  ];
  note();
  showError(error, model);
  return () => { stop.forEach((f) => f()); stage.dispose(); };
}

export default { render };

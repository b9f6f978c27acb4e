// LiveAtoms: atoms that move; see live_atoms.py for the traits.

const DATA = ["_positions", "_radii", "_colour", "_frame", "_range", "_cell", "_symbols", "_elements", "_vibration", "colour_label", "height"];
const MOTION = ["amplitude", "pace", "playing", "arrows"];
const EDGES = [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5], [2, 3], [2, 6], [3, 7], [4, 5], [4, 6], [5, 7], [6, 7]];
// of an arrow: length in amplitudes, the head's in parts of it, the stem's width in Å; and the atoms' radii beside it
const LONG = 3.5, HEAD = 0.3, STEM = 0.14, SHRUNK = 0.62;
const ICONS = {
  playing: "M4.5 3l8 5-8 5z", pause: "M5.5 3v10M10.5 3v10",
  arrows: "M3 13 13 3M7.5 3H13v5.5", save: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10",
};
const START = [[0.94, 0.1, -0.32], [-0.17, 0.96, -0.2], [0.29, 0.24, 0.93]]; // a little from the right and from above

function render({ model, el }) {
  const root = element("div", "matterscape-view matterscape-atoms", el);
  const bar = element("div", "matterscape-bar", root);
  const caption = element("div", "matterscape-caption", bar);
  const error = element("div", "matterscape-error", root, { role: "alert" });
  const stage = new Stage(root, { draw, sketch });
  const tools = {};
  for (const [name, title] of [["playing", "Play or pause (space)"], ["arrows", "Arrows (A)"], ["save", "Save the picture (S)"]]) {
    tools[name] = element("button", `matterscape-tool matterscape-tool-${name}`, bar, { type: "button", title, "aria-label": title });
    tools[name].innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
    tools[name].addEventListener("click", () => (name === "save" ? save() : toggle(name)));
  }

  let count, positions, radii, colour, range, corners, centre, reach, spread, order, projected, sprites, box, scale, key;
  let turn = START.map((row) => [...row]), zoom = null, home = 1.15, drag = null, outdated = true;
  let vibration, parts, shrink = 1, phase = 0, frame = 0, last = null, cost = 0, inView = true;
  const spheres = new Map();

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
    vibration = floats("_vibration");
    parts = vibration.length / count; // three numbers an atom for standing waves, six for others
    if (order?.length !== count) order = Uint32Array.from({ length: count }, (_, i) => i);
    projected = new Float32Array(3 * count);
    sprites = Array.from({ length: count }, (_, i) => sphere(shadeOf(i)));
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
    spread = [0, 1].map((k) => Math.max(1, ...shown.map((p) => Math.abs(START[k].reduce((sum, v, x) => sum + v * (p[x] - centre[x]), 0)))));
    outdated = false;
    root.dataset.atoms = count;
    caption.textContent = `${count.toLocaleString("en")} atoms`;
    stage.node.setAttribute("role", "application");
    const keys = vibration.length ? " Space plays and pauses, A shows arrows, page up and page down step to other vibrations." : "";
    stage.node.setAttribute("aria-label", `${count} atoms in three dimensions. Arrow keys turn them, plus and minus zoom, 0 shows everything, S saves a picture.${keys}`);
  }

  function note() {
    outdated = true;
    stage.node.style.height = `${model.get("height")}px`;
    noteMotion();
  }

  // ---- motion ----
  function noteMotion() {
    const vibrates = model.get("_vibration")?.byteLength > 0, playing = vibrates && model.get("playing");
    for (const name of ["playing", "arrows"]) {
      tools[name].style.display = vibrates ? "" : "none";
      tools[name].setAttribute("aria-pressed", String(model.get(name)));
    }
    tools.playing.querySelector("path").setAttribute("d", ICONS[playing ? "pause" : "playing"]);
    root.dataset.playing = playing;
    if (!playing || !inView) last = null;
    else frame ||= requestAnimationFrame(step);
    stage.refresh();
  }

  // The clock of the vibration: it runs here, without the kernel, and leaves the page half of the time.
  function step(now) {
    frame = 0;
    if (!inView || !model.get("playing") || !vibration?.length) { last = null; return; }
    frame = requestAnimationFrame(step);
    if (last !== null && now - last < 2 * cost) return;
    if (last !== null) phase = (phase + 2 * Math.PI * model.get("pace") * Math.min(0.2, (now - last) / 1000)) % (2 * Math.PI);
    last = now;
    stage.refresh();
  }

  function toggle(name) {
    if (!vibration?.length) return;
    model.set(name, !model.get(name));
    model.save_changes();
  }

  // Displacement of an atom at this moment in parts of the amplitude: the real part of u exp(-i phase).
  function displacement(i, x, c, s) {
    return parts === 6 ? vibration[6 * i + x] * c + vibration[6 * i + 3 + x] * s : vibration[3 * i + x] * c;
  }

  function project() {
    const [rx, ry, rz] = turn, { left, top, width, height } = box, mx = left + width / 2, my = top + height / 2;
    const amplitude = vibration.length ? model.get("amplitude") : 0, c = Math.cos(phase), s = Math.sin(phase);
    for (let i = 0; i < count; i++) {
      let x = positions[3 * i] - centre[0], y = positions[3 * i + 1] - centre[1], z = positions[3 * i + 2] - centre[2];
      if (amplitude) {
        x += amplitude * displacement(i, 0, c, s);
        y += amplitude * displacement(i, 1, c, s);
        z += amplitude * displacement(i, 2, c, s);
      }
      projected[3 * i] = mx + scale * (rx[0] * x + rx[1] * y + rx[2] * z);
      projected[3 * i + 1] = my - scale * (ry[0] * x + ry[1] * y + ry[2] * z);
      projected[3 * i + 2] = rz[0] * x + rz[1] * y + rz[2] * z;
    }
  }

  // ---- drawing ----
  const seen = (p) => turn.map((row) => row[0] * (p[0] - centre[0]) + row[1] * (p[1] - centre[1]) + row[2] * (p[2] - centre[2]));

  // One shaded sphere per colour, drawn once and then copied.
  function sphere(rgb) {
    const name = rgb.join();
    if (!spheres.has(name)) {
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
      spheres.set(name, canvas);
    }
    return spheres.get(name);
  }

  const shadeOf = (i) => {
    if (!colour.length) return model.get("_elements")[i];
    return Number.isNaN(colour[i]) ? [150, 150, 150] : SEQUENTIAL[sequentialIndex(colour[i], ...range)];
  };

  function draw(ctx, theme) {
    const start = performance.now();
    if (outdated) readData();
    key = colour.length && range[0] <= range[1] ? { label: model.get("colour_label"), range } : null;
    const right = key ? keyWidth(ctx, theme, key) : 8;
    box = { left: 8, top: 12, width: Math.max(40, stage.width - 8 - right), height: Math.max(40, stage.height - 24) };
    // what is drawn at first fills the view
    const fitting = 0.46 * Math.min(box.width / spread[0], box.height / spread[1]);
    home = Math.max(1.15, Math.min(4, (fitting * 2 * reach) / Math.min(box.width, box.height)));
    zoom ??= home;
    scale = (zoom * Math.min(box.width, box.height)) / (2 * reach);
    const [mx, my] = [box.left + box.width / 2, box.top + box.height / 2], place = ([x, y, z]) => [mx + scale * x, my - scale * y, z];
    project();
    order.sort((a, b) => projected[3 * a + 2] - projected[3 * b + 2]);
    ctx.save();
    ctx.beginPath(); ctx.rect(0, 0, box.left + box.width, stage.height); ctx.clip();
    const ends = corners.map((c) => place(seen(c)));
    const edges = EDGES.filter(() => ends.length).map(([a, b]) => [ends[a], ends[b]]).sort((a, b) => a[0][2] + a[1][2] - b[0][2] - b[1][2]);
    ctx.strokeStyle = theme.line;
    const line = ([a, b]) => { ctx.beginPath(); ctx.moveTo(a[0], a[1]); ctx.lineTo(b[0], b[1]); ctx.stroke(); };
    ctx.lineWidth = 1; ctx.globalAlpha = 0.7;
    edges.slice(0, 9).forEach(line);
    const arrows = vibration.length > 0 && model.get("arrows");
    shrink = arrows ? SHRUNK : 1;
    for (let k = 0; k < count; k++) {
      const i = order[k], px = projected[3 * i], py = projected[3 * i + 1], depth = projected[3 * i + 2], r = shrink * scale * radii[i];
      // far atoms fade into the paper, but hide what is behind them
      const alpha = Math.min(1, Math.max(0.55, 0.85 + (0.3 * depth) / reach));
      if (alpha < 1) {
        ctx.globalAlpha = 1;
        ctx.fillStyle = theme.paper;
        ctx.beginPath(); ctx.arc(px, py, 0.96 * r, 0, 2 * Math.PI); ctx.fill();
      }
      ctx.globalAlpha = alpha;
      ctx.drawImage(sprites[i], px - r, py - r, 2 * r, 2 * r);
      if (arrows) drawArrow(ctx, theme, i, alpha);
    }
    ctx.globalAlpha = 0.7;
    edges.slice(9).forEach(line);
    ctx.restore();
    ctx.globalAlpha = 1;
    if (key) drawKey(ctx, theme, { box }, key);
    cost = performance.now() - start;
  }

  // From the atom at rest along its displacement, but longer: where it will be, for waves that run; where it
  // can be, for waves that stand, which an arrow that shrinks and turns over would hide.
  function drawArrow(ctx, theme, i, alpha) {
    const [c, s] = parts === 6 ? [Math.cos(phase), Math.sin(phase)] : [1, 0], long = LONG * model.get("amplitude") * scale;
    const u = [0, 1, 2].map((x) => displacement(i, x, c, s));
    const [dx, dy] = [turn[0], turn[1]].map((row, k) => (k ? -1 : 1) * long * (row[0] * u[0] + row[1] * u[1] + row[2] * u[2]));
    const length = Math.hypot(dx, dy);
    if (length < 3) return;
    const rest = [0, 1, 2].map((x) => positions[3 * i + x] - centre[x]), dot = (row) => row[0] * rest[0] + row[1] * rest[1] + row[2] * rest[2];
    const px = box.left + box.width / 2 + scale * dot(turn[0]), py = box.top + box.height / 2 - scale * dot(turn[1]);
    const [ex, ey] = [dx / length, dy / length], head = Math.max(4, HEAD * length), neck = length - head, wide = 0.42 * head;
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = ctx.fillStyle = theme.ink;
    ctx.lineWidth = Math.max(1.2, STEM * scale);
    ctx.beginPath(); ctx.moveTo(px, py); ctx.lineTo(px + ex * Math.max(0, neck), py + ey * Math.max(0, neck)); ctx.stroke();
    ctx.beginPath(); ctx.moveTo(px + dx, py + dy);
    ctx.lineTo(px + ex * neck - ey * wide, py + ey * neck + ex * wide); ctx.lineTo(px + ex * neck + ey * wide, py + ey * neck - ex * wide);
    ctx.closePath(); ctx.fill();
  }

  function sketch(ctx, theme) {
    const active = model.get("active");
    if (active === null || !projected || active >= count) return;
    const px = projected[3 * active], py = projected[3 * active + 1], r = shrink * scale * radii[active];
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
  function reset() { turn = START.map((row) => [...row]); zoom = home; stage.hideTip(); stage.refresh(); }

  function under([px, py]) {
    for (let k = count - 1; k >= 0; k--) {
      const i = order[k];
      if (Math.hypot(px - projected[3 * i], py - projected[3 * i + 1]) <= shrink * scale * radii[i]) return i;
    }
    return null;
  }

  // What is on the screen, on paper of the theme's colour, as a file of the browser's.
  function save() {
    const [canvas, link] = [document.createElement("canvas"), document.createElement("a")], ctx = canvas.getContext("2d");
    [canvas.width, canvas.height] = [stage.layers[0].width, stage.layers[0].height];
    ctx.fillStyle = stage.theme.paper;
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    for (const layer of stage.layers) ctx.drawImage(layer, 0, 0);
    link.href = canvas.toDataURL("image/png");
    link.download = model.get("picture_name");
    link.click();
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
    stage.showTip(title, rows, projected[3 * found], projected[3 * found + 1]);
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
    " ": () => toggle("playing"), a: () => toggle("arrows"), s: save,
    PageUp: () => model.send({ step: -1 }), PageDown: () => model.send({ step: 1 }),
  };
  stage.node.addEventListener("keydown", (event) => {
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || !projected || !KEYS[name]) return;
    if (/^( |a|Page.*)$/.test(name) && !vibration.length) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on the same keys
    KEYS[name]();
  });

  // ---- life ----
  // Where an atom is on the page, for tests and for scripts that point at it.
  root.atomPosition = (i) => {
    const frame = stage.node.getBoundingClientRect();
    return [frame.left + projected[3 * i], frame.top + projected[3 * i + 1]];
  };
  // nothing moves where nobody looks
  const watch = new IntersectionObserver(([entry]) => { inView = entry.isIntersecting; noteMotion(); });
  watch.observe(stage.node);
  const stop = [
    listen(model, DATA, note),
    listen(model, MOTION, noteMotion),
    listen(model, ["active"], () => { root.dataset.active = model.get("active") ?? ""; stage.refresh(false); }),
    listen(model, ["error"], () => showError(error, model)),
  ];
  note();
  showError(error, model);
  return () => { stop.forEach((f) => f()); watch.disconnect(); cancelAnimationFrame(frame); stage.dispose(); };
}

export default { initialize, render };

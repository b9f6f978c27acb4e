// Shared by the canvas widgets: colours, numbers, ticks, axes, colour bars, themes and a sharp canvas.
// matterscape_widgets.canvas joins this file with the module of one widget.

// ---- colours -------------------------------------------------------------------------------------------------------

// OKLCH (Ottosson 2020) to sRGB in 0..255; the chroma shrinks until the colour exists on a screen.
function oklch(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  for (let c = chroma; ; c -= 0.004) {
    const a = c * Math.cos(angle), b = c * Math.sin(angle);
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    const linear = [
      4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
      -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
      -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
    ];
    if (c <= 0 || linear.every((v) => v >= -1e-4 && v <= 1.0001)) {
      return linear.map((v) => {
        const u = Math.min(1, Math.max(0, v));
        return Math.round(255 * (u <= 0.0031308 ? 12.92 * u : 1.055 * u ** (1 / 2.4) - 0.055));
      });
    }
  }
}

// Lightness rises linearly, so equal steps of the value look equally large, in grey print and to the colour-blind too.
const SEQUENTIAL = Array.from({ length: 256 }, (_, i) => {
  const t = i / 255;
  return oklch(0.3 + 0.58 * t, 0.13 - 0.03 * Math.sin(Math.PI * t) + 0.03 * t, 285 - 185 * t);
});
const CATEGORIES = [
  [0.55, 0.15, 255], [0.72, 0.15, 60], [0.6, 0.13, 155], [0.56, 0.19, 25], [0.5, 0.16, 305], [0.72, 0.11, 205],
  [0.68, 0.16, 350], [0.66, 0.13, 115], [0.44, 0.08, 60], [0.58, 0.04, 250], [0.8, 0.14, 95], [0.4, 0.1, 150],
];

const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
const SEQUENTIAL_CSS = SEQUENTIAL.map(css);
const categoryCss = (index, theme) => {
  const [lightness, chroma, hue] = CATEGORIES[index % CATEGORIES.length];
  return css(oklch(lightness + (theme.dark ? 0.1 : 0), chroma, hue));
};
const sequentialIndex = (value, low, high) =>
  high > low ? Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low)))) : 127;

// ---- theme ---------------------------------------------------------------------------------------------------------

function readTheme(root) {
  const style = getComputedStyle(root);
  const get = (name) => style.getPropertyValue(name).trim();
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = get("--matterscape-paper");
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  return {
    ink: get("--matterscape-ink"), soft: get("--matterscape-soft"), line: get("--matterscape-line"),
    grid: get("--matterscape-grid"), paper: get("--matterscape-paper"), accent: get("--matterscape-accent"),
    missing: get("--matterscape-missing"), font: style.fontFamily, dark: 0.3 * r + 0.59 * g + 0.11 * b < 128,
  };
}

// ---- numbers and ticks ---------------------------------------------------------------------------------------------

const superscript = (n) => String(n).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
const minus = (text) => text.replace(/^-/, "−");
const decimals = (step) => Math.max(0, Math.min(12, -Math.floor(Math.log10(step) + 1e-9)));

// One number with the resolution that its axis deserves.
function formatValue(value, span) {
  if (!Number.isFinite(value)) return "missing";
  const size = Math.abs(value);
  if (size >= 1e7 || (size > 0 && size < 1e-4)) {
    const [mantissa, exponent] = value.toExponential(3).split("e");
    return `${minus(String(Number(mantissa)))} × 10${superscript(Number(exponent))}`;
  }
  const resolution = span > 0 ? span * 1e-4 : Math.max(size, 1e-4) * 1e-4;
  return minus(String(Number(value.toFixed(Math.min(8, decimals(resolution))))));
}

function linearTicks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k <= Math.floor(high / step + 1e-6); k++) ticks.push(k * step);
  const size = Math.max(...ticks.map(Math.abs), 0);
  const exponent = size > 0 ? Math.floor(Math.log10(size) + 1e-9) : 0;
  const label = exponent >= 6 || exponent < -3
    ? (v) => v === 0 ? "0" : `${minus((v / 10 ** exponent).toFixed(decimals(step / 10 ** exponent)))}×10${superscript(exponent)}`
    : (v) => minus(v.toFixed(decimals(step)));
  return { major: ticks.map((at) => ({ at, text: label(at) })), minor: [] };
}

// Positions are log10 of the values.
function logTicks(low, high, count) {
  const first = Math.ceil(low - 1e-6), last = Math.floor(high + 1e-6), minor = [];
  for (let decade = Math.floor(low); decade <= last; decade++) {
    for (let m = 2; m < 10; m++) minor.push({ at: decade + Math.log10(m), value: m, decade });
  }
  const inside = minor.filter((t) => t.at >= low && t.at <= high);
  const power = (n) => (n >= -2 && n <= 3 ? String(Number((10 ** n).toFixed(3))) : `10${superscript(n)}`);
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const major = [];
  for (let decade = first; decade <= last; decade++) {
    if ((decade - first) % stride === 0) major.push({ at: decade, text: power(decade) });
  }
  if (major.length < 2) {
    const wanted = inside.length > 6 ? [2, 5] : [2, 3, 4, 5, 6, 7, 8, 9];
    for (const t of inside.filter((t) => wanted.includes(t.value))) {
      major.push({ at: t.at, text: t.decade >= -2 && t.decade <= 3 ? power(t.decade + Math.log10(t.value)) : `${t.value}×10${superscript(t.decade)}` });
    }
  }
  return { major, minor: stride === 1 ? inside.map((t) => ({ at: t.at })) : [] };
}

const ticksOf = (axis, count) => (axis.log ? logTicks : linearTicks)(axis.range[0], axis.range[1], count);

// The range of finite values with a margin; a single value gets a neighbourhood.
function paddedRange(low, high, margin = 0.05) {
  if (!(low <= high)) return [0, 1];
  const pad = high > low ? (high - low) * margin : Math.max(Math.abs(low) * 0.1, 0.5);
  return [low - pad, high + pad];
}

function extent(arrays) {
  let low = Infinity, high = -Infinity;
  for (const values of arrays) {
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return [low, high];
}

// ---- axes, colour bar, legend --------------------------------------------------------------------------------------

const TEXT = 11.5, NAME = 12.5, BAR = 12;
const font = (theme, size, weight = 400) => `${weight} ${size}px ${theme.font}`;

// The box left for the data once tick labels, axis names and the key on the right have their room.
function layoutPlot(ctx, theme, width, height, x, y, key) {
  ctx.font = font(theme, TEXT);
  const top = 12, bottom = x.label ? 46 : 28;
  const yTicks = ticksOf(y, Math.max(2, Math.floor((height - top - bottom) / 42)));
  const widest = Math.max(...yTicks.major.map((t) => ctx.measureText(t.text).width), 10);
  const left = Math.ceil(widest) + (y.label ? 36 : 16);
  const right = key ? keyWidth(ctx, theme, key) : 16;
  const box = { left, top, width: Math.max(40, width - left - right), height: Math.max(40, height - top - bottom) };
  const xTicks = ticksOf(x, Math.max(2, Math.floor(box.width / (x.log ? 44 : 68))));
  return { box, xTicks, yTicks };
}

const toX = (box, axis, value) => box.left + ((value - axis.range[0]) / (axis.range[1] - axis.range[0])) * box.width;
const toY = (box, axis, value) => box.top + box.height * (1 - (value - axis.range[0]) / (axis.range[1] - axis.range[0]));
const fromX = (box, axis, px) => axis.range[0] + ((px - box.left) / box.width) * (axis.range[1] - axis.range[0]);
const fromY = (box, axis, py) => axis.range[0] + (1 - (py - box.top) / box.height) * (axis.range[1] - axis.range[0]);

function drawGrid(ctx, theme, plot, x, y) {
  const { box } = plot, crisp = (v) => Math.round(v) + 0.5;
  ctx.strokeStyle = theme.grid;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const { at } of plot.xTicks.major) {
    const px = crisp(toX(box, x, at));
    ctx.moveTo(px, box.top); ctx.lineTo(px, box.top + box.height);
  }
  for (const { at } of plot.yTicks.major) {
    const py = crisp(toY(box, y, at));
    ctx.moveTo(box.left, py); ctx.lineTo(box.left + box.width, py);
  }
  ctx.stroke();
}

function drawAxes(ctx, theme, plot, x, y) {
  const { box } = plot, crisp = (v) => Math.round(v) + 0.5, foot = box.top + box.height;
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(crisp(box.left), box.top); ctx.lineTo(crisp(box.left), crisp(foot)); ctx.lineTo(box.left + box.width, crisp(foot));
  for (const [ticks, length] of [[plot.xTicks.major, 5], [plot.xTicks.minor, 3]]) {
    for (const { at } of ticks) { const px = crisp(toX(box, x, at)); ctx.moveTo(px, foot); ctx.lineTo(px, foot + length); }
  }
  for (const [ticks, length] of [[plot.yTicks.major, 5], [plot.yTicks.minor, 3]]) {
    for (const { at } of ticks) { const py = crisp(toY(box, y, at)); ctx.moveTo(box.left, py); ctx.lineTo(box.left - length, py); }
  }
  ctx.stroke();
  ctx.fillStyle = theme.soft;
  ctx.font = font(theme, TEXT);
  ctx.textAlign = "center"; ctx.textBaseline = "top";
  for (const { at, text } of plot.xTicks.major) ctx.fillText(text, toX(box, x, at), foot + 8);
  ctx.textAlign = "right"; ctx.textBaseline = "middle";
  for (const { at, text } of plot.yTicks.major) ctx.fillText(text, box.left - 8, toY(box, y, at) + 0.5);
  ctx.fillStyle = theme.ink;
  ctx.font = font(theme, NAME, 500);
  ctx.textAlign = "center";
  if (x.label) { ctx.textBaseline = "alphabetic"; ctx.fillText(x.label, box.left + box.width / 2, foot + 38, box.width); }
  if (y.label) drawSideways(ctx, y.label, 13, box.top + box.height / 2, box.height);
}

function drawSideways(ctx, text, px, py, room) {
  ctx.save();
  ctx.translate(px, py);
  ctx.rotate(-Math.PI / 2);
  ctx.textBaseline = "middle";
  ctx.fillText(text, 0, 0, room);
  ctx.restore();
}

// key: {label, range} for a colour bar, {label, categories} for a legend of categories.
const clip = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function keyWidth(ctx, theme, key) {
  ctx.font = font(theme, TEXT);
  const texts = key.categories ? key.categories.map((c) => clip(c, 18)) : linearTicks(...key.range, 5).major.map((t) => t.text);
  const widest = Math.max(...texts.map((t) => ctx.measureText(t).width), 12);
  if (!key.categories) return Math.ceil(18 + BAR + 8 + widest + (key.label ? 24 : 8));
  ctx.font = font(theme, NAME, 500);
  return Math.ceil(18 + Math.max(18 + widest, ctx.measureText(clip(key.label, 20)).width) + 8);
}

function drawKey(ctx, theme, plot, key) {
  const { box } = plot, left = box.left + box.width + 18;
  if (key.categories) {
    ctx.textAlign = "left"; ctx.textBaseline = "middle";
    ctx.fillStyle = theme.ink; ctx.font = font(theme, NAME, 500);
    let py = box.top + 8;
    if (key.label) { ctx.fillText(clip(key.label, 20), left, py); py += 22; }
    ctx.font = font(theme, TEXT);
    key.categories.forEach((name, k) => {
      ctx.fillStyle = categoryCss(k, theme);
      ctx.beginPath(); ctx.arc(left + 6, py, 5, 0, 2 * Math.PI); ctx.fill();
      ctx.fillStyle = theme.soft;
      ctx.fillText(clip(name, 18), left + 18, py + 0.5);
      py += 20;
    });
    return;
  }
  const [low, high] = key.range, gradient = ctx.createLinearGradient(0, box.top + box.height, 0, box.top);
  for (let i = 0; i <= 16; i++) gradient.addColorStop(i / 16, SEQUENTIAL_CSS[Math.round((i / 16) * 255)]);
  ctx.fillStyle = gradient;
  ctx.beginPath(); ctx.roundRect(left, box.top, BAR, box.height, 2); ctx.fill();
  const axis = { range: high > low ? [low, high] : paddedRange(low, high) };
  ctx.strokeStyle = theme.line; ctx.fillStyle = theme.soft; ctx.font = font(theme, TEXT);
  ctx.textAlign = "left"; ctx.textBaseline = "middle";
  let widest = 0;
  for (const { at, text } of linearTicks(...axis.range, 5).major) {
    const py = Math.round(toY(box, axis, at)) + 0.5;
    ctx.beginPath(); ctx.moveTo(left + BAR, py); ctx.lineTo(left + BAR + 4, py); ctx.stroke();
    ctx.fillText(text, left + BAR + 8, py + 0.5);
    widest = Math.max(widest, ctx.measureText(text).width);
  }
  if (key.label) {
    ctx.fillStyle = theme.ink; ctx.font = font(theme, NAME, 500); ctx.textAlign = "center";
    drawSideways(ctx, key.label, left + BAR + 8 + widest + 14, box.top + box.height / 2, box.height);
  }
}

function drawSentence(ctx, theme, box, text) {
  ctx.fillStyle = theme.soft; ctx.font = font(theme, 13);
  ctx.textAlign = "center"; ctx.textBaseline = "middle";
  ctx.fillText(text, box.left + box.width / 2, box.top + box.height / 2, box.width);
}

// ---- elements ------------------------------------------------------------------------------------------------------

function element(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

// Two canvases, data below and marks above, redrawn at most once per animation frame, sharp on every screen.
class Stage {
  constructor(root, { draw, sketch }) {
    this.root = root;
    this.draw = draw;
    this.sketch = sketch;
    this.node = element("div", "matterscape-stage", root, { tabindex: "0" });
    this.layers = [0, 1].map(() => element("canvas", "matterscape-canvas", this.node));
    this.contexts = this.layers.map((canvas) => canvas.getContext("2d"));
    this.tip = element("div", "matterscape-tip", this.node, { role: "tooltip" });
    this.voice = element("div", "matterscape-voice", this.node, { "aria-live": "polite" });
    this.pending = 0;
    this.stale = true;
    this.count = 0;
    this.onResize = () => this.refresh();
    this.observer = new ResizeObserver(this.onResize);
    this.observer.observe(this.node);
    window.addEventListener("resize", this.onResize);
    // A theme announces itself by attributes of the page; its style sheet may arrive a moment later.
    this.onTheme = () => {
      for (const delay of [0, 300]) setTimeout(() => { this.theme = null; this.refresh(); }, delay);
    };
    this.themes = new MutationObserver(this.onTheme);
    for (const node of [document.documentElement, document.body]) this.themes.observe(node, { attributes: true });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.onTheme);
    // A ring around the drawing guides the keyboard; the mouse needs none.
    this.node.addEventListener("pointerdown", () => this.node.classList.add("matterscape-pointed"));
    this.node.addEventListener("keydown", () => this.node.classList.remove("matterscape-pointed"));
  }

  refresh(stale = true) {
    this.stale ||= stale;
    this.pending ||= requestAnimationFrame(() => { this.pending = 0; this.paint(); });
  }

  paint() {
    this.width = this.node.clientWidth;
    this.height = this.node.clientHeight;
    if (!this.width || !this.height) return;
    const ratio = window.devicePixelRatio || 1;
    this.theme ??= readTheme(this.root);
    const jobs = this.stale ? [this.draw, this.sketch] : [null, this.sketch];
    jobs.forEach((job, k) => {
      if (!job) return;
      const canvas = this.layers[k], ctx = this.contexts[k];
      const [w, h] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
      if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      ctx.clearRect(0, 0, this.width, this.height);
      job(ctx, this.theme);
    });
    if (this.stale) this.root.dataset.draws = ++this.count;
    this.stale = false;
  }

  position(event) {
    const frame = this.node.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  // rows: [[name, value], ...] under a title, beside the point (px, py); text only, never markup.
  showTip(title, rows, px, py) {
    this.tip.replaceChildren();
    element("div", "matterscape-tip-title", this.tip).textContent = title;
    for (const [name, value] of rows) {
      const row = element("div", "matterscape-tip-row", this.tip);
      element("span", "matterscape-tip-name", row).textContent = name;
      element("span", "matterscape-tip-value", row).textContent = value;
    }
    this.tip.style.display = "block";
    const { offsetWidth: w, offsetHeight: h } = this.tip;
    const left = px + 14 + w > this.width ? px - 14 - w : px + 14;
    this.tip.style.left = `${Math.max(2, Math.min(left, this.width - w - 2))}px`;
    this.tip.style.top = `${Math.max(2, Math.min(py - h / 2, this.height - h - 2))}px`;
  }

  hideTip() { this.tip.style.display = "none"; }
  say(text) { this.voice.textContent = text; }

  dispose() {
    cancelAnimationFrame(this.pending);
    this.observer.disconnect();
    window.removeEventListener("resize", this.onResize);
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.onTheme);
  }
}

// ---- model ---------------------------------------------------------------------------------------------------------

// A float32 column packed by matterscape_widgets.canvas.pack: value = offset + scale * stored.
function column(model, name, [offset, scale]) {
  const view = model.get(name);
  if (!view?.byteLength) return new Float64Array(0);
  const stored = new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  const values = new Float64Array(stored.length);
  for (let i = 0; i < stored.length; i++) values[i] = offset + scale * stored[i];
  return values;
}

function listen(model, names, callback) {
  for (const name of names) model.on(`change:${name}`, callback);
  return () => { for (const name of names) model.off(`change:${name}`, callback); };
}

function showError(node, model) {
  node.textContent = model.get("error");
  node.style.display = model.get("error") ? "" : "none";
}

// Curve: lines, points, error bands and heat maps; see curve.py for the traits.

const DATA = ["_data", "_series", "_matrix", "_heat", "x_label", "y_label", "x_scale", "y_scale", "colour_label", "height"];
const REACH = 24;

function render({ model, el }) {
  const root = element("div", "matterscape-view matterscape-curve", el);
  const legend = element("div", "matterscape-bar matterscape-legend", root);
  const error = element("div", "matterscape-error", root, { role: "alert" });
  const stage = new Stage(root, { draw, sketch });
  let series = [], heat = null, x, y, plot = null, hovered = null, outdated = true, picture = null;

  // ---- data ----
  function readData() {
    const view = model.get("_data");
    const all = new Float32Array(view?.byteLength ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : 0);
    let start = 0;
    series = model.get("_series").map(({ name, style, n, frames }) => {
      const one = { name, style, n };
      for (const [part, [offset, scale]] of frames) {
        one[part] = Float64Array.from(all.subarray(start, start + n), (v) => offset + scale * v);
        start += n;
      }
      return one;
    });
    heat = null;
    const spec = model.get("_heat");
    if (spec.rows) {
      const values = column(model, "_matrix", spec.frame);
      heat = { ...spec, values, range: extent([values]) };
    }
    picture = null;
    const xs = series.map((s) => s.x), ys = series.flatMap((s) => [s.y, s.low ?? [], s.high ?? []]);
    if (heat) { xs.push(heat.extent.slice(0, 2)); ys.push(heat.extent.slice(2)); }
    const [logX, logY] = [model.get("x_scale") === "log", model.get("y_scale") === "log"];
    x = { log: logX, label: model.get("x_label"), range: paddedRange(...extent(xs), heat ? 0 : 0.03) };
    y = { log: logY, label: model.get("y_label"), range: paddedRange(...extent(ys), heat ? 0 : 0.06) };
    outdated = false;
    hovered = null;
    stage.hideTip();
    stage.node.setAttribute("role", "application");
    stage.node.setAttribute("aria-label", `Plot of ${y.label || "y"} against ${x.label || "x"}: `
      + `${[heat ? "heat map" : "", ...series.map((s) => s.name)].filter(Boolean).join(", ") || "empty"}. `
      + "Left and right arrows walk along a series, up and down change the series.");
    root.dataset.series = series.length;
    root.dataset.points = series.reduce((sum, s) => sum + s.n, 0);
  }

  function noteData() {
    outdated = true;
    stage.node.style.height = `${model.get("height")}px`;
    stage.refresh();
  }

  // ---- drawing ----
  function draw(ctx, theme) {
    if (outdated) readData();
    const key = heat && heat.range[0] <= heat.range[1] ? { label: model.get("colour_label"), range: heat.range } : null;
    drawLegend(theme);
    plot = layoutPlot(ctx, theme, stage.width, stage.height, x, y, key);
    const { box } = plot;
    if (!heat) drawGrid(ctx, theme, plot, x, y);
    ctx.save();
    ctx.beginPath(); ctx.rect(box.left, box.top, box.width, box.height); ctx.clip();
    if (heat) drawHeat(ctx, theme);
    series.forEach((one, k) => drawBand(ctx, one, seriesColour(k, theme)));
    series.forEach((one, k) => drawSeries(ctx, theme, one, seriesColour(k, theme)));
    ctx.restore();
    drawAxes(ctx, theme, plot, x, y);
    if (key) drawKey(ctx, theme, plot, key);
    if (!series.some((s) => s.n) && !heat) drawSentence(ctx, theme, box, "Nothing to plot yet.");
  }

  // Over a heat map the series are drawn in a colour that the map does not use.
  const seriesColour = (k, theme) => (heat ? css(oklch(0.68, 0.2, 20 + 40 * k)) : categoryCss(k, theme));
  const place = (one, i) => [toX(plot.box, x, one.x[i]), toY(plot.box, y, one.y[i])];

  function drawLegend(theme) {
    legend.style.display = series.length ? "" : "none";
    legend.replaceChildren();
    series.forEach((one, k) => {
      const entry = element("span", "matterscape-entry", legend);
      element("span", `matterscape-swatch matterscape-swatch-${one.style}`, entry).style.color = seriesColour(k, theme);
      entry.append(one.name);
    });
  }

  function drawHeat(ctx, theme) {
    const { rows, columns, values, range } = heat;
    if (!picture || picture.dark !== theme.dark) {
      picture = document.createElement("canvas");
      picture.dark = theme.dark;
      picture.width = columns; picture.height = rows;
      const image = new ImageData(columns, rows);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const value = values[r * columns + c], at = 4 * ((rows - 1 - r) * columns + c);
          if (Number.isNaN(value)) continue; // transparent: the paper shows
          image.data.set([...SEQUENTIAL[sequentialIndex(value, ...range)], 255], at);
        }
      }
      picture.getContext("2d").putImageData(image, 0, 0);
    }
    const [x0, x1, y0, y1] = heat.extent, left = toX(plot.box, x, x0), top = toY(plot.box, y, y1);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(picture, left, top, toX(plot.box, x, x1) - left, toY(plot.box, y, y0) - top);
  }

  function drawBand(ctx, one, colour) {
    if (!one.low) return;
    ctx.fillStyle = colour; ctx.strokeStyle = colour; ctx.globalAlpha = one.style === "points" ? 0.7 : 0.18; ctx.lineWidth = 1.2;
    ctx.beginPath();
    if (one.style === "points") {
      for (let i = 0; i < one.n; i++) {
        const px = toX(plot.box, x, one.x[i]);
        ctx.moveTo(px, toY(plot.box, y, one.low[i])); ctx.lineTo(px, toY(plot.box, y, one.high[i]));
      }
      ctx.stroke();
    } else {
      for (const [from, to] of runs(one)) {
        for (let i = from; i < to; i++) ctx.lineTo(toX(plot.box, x, one.x[i]), toY(plot.box, y, one.high[i]));
        for (let i = to - 1; i >= from; i--) ctx.lineTo(toX(plot.box, x, one.x[i]), toY(plot.box, y, one.low[i]));
        ctx.closePath(); ctx.fill(); ctx.beginPath();
      }
    }
    ctx.globalAlpha = 1;
  }

  // Stretches without missing values.
  function runs(one) {
    const found = [], known = (i) => [one.x, one.y, one.low, one.high].every((part) => !part || !Number.isNaN(part[i]));
    for (let i = 0, from = -1; i <= one.n; i++) {
      const good = i < one.n && known(i);
      if (good && from < 0) from = i;
      if (!good && from >= 0) { found.push([from, i]); from = -1; }
    }
    return found;
  }

  function drawSeries(ctx, theme, one, colour) {
    ctx.strokeStyle = colour; ctx.fillStyle = colour; ctx.lineWidth = 1.8; ctx.lineJoin = "round";
    if (one.style !== "points") {
      ctx.beginPath();
      let down = false;
      for (let i = 0; i < one.n; i++) {
        const [px, py] = place(one, i);
        if (Number.isNaN(px) || Number.isNaN(py)) { down = false; continue; }
        down ? ctx.lineTo(px, py) : ctx.moveTo(px, py);
        down = true;
      }
      ctx.stroke();
    }
    if (one.style !== "line") {
      const r = one.n > 2000 ? 1.8 : 3.2, crowded = one.n > 150;  // outlines of a crowd would cover its points
      ctx.lineWidth = 0.7; ctx.strokeStyle = theme.paper; ctx.beginPath();
      for (let i = 0; i < one.n; i++) {
        const [px, py] = place(one, i);
        if (!Number.isNaN(px) && !Number.isNaN(py)) { ctx.moveTo(px + r, py); ctx.arc(px, py, r, 0, 2 * Math.PI); }
      }
      ctx.globalAlpha = crowded ? 0.75 : 1;
      ctx.fill();
      ctx.globalAlpha = 1;
      if (!crowded) ctx.stroke();
    }
  }

  function sketch(ctx, theme) {
    if (!plot || outdated) return;
    for (const [mark, style, width] of [[hovered, theme.ink, 1.5], [current(), theme.accent, 2.5]]) {
      if (!mark) continue;
      const [px, py] = place(series[mark[0]], mark[1]);
      ctx.strokeStyle = style; ctx.lineWidth = width;
      ctx.beginPath(); ctx.arc(px, py, 6, 0, 2 * Math.PI); ctx.stroke();
    }
  }

  // ---- what the user does ----
  function current() {
    const active = model.get("active");
    const k = active ? series.findIndex((s) => s.name === active[0]) : -1;
    return k >= 0 && active[1] < series[k].n ? [k, active[1]] : null;
  }

  function nearest(px, py) {
    let best = null, bound = REACH;
    series.forEach((one, k) => {
      for (let i = 0; i < one.n; i++) {
        const [qx, qy] = place(one, i), distance = Math.hypot(qx - px, qy - py);
        if (distance < bound) { bound = distance; best = [k, i]; }
      }
    });
    return best;
  }

  function readOut(axis, value) {
    return axis.log ? formatValue(10 ** value, 0) : formatValue(value, axis.range[1] - axis.range[0]);
  }

  function describe([k, i]) {
    const one = series[k];
    const rows = [[x.label || "x", readOut(x, one.x[i])], [y.label || "y", readOut(y, one.y[i])]];
    if (one.low) rows.push(["from … to", `${readOut(y, one.low[i])} … ${readOut(y, one.high[i])}`]);
    return [one.name, rows];
  }

  function describeCell(px, py) {
    const at = [fromX(plot.box, x, px), fromY(plot.box, y, py)], [x0, x1, y0, y1] = heat.extent;
    const c = Math.floor(((at[0] - x0) / (x1 - x0)) * heat.columns), r = Math.floor(((at[1] - y0) / (y1 - y0)) * heat.rows);
    if (c < 0 || r < 0 || c >= heat.columns || r >= heat.rows) return null;
    const title = formatValue(heat.values[r * heat.columns + c], heat.range[1] - heat.range[0]);
    return [`${model.get("colour_label") || "value"}: ${title}`, [[x.label || "x", readOut(x, at[0])], [y.label || "y", readOut(y, at[1])]]];
  }

  function activate(mark) {
    model.set("active", [series[mark[0]].name, mark[1]]);
    model.save_changes();
    const [title, rows] = describe(mark);
    stage.say([title, ...rows.map((row) => row.join(" "))].join(", "));
    stage.refresh(false);
  }

  stage.node.addEventListener("pointermove", (event) => {
    if (!plot || outdated) return;
    const [px, py] = stage.position(event), { box } = plot;
    const within = px >= box.left && px <= box.left + box.width && py >= box.top && py <= box.top + box.height;
    hovered = within ? nearest(px, py) : null;
    const cell = within && heat && !hovered ? describeCell(px, py) : null;
    if (hovered) stage.showTip(...describe(hovered), ...place(series[hovered[0]], hovered[1]));
    else if (cell) stage.showTip(...cell, px, py);
    else stage.hideTip();
    stage.refresh(false);
  });
  stage.node.addEventListener("pointerleave", () => { hovered = null; stage.hideTip(); stage.refresh(false); });
  stage.node.addEventListener("click", (event) => {
    stage.node.focus({ preventScroll: true });
    const found = plot && !outdated ? nearest(...stage.position(event)) : null;
    if (found) activate(found);
  });
  const MOVES = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  stage.node.addEventListener("keydown", (event) => {
    const step = MOVES[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || !series.length) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on the same keys
    const [k, i] = current() ?? [0, -step[1]];
    const to = [Math.max(0, Math.min(series.length - 1, k + step[0])), 0];
    to[1] = Math.max(0, Math.min(series[to[0]].n - 1, i + step[1]));
    if (!series[to[0]].n) return;
    activate(to);
    stage.showTip(...describe(to), ...place(series[to[0]], to[1]));
  });

  // Where a point of a series is on the page, for tests and for scripts that point at it.
  root.pointPosition = (name, i) => {
    const frame = stage.node.getBoundingClientRect(), [px, py] = place(series.find((s) => s.name === name), i);
    return [frame.left + px, frame.top + py];
  };
  const stop = [listen(model, DATA, noteData), listen(model, ["active"], () => stage.refresh(false)),
    listen(model, ["error"], () => showError(error, model))];
  noteData();
  showError(error, model);
  return () => { stop.forEach((f) => f()); stage.dispose(); };
}

export default { initialize, render };

// The title, the status line and the readouts of a study: lines of text that follow their traits.

function part(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function render({ model, el }) {
  const node = document.createElement("div");
  el.append(node);
  const draw = () => {
    const kind = model.get("kind");
    node.className = { title: "matterscape-title", readout: "readout" }[kind] ?? "matterscape-status";
    node.dataset.kind = kind;
    if (kind === "readout") {
      const value = part("span", "readout-value", model.get("text"));
      if (model.get("unit")) value.append(" ", part("span", "readout-unit", model.get("unit")));
      node.replaceChildren(part("span", "readout-label", model.get("label")), value);
      return;
    }
    node.setAttribute("role", { title: "heading", error: "alert" }[kind] ?? "status");
    if (kind === "title") node.setAttribute("aria-level", "3");
    node.textContent = model.get("text");
  };
  const names = ["text", "kind", "label", "unit"];
  for (const name of names) model.on(`change:${name}`, draw);
  draw();
  return () => { for (const name of names) model.off(`change:${name}`, draw); };
}

export default { initialize, render };

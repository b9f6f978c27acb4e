// The card of one point: its numbers, what the model says about it, and its neighbours as buttons.

function part(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function render({ model, el }) {
  const node = part("section", "matterscape-card");
  el.append(node);
  const draw = () => {
    const rows = part("div", "matterscape-card-rows");
    for (const [name, value, unit] of model.get("rows")) {
      const text = part("span", "matterscape-card-value", value);
      if (unit) text.append(part("span", "matterscape-card-unit", unit));
      rows.append(part("span", "matterscape-card-name", name), text);
    }
    node.replaceChildren(part("div", "matterscape-card-title", model.get("title")), rows);
    if (model.get("verdict")) {
      const verdict = part("p", "matterscape-card-verdict", model.get("verdict"));
      verdict.dataset.level = model.get("level");
      node.append(verdict);
    }
    const neighbours = model.get("neighbours");
    if (neighbours.length) {
      const list = part("div", "matterscape-card-neighbours");
      for (const [index, label, similarity] of neighbours) {
        const button = part("button", "matterscape-card-neighbour", label);
        button.type = "button";
        button.title = `cosine similarity ${similarity}`;
        button.append(part("span", "matterscape-card-similarity", similarity));
        button.addEventListener("click", () => {
          model.set("jump", index);
          model.save_changes();
        });
        list.append(button);
      }
      node.append(part("div", "matterscape-card-caption", "Nearest in feature space"), list);
    }
    node.dataset.point = model.get("point");
  };
  const names = ["title", "rows", "verdict", "level", "neighbours", "point"];
  for (const name of names) model.on(`change:${name}`, draw);
  draw();
  return () => { for (const name of names) model.off(`change:${name}`, draw); };
}

export default { initialize, render };

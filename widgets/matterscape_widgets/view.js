// Shared by all views: none is deaf to the kernel because it came late.

// A model of anywidget waits two seconds for its module. Where that takes longer, on a slow or busy machine, the model
// drops every message from then on, though its view is drawn when the module has come: as it was when it was created,
// for ever. Such a model tells itself by refusing an empty message; it then listens the way all other widgets do, and
// asks the kernel for what it has missed.
async function keepListening(manager, key) {
  const one = await manager.get_model(key);
  one._handle_comm_msg({ content: { data: {} } }).catch(() => {
    const listen = Object.getPrototypeOf(Object.getPrototypeOf(one))._handle_comm_msg;
    one.comm?.on_msg(listen.bind(one));
    one.comm?.send({ method: "request_state" }, one.callbacks());
  });
}

function initialize({ model }) {
  const kept = new Set();
  const keep = () => {
    for (const key of model.get("_listening").filter((key) => !kept.has(key))) {
      kept.add(key);
      keepListening(model.widget_manager, key).catch(() => {}); // closed before it could be found
    }
  };
  model.on("change:_listening", keep);
  keep();
}

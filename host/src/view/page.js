
{
  const events = JSON.parse(document.getElementById("events").textContent);
  const name = events.find((event) => event.properties.$ai_trace_name)?.properties.$ai_trace_name;
  if (name) document.title = `${name} · Claude Code session`;
  const trace = document.getElementById("trace");
  drawTrace(trace, events);
  // Keys work as soon as the page is there, and wherever was clicked.
  const list = trace.querySelector(".list");
  list.focus({ preventScroll: true });
  document.addEventListener("keydown", (e) => {
    if (e.target !== document.body || e.ctrlKey || e.metaKey || e.altKey) return;
    list.focus({ preventScroll: true });
    if (!list.dispatchEvent(new KeyboardEvent("keydown", { key: e.key, shiftKey: e.shiftKey, bubbles: true, cancelable: true }))) e.preventDefault();
  });
}


{
  const events = JSON.parse(document.getElementById("events").textContent);
  const name = events.find((event) => event.properties.$ai_trace_name)?.properties.$ai_trace_name;
  if (name) document.title = `${name} · Claude Code session`;
  drawTrace(document.getElementById("trace"), events);
}

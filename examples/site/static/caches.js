// Updates the numbers of /caches once a second while the page is visible.

const INTERVAL = 1000;

const dot = document.getElementById("live");
const liveText = document.getElementById("live-text");
const message = document.getElementById("message");
const last = document.getElementById("last");
let newest = 0;
let timer;

async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch("/caches/live", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`the site returned ${response.status}`);
    show(await response.json());
    live("live");
  } catch (error) {
    live("paused", `cannot update: ${error.message}`);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, INTERVAL);
}

function live(state, text = state) {
  dot.dataset.state = state;
  write(liveText, text);
}

function show({ aliases, layers, requests }) {
  layers.forEach(showLayer);
  aliases.forEach(showAlias);
  showRequests(requests);
}

function showLayer(layer) {
  const card = document.querySelector(`[data-layer="${layer.name}"]`);
  const fields = fieldsOf(card);
  for (const name of ["hits", "misses", "bypasses", "stored", "rejected"]) write(fields[name], count(layer[name]));
  write(fields.reasons, layer.reasons.map(([reason, times]) => `${reason} ${count(times)}`).join(" · "));
  const { hit, made } = layer.timings ?? {};
  write(fields.hit50, time(hit?.p50));
  write(fields.hit99, time(hit?.p99));
  write(fields.made50, time(made?.p50));
  write(fields.made99, time(made?.p99));
  write(fields.faster, hit && made ? `${count(Math.max(1, Math.round(made.p50 / hit.p50)))} ×` : "–");
  bar(card.querySelector('[data-bar="hit"]'), length(hit?.p50));
  bar(card.querySelector('[data-bar="made"]'), length(made?.p50));
}

// A logarithmic scale from 10 µs to 10 s: each factor of ten is a sixth of the bar.
function length(milliseconds) {
  return milliseconds === undefined ? 0 : Math.min(1, Math.max(0.02, (Math.log10(milliseconds) + 2) / 6));
}

function showAlias({ alias, entries, bytes, problem, calls }) {
  const row = document.querySelector(`[data-alias="${alias}"]`);
  const fields = fieldsOf(row);
  const lookups = calls.hits + calls.misses;
  write(fields.entries, count(entries));
  write(fields.bytes, size(bytes));
  write(fields.hits, count(calls.hits));
  write(fields.misses, count(calls.misses));
  write(fields.ratio, lookups ? `${Math.round((100 * calls.hits) / lookups)} %` : "–");
  bar(row.querySelector('[data-bar="ratio"]'), lookups ? calls.hits / lookups : 0);
  for (const name of ["lookup", "write"]) {
    write(fields[name], calls[name] ? `≤ ${time(calls[name].p50)} / ${time(calls[name].p99)}` : "–");
  }
  const problemRow = document.querySelector(`[data-problem="${alias}"]`);
  problemRow.hidden = !problem;
  write(problemRow.firstElementChild, problem ?? "");
}

function showRequests(requests) {
  if (!requests.length || requests[0].number === newest) return;
  newest = requests[0].number;
  last.replaceChildren(...requests.map(rowOf));
}

function rowOf({ at, method, path, status, milliseconds, outcome, cache_status }) {
  const row = document.createElement("tr");
  const label = document.createElement("span");
  label.className = `outcome ${outcome}`;
  label.textContent = outcome;
  row.append(cell(at, "number at"), cell(`${method} ${path}`, "path"), cell(status, "number"), cell(time(milliseconds), "number"), cell(label), cell(cache_status, "status"));
  return row;
}

function cell(content, kind = "") {
  const cell = document.createElement("td");
  cell.className = kind;
  cell.append(content);
  return cell;
}

function fieldsOf(element) {
  return Object.fromEntries([...element.querySelectorAll("[data-field]")].map((field) => [field.dataset.field, field]));
}

// Skips unchanged text, so that screen readers do not announce it again.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function bar(element, share) {
  element.style.setProperty("--share", share);
}

function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en");
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  return bytes < 10_000 ? `${count(bytes)} B` : bytes < 10_000_000 ? `${count(Math.round(bytes / 1000))} kB` : `${count(Math.round(bytes / 1_000_000))} MB`;
}

function time(milliseconds) {
  if (milliseconds === undefined) return "–";
  if (milliseconds < 1) return `${Math.round(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// Without this script, a button reloads the page.
document.addEventListener("submit", async (event) => {
  const { done } = event.submitter?.dataset ?? {};
  if (!done) return;
  event.preventDefault();
  try {
    const response = await fetch(event.target.action, { method: "POST", redirect: "manual", signal: AbortSignal.timeout(10_000) });
    const failed = response.type !== "opaqueredirect";
    write(message, failed ? `Failed: the site returned ${response.status}.` : done);
  } catch (error) {
    write(message, `Failed: ${error.message}`);
  }
  refresh();
});

document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();

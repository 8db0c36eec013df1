// Keeps the numbers of /caches live: asks for them once a second while somebody looks at the page.

const PAUSE = 1000;

const dot = document.getElementById("live");
const liveText = document.getElementById("live-text");
const said = document.getElementById("said");
const last = document.getElementById("last");
let newest = 0;
let waiting;

async function refresh() {
  clearTimeout(waiting);
  try {
    const response = await fetch("/caches/live", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`the site answered ${response.status}`);
    show(await response.json());
    live("live");
  } catch (error) {
    live("paused", `no numbers: ${error.message}`);
  }
  clearTimeout(waiting);
  if (!document.hidden) waiting = setTimeout(refresh, PAUSE);
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
  for (const name of ["hits", "misses", "bypasses", "stored", "refused"]) write(fields[name], count(layer[name]));
  write(fields.reasons, layer.reasons.map(([why, times]) => `${why} ${count(times)}`).join(" · "));
  const { hit, made } = layer.timings ?? {};
  write(fields.hit50, time(hit?.p50));
  write(fields.hit99, time(hit?.p99));
  write(fields.made50, time(made?.p50));
  write(fields.made99, time(made?.p99));
  write(fields.faster, hit && made ? `${count(Math.max(1, Math.round(made.p50 / hit.p50)))} ×` : "–");
  bar(card.querySelector('[data-bar="hit"]'), length(hit?.p50));
  bar(card.querySelector('[data-bar="made"]'), length(made?.p50));
}

// From 10 µs to 10 s, a sixth of the bar for each factor of ten.
function length(milliseconds) {
  return milliseconds === undefined ? 0 : Math.min(1, Math.max(0.02, (Math.log10(milliseconds) + 2) / 6));
}

function showAlias({ alias, entries, bytes, problem, seen }) {
  const row = document.querySelector(`[data-alias="${alias}"]`);
  const fields = fieldsOf(row);
  const lookups = seen.hits + seen.misses;
  write(fields.entries, count(entries));
  write(fields.bytes, size(bytes));
  write(fields.hits, count(seen.hits));
  write(fields.misses, count(seen.misses));
  write(fields.ratio, lookups ? `${Math.round((100 * seen.hits) / lookups)} %` : "–");
  bar(row.querySelector('[data-bar="ratio"]'), lookups ? seen.hits / lookups : 0);
  for (const name of ["hit", "miss", "write"]) {
    write(fields[name], seen[name] ? `${time(seen[name].p50)} / ${time(seen[name].p99)}` : "–");
  }
  const trouble = document.querySelector(`[data-problem="${alias}"]`);
  trouble.hidden = !problem;
  write(trouble.firstElementChild, problem ?? "");
}

function showRequests(requests) {
  if (!requests.length || requests[0].number === newest) return;
  newest = requests[0].number;
  last.replaceChildren(...requests.map(rowOf));
}

function rowOf({ method, path, status, milliseconds, outcome, cache_status }) {
  const row = document.createElement("tr");
  const word = document.createElement("span");
  word.className = `outcome ${outcome}`;
  word.textContent = outcome;
  row.append(cell(`${method} ${path}`, "path"), cell(status, "number"), cell(time(milliseconds), "number"), cell(word), cell(cache_status, "status"));
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

// Nothing is touched that has not changed: a screen reader need not look again.
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

// Buttons work without a script as well; with one, the page stays where it is.
document.addEventListener("submit", async (event) => {
  const { said: done } = event.submitter?.dataset ?? {};
  if (!done) return;
  event.preventDefault();
  try {
    const response = await fetch(event.target.action, { method: "POST", redirect: "manual", signal: AbortSignal.timeout(10_000) });
    const refused = response.type !== "opaqueredirect";
    write(said, refused ? `That did not work: the site answered ${response.status}.` : done);
  } catch (error) {
    write(said, `That did not work: ${error.message}`);
  }
  refresh();
});

document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();

// Shows in the footer how long the response took and whether it was a hit. The text of a page may
// come from a cache. Its headers are fresh, and a script can read Server-Timing.

addEventListener("load", () => {
  const answer = document.getElementById("answer");
  const note = document.getElementById("answer-note");
  const [navigation] = performance.getEntriesByType("navigation");
  if (!navigation) return;

  if (navigation.deliveryType === "cache" || (navigation.transferSize === 0 && navigation.encodedBodySize > 0)) {
    show("browser", "no request", "Served from your browser's cache.");
    return;
  }
  const timing = Object.fromEntries(navigation.serverTiming.map((entry) => [entry.name, entry]));
  if (!timing.total) return;
  const took = timing.total.duration;
  const shown = `${took.toFixed(took < 10 ? 2 : 0)} ms`;
  if (!timing.cache) {
    answer.textContent = shown;
    note.textContent = "No cache layer handled this page.";
    return;
  }
  const status = timing.cache.description;
  const outcome =
    /; (hit|collapsed)\b/.test(status) ? "hit"
    : /; stored\b/.test(status) ? "miss"
    : /fwd=(bypass|method)/.test(status) ? "bypass"
    : "rejected";
  show(outcome, shown, status);

  function show(outcome, took, detail) {
    const label = document.createElement("span");
    label.className = `outcome ${outcome}`;
    label.textContent = outcome;
    answer.replaceChildren(`${took} `, label);
    note.textContent = detail;
  }
});

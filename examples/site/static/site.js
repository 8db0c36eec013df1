// Tells in the footer how this very answer came about. What is written in a page is as old as the page; only its headers are
// fresh, and of these a script can read Server-Timing.

addEventListener("load", () => {
  const answer = document.getElementById("answer");
  const note = document.getElementById("answer-note");
  const [navigation] = performance.getEntriesByType("navigation");
  if (!navigation) return;

  if (navigation.deliveryType === "cache" || (navigation.transferSize === 0 && navigation.encodedBodySize > 0)) {
    show("browser", "no time at all", "It was in your browser's own cache: the site was not asked.");
    return;
  }
  const timing = Object.fromEntries(navigation.serverTiming.map((entry) => [entry.name, entry]));
  if (!timing.total) {
    note.textContent = "No cache of pages looked at it.";
    return;
  }
  const status = timing.cache?.description ?? "";
  const outcome =
    /; (hit|collapsed)\b/.test(status) ? "hit"
    : /; stored\b/.test(status) ? "miss"
    : /fwd=(bypass|method)/.test(status) ? "bypass"
    : "refused";
  const took = timing.total.duration;
  show(outcome, `${took.toFixed(took < 10 ? 2 : 0)} ms`, status);

  function show(outcome, took, why) {
    const word = document.createElement("span");
    word.className = `outcome ${outcome}`;
    word.textContent = outcome;
    answer.replaceChildren(`${took} `, word);
    note.textContent = why;
  }
});

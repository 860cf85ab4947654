"use strict";
// Filters and search, keys, links that open what they lead to, copied commands, and printing.
(() => {
  // The id is compared as it stands in the address: both are percent-encoded.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    const section = target.closest("details.test");
    if (!section) return;
    if (section.hidden) showAll();
    section.scrollIntoView();
    section.querySelector("summary").focus({ preventScroll: true });
  };

  const copied = (text) => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    // A page that a build server shows through plain HTTP has no clipboard of its own.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("not copied"));
  };
  document.querySelectorAll("pre.command").forEach((command) => {
    const text = command.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", () => {
      const tell = (word) => {
        button.textContent = word;
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      };
      copied(text).then(() => tell("Copied"), () => tell("Not copied"));
    });
    command.append(button);
  });

  // For browsers whose style sheets cannot show what is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => { folded.forEach((details) => { details.open = false; }); });

  const table = document.getElementById("tests");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const text = document.getElementById("filter");
  const chips = [...document.querySelectorAll(".chips button")];
  const lists = [...document.querySelectorAll("select.choices")];
  const clear = document.getElementById("clear");
  const parts = new Map(rows.map((row) => [row.dataset.test, []]));
  document.querySelectorAll("details.test, a.cell").forEach((part) => { parts.get(part.dataset.test)?.push(part); });

  const filter = () => {
    const query = text.value.trim().toLowerCase();
    const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true");
    // Of one group, one value is enough; of several groups, each has to fit.
    const groups = [...new Set(pressed.map((chip) => chip.parentElement))]
      .map((group) => pressed.filter((chip) => chip.parentElement === group).map((chip) => chip.value));
    lists.filter((list) => list.value).forEach((list) => groups.push([list.value]));
    let shown = 0;
    rows.forEach((row) => {
      const values = row.dataset.values.split(" ");
      const fits = groups.every((group) => group.some((value) => values.includes(value)));
      const hidden = !fits || !row.textContent.toLowerCase().includes(query);
      row.hidden = hidden;
      parts.get(row.dataset.test).forEach((part) => {
        if (part.matches("a")) part.classList.toggle("faded", hidden);
        else part.hidden = hidden;
      });
      shown += !hidden;
    });
    const isNarrowed = Boolean(query || groups.length);
    document.getElementById("matching").textContent = isNarrowed ? `${shown} of ${rows.length} shown` : "";
    clear.hidden = !isNarrowed;
  };
  const showAll = () => {
    text.value = "";
    chips.forEach((chip) => chip.setAttribute("aria-pressed", "false"));
    lists.forEach((list) => { list.value = ""; });
    filter();
  };

  const step = (by) => {
    const summaries = [...document.querySelectorAll("details.test:not([hidden]) > summary")];
    const at = summaries.findIndex((summary) => summary.parentElement.contains(document.activeElement));
    const next = summaries[at < 0 ? (by > 0 ? 0 : summaries.length - 1) : at + by];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  };
  const keys = { j: () => step(1), k: () => step(-1), "/": () => text.focus(), Escape: () => showAll() };

  if (table) {
    text.addEventListener("input", filter);
    lists.forEach((list) => list.addEventListener("change", filter));
    chips.forEach((chip) => chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    }));
    clear.addEventListener("click", () => { showAll(); text.focus(); });
    addEventListener("keydown", (event) => {
      const types = event.target.closest("input, select, textarea");
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      if (types && event.key !== "Escape") return;
      event.preventDefault();
      keys[event.key]();
    });
    // Browsers keep the text of a form when a page is loaded again.
    filter();
  }
  addEventListener("hashchange", open);
  open();
})();


"use strict";
// The page can be read without this script. It sorts and filters the table, and opens the section that a link leads to.
(() => {
  const table = document.getElementById("tests");
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const details = target && target.closest("details");
    if (!details) return;
    details.open = true;
    details.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
  if (!table) return;
  document.querySelectorAll(".controls").forEach((controls) => { controls.hidden = false; });

  const rows = [...table.tBodies[0].rows];
  const value = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? parseFloat(cell.dataset.value) : cell.textContent.trim();
  };
  // Rows without a value come last, in both directions.
  const compare = (a, b, sign) => {
    const [noA, noB] = [a, b].map((key) => key === "" || Number.isNaN(key));
    if (noA || noB) return noA - noB;
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  };
  const heads = [...table.tHead.querySelectorAll("th")];
  heads.forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, value(row, head.cellIndex)]));
      table.tBodies[0].append(...[...rows].sort((a, b) => compare(keys.get(a), keys.get(b), down ? -1 : 1)));
    });
  });

  const text = document.getElementById("filter");
  const outcome = document.getElementById("outcome");
  const sections = new Map([...document.querySelectorAll("details.test")].map((section) => [section.dataset.test, section]));
  const filter = () => {
    const query = text.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row) => {
      const matches = row.cells[0].textContent.trim() === outcome.value || row.dataset.standing === outcome.value;
      const hidden = !row.textContent.toLowerCase().includes(query) || !(matches || outcome.value === "");
      row.hidden = sections.get(row.dataset.test).hidden = hidden;
      shown += !hidden;
    });
    const isNarrowed = query || outcome.value;
    document.getElementById("matching").textContent = isNarrowed ? `${shown} of ${rows.length} shown` : "";
  };
  text.addEventListener("input", filter);
  outcome.addEventListener("change", filter);
  // Browsers keep the text of a form when a page is loaded again.
  filter();

  const unfold = document.getElementById("unfold");
  unfold.addEventListener("click", () => {
    const all = unfold.textContent === "Open all";
    sections.forEach((section) => { section.open = all; });
    unfold.textContent = all ? "Close all" : "Open all";
  });
})();

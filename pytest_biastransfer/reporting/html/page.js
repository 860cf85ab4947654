
"use strict";
// The page can be read without this script. It sorts the table, and opens all sections at once.
(() => {
  const table = document.getElementById("tests");
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

  const sections = [...document.querySelectorAll("details.test")];
  const unfold = document.getElementById("unfold");
  unfold.addEventListener("click", () => {
    const all = unfold.textContent === "Open all";
    sections.forEach((section) => { section.open = all; });
    unfold.textContent = all ? "Close all" : "Open all";
  });
})();

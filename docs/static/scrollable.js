// What is wider than the window scrolls on its own; whoever has no mouse reaches it with the tabulator key.
(() => {
  const update = () => {
    for (const box of document.querySelectorAll("article pre, article .table-wrapper")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("DOMContentLoaded", update);
  addEventListener("resize", update);
})();

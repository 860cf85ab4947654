"use strict";
// Sliders between clean and intervened images. Without this script, both are beside each other.
(() => {
  const set = (stage, value) => { stage.style.setProperty("--at", `${value}%`); };
  // Thousands of sliders would slow a large page: those of a test are made when its section is opened.
  const prepare = (tools) => {
    if (tools.dataset.ready) return;
    tools.dataset.ready = "yes";
    const gallery = tools.nextElementSibling;
    const stages = [...gallery.querySelectorAll(".stage:not(.alone)")];
    const sliders = stages.map((stage) => {
      const slider = document.createElement("input");
      slider.type = "range";
      slider.value = parseFloat(stage.style.getPropertyValue("--at")) || 50;
      slider.setAttribute("aria-label", `${stage.previousElementSibling.querySelector("span").textContent}: from intervened to clean`);
      slider.addEventListener("input", () => set(stage, slider.value));
      stage.append(slider);
      return slider;
    });
    const all = tools.querySelector(".all input");
    all.addEventListener("input", () => {
      stages.forEach((stage, number) => { sliders[number].value = all.value; set(stage, all.value); });
    });
    const beside = tools.querySelector(".beside input");
    const arrange = () => {
      gallery.classList.toggle("sliding", !beside.checked);
      all.parentElement.hidden = beside.checked;
    };
    beside.addEventListener("change", arrange);
    beside.parentElement.hidden = false;
    arrange();
  };
  document.querySelectorAll(".tools").forEach((tools) => {
    const folded = tools.closest("details.test");
    if (!folded || folded.open) prepare(tools);
    else folded.addEventListener("toggle", () => prepare(tools), { once: true });
  });
})();

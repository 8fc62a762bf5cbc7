"use strict";
(() => {
  const root = document.documentElement;
  const byId = (name) => document.getElementById(name);
  const cards = [...document.querySelectorAll(".card")];
  const rows = [...document.querySelectorAll(".rows tbody tr")];
  const role = byId("role"), search = byId("search"), view = byId("view"), marks = byId("marks");

  function filter() {
    const words = search.value.trim().toLowerCase();
    const fits = (one) =>
      (!role.value || !("role" in one.dataset) || one.dataset.role === role.value) && one.dataset.sample.toLowerCase().includes(words);
    let found = 0;
    for (const card of cards) {
      card.hidden = !fits(card);
      found += !card.hidden;
    }
    for (const row of rows) row.hidden = !fits(row);
    byId("found").textContent = `${found} of ${cards.length} shown`;
    byId("none").hidden = found > 0;
  }

  function look() {
    root.classList.toggle("slider", view.value === "slider");
    root.classList.toggle("no-marks", !marks.checked);
  }

  function cut(card, value) {
    card.querySelector("input[type=range]").value = value;
    card.style.setProperty("--cut", `${value}%`);
  }

  root.classList.add("js");
  for (const card of cards) {
    const slider = card.querySelector("input[type=range]");
    if (!slider) continue;
    slider.addEventListener("input", (event) => cut(card, event.target.value));
    for (const button of card.querySelectorAll("button")) {
      button.addEventListener("click", () => cut(card, button.dataset.cut));
    }
    cut(card, 50);
  }
  if (matchMedia("(max-width: 40rem)").matches) view.value = "slider";
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  role.addEventListener("change", filter);
  search.addEventListener("input", filter);
  view.addEventListener("change", look);
  marks.addEventListener("change", look);
  filter();
  look();
})();

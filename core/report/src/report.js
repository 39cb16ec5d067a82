// Tabs, hovering and filtering. The page is complete without this script.
"use strict";
document.documentElement.classList.add("js");
(function () {
  const data = document.getElementById("items");
  const detail = document.getElementById("detail");
  if (!data || !detail) return;
  const items = JSON.parse(data.textContent);
  const points = Array.from(document.querySelectorAll("[data-i]"));
  const byRow = new Map();
  for (const point of points) {
    const row = items[point.dataset.i].row;
    if (!byRow.has(row)) byRow.set(row, []);
    byRow.get(row).push(point);
  }
  let marked = [];

  function show(point) {
    marked.forEach(old => old.classList.remove("row", "here"));
    const item = items[point.dataset.i];
    marked = byRow.get(item.row);
    marked.forEach(own => own.classList.add("row"));
    marked.filter(own => own.dataset.i === point.dataset.i).forEach(own => own.classList.add("here"));
    detail.replaceChildren();
    for (const number of new Set(marked.map(own => own.dataset.i))) {
      const one = items[number], box = document.createElement("div"), words = document.createElement("p");
      if (one.picture) {
        const picture = document.createElement("img");
        picture.src = one.picture;
        picture.alt = "";
        box.append(picture);
      }
      words.textContent = one.modality + ", row " + one.row + ": " + one.text;
      box.append(words);
      detail.append(box);
    }
    detail.hidden = false;
  }

  const tabs = Array.from(document.querySelectorAll("[role=tab]"));
  function choose(chosen) {
    for (const tab of tabs) {
      const panel = document.getElementById(tab.getAttribute("aria-controls"));
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      panel.hidden = tab !== chosen;
    }
  }
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = tabs[(at + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
  if (tabs.length) choose(tabs[0]);

  for (const figure of document.querySelectorAll("[data-points]")) {
    figure.tabIndex = 0;
    const own = Array.from(figure.querySelectorAll("[data-i]"));
    let at = -1;
    figure.addEventListener("pointerover", event => {
      const point = event.target.closest("[data-i]");
      if (point) { at = own.indexOf(point); show(point); }
    });
    figure.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || !own.length) return;
      event.preventDefault();
      for (let tried = 0; tried < own.length; tried++) {
        at = (at + step + own.length) % own.length;
        if (!own[at].classList.contains("dim")) { show(own[at]); return; }
      }
    });
  }

  document.getElementById("filter").addEventListener("input", event => {
    const wanted = event.target.value.toLowerCase();
    const rows = new Set(items.filter(item => item.text.toLowerCase().includes(wanted)).map(item => item.row));
    points.forEach(point => point.classList.toggle("dim", !rows.has(items[point.dataset.i].row)));
    document.querySelectorAll("article[data-text]").forEach(article => {
      article.hidden = !article.textContent.toLowerCase().includes(wanted);
    });
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") detail.hidden = true;
  });
})();

"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const options = { displayModeBar: false, scrollZoom: false };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Colours are names of the style sheet's variables.
  const coloured = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map((item) => coloured(item, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, coloured(item, style)]),
      );
    }
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const place of document.querySelectorAll("[data-chart]")) {
      const { data, layout } = coloured(charts[place.dataset.chart], style);
      Plotly.react(place, data, layout, options);
    }
  };

  draw();
  // Also where only the column changes, not the window.
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      Plotly.Plots.resize(target);
    }
  });
  document.querySelectorAll("[data-chart]").forEach((place) => resized.observe(place));
  dark.addEventListener("change", draw);
})();

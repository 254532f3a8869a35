// Draws the report's data, which pipeline/stages/evaluate/page.py describes, with Vega-Lite.
const report = JSON.parse(document.getElementById("data").textContent);
const { variants, seeds, histograms } = report;
const names = variants.map((variant) => variant.name);
const element = (id) => document.getElementById(id);

const axis = { labelColor: "#222", titleColor: "#222", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
const config = {
  font: "system-ui, sans-serif",
  axis: { ...axis, gridColor: "#eee", tickColor: "#888", domainColor: "#888", labelOverlap: true },
  legend: { orient: "top", title: null, labelColor: "#222", labelFontSize: 13, labelLimit: 300 },
  view: { stroke: null },
};
const scale = (range, more) => ({ field: "variant", type: "nominal", scale: { domain: names, range }, ...more });
const colours = variants.map((variant) => variant.colour);
const legend = { symbolType: "stroke", symbolSize: 400, symbolOpacity: 1, symbolStrokeWidth: 2.5 };
const color = scale(colours, { legend });
const strokeDash = scale([[6, 3], [1, 0]], { legend });
const quantitative = (field, title, more = {}) => ({ field, type: "quantitative", title, ...more });

/** Draw a specification into the element of this id, as wide as that is; resolve to Vega's view. */
async function draw(id, description, spec) {
  const size = { width: "container", height: 280, autosize: { type: "fit-x", contains: "padding" } };
  const full = { description, ...size, config, ...spec };
  return (await vegaEmbed(`#${id}`, full, { actions: false, renderer: "svg" })).view;
}

/** Say in words what the seeds' values are. */
function summary(values) {
  const known = values.filter((value) => value !== null).sort((one, other) => one - other);
  if (!known.length) return "diverged";
  const [low, high] = [known[(known.length - 1) >> 1], known[known.length >> 1]];
  const [median, least, most] = [(low + high) / 2, known[0], known.at(-1)].map((value) => Number(value.toPrecision(3)));
  return `${median} (seeds: ${least} to ${most})`;
}

function drawCurve(id, { steps, step, title, values }) {
  const rows = names.flatMap((variant, v) =>
    values[v].flatMap((line, s) => line.map((value, at) => ({ variant, seed: seeds[s], step: steps[at], value }))));
  const x = quantitative("step", step, { scale: { domain: [steps[0], steps.at(-1)], nice: false }, axis: { tickMinStep: 1 } });
  const y = (more) => quantitative("value", title, { scale: { type: "log" }, axis: { tickCount: 6, format: "~g" }, ...more });
  const half = (steps.at(-1) - steps[0]) / 2 / Math.max(steps.length - 1, 1);
  const columns = steps.map((at, index) => ({
    step: at, left: at - half, right: at + half,
    ...Object.fromEntries(names.map((name, v) => [name, summary(values[v].map((line) => line[index]))])),
  }));
  return draw(id, `${title} by ${step}, both variants`, {
    data: { values: rows },
    encoding: { x },
    layer: [
      {
        mark: { type: "line", strokeWidth: 0.7, opacity: 0.4, aria: false },
        encoding: { y: y(), color, detail: { field: "seed" } },
      },
      {
        mark: { type: "line", strokeWidth: 2.5, aria: false },
        encoding: { y: y({ aggregate: "median" }), color, strokeDash },
      },
      {
        data: { values: columns },
        params: [{ name: "at", select: { type: "point", fields: ["step"], on: "pointerover", clear: "pointerout" } }],
        mark: { type: "rect", color: "#000", clip: true, aria: false },
        encoding: {
          x: { ...x, field: "left" },
          x2: { field: "right" },
          opacity: { condition: { param: "at", empty: false, value: 0.1 }, value: 0 },
          tooltip: [{ field: "step", title: step.split(" ")[0] }, ...names.map((name) => ({ field: name }))],
        },
      },
    ],
  });
}

function drawPairs(errors) {
  const rows = seeds.map((seed, s) => ({
    seed: String(seed),
    ...Object.fromEntries(names.map((name, v) => [name, errors[v][s] ?? 100])),
    ...Object.fromEntries(names.map((name, v) => [`${name}, text`, errors[v][s] === null ? "diverged" : `${errors[v][s]} %`])),
  })).sort((one, other) => other[names[0]] - one[names[0]]);
  const field = (name) => `datum['${name}']`;
  const y = quantitative("error", "test error (%)", { scale: { type: "log" }, axis: { tickCount: 6, format: "~g" } });
  return draw("pairs", "Test error of both variants, seed by seed", {
    data: { values: rows },
    transform: [{ calculate: field(names[0]), as: "first" }, { calculate: field(names[1]), as: "second" }],
    encoding: {
      x: { field: "seed", type: "ordinal", sort: null, title: "seed", axis: { labelAngle: 0 } },
      tooltip: [{ field: "seed" }, ...names.map((name) => ({ field: `${name}, text`, title: name }))],
    },
    layer: [
      {
        mark: { type: "rule", color: "#bbb", strokeWidth: 3, aria: false },
        encoding: { y: { ...y, field: "first" }, y2: { field: "second" } },
      },
      {
        transform: [{ fold: names, as: ["variant", "error"] }],
        mark: { type: "point", filled: true, size: 90, opacity: 1 },
        encoding: { y, color: scale(colours), shape: scale(["square", "circle"]) },
      },
    ],
  });
}

async function showConfusions({ counts, accuracies }) {
  const chosen = element("seed");
  seeds.forEach((seed, s) => chosen.add(new Option(seed, s)));
  names.forEach((_, v) => element("confusions").insertAdjacentHTML("beforeend",
    `<div><h3 id="confusion_title${v}"></h3><div class="chart" id="confusion${v}"></div></div>`));
  const rowsOf = (v) => counts[v][chosen.value].flatMap((row, truth) => {
    const total = row.reduce((sum, images) => sum + images, 0);
    return row.map((images, predicted) => ({ truth, predicted, images, percent: (100 * images) / Math.max(total, 1) }));
  });
  const ordinal = (field, title) => ({ field, type: "ordinal", title, axis: { labelAngle: 0, domain: false, ticks: false } });
  const blues = { domain: [0, 100], range: ["#fff", "#08306b"], interpolate: "rgb" };
  const views = await Promise.all(names.map((name, v) => draw(`confusion${v}`, `Confusion matrix of ${name}`, {
    height: 330,
    data: { name: "cells", values: rowsOf(v) },
    encoding: {
      x: ordinal("predicted", "predicted class"),
      y: ordinal("truth", "true class"),
      tooltip: [{ field: "truth", title: "true class" }, { field: "predicted", title: "predicted class" }, { field: "images" },
        { field: "percent", type: "quantitative", format: ".2f", title: "per cent" }],
    },
    layer: [
      { mark: "rect", encoding: { color: { ...quantitative("percent"), scale: blues, legend: null } } },
      {
        transform: [{ filter: "datum.percent >= 0.05" }],
        mark: { type: "text", fontSize: 10, aria: false },
        encoding: {
          text: { field: "percent", type: "quantitative", format: ".1f" },
          color: { condition: { test: "datum.percent > 66", value: "#fff" }, value: "#000" },
        },
      },
    ],
  })));
  const show = () => names.forEach((name, v) => {
    const accuracy = accuracies[v][chosen.value];
    element(`confusion_title${v}`).textContent =
      `${name}, seed ${seeds[chosen.value]}: ${accuracy === null ? "diverged" : `accuracy ${(100 * accuracy).toFixed(1)} %`}`;
    views[v].data("cells", rowsOf(v)).run();
  });
  chosen.addEventListener("change", show);
  show();
}

Promise.all([
  ...Object.entries(report.curves).map(([id, curve]) => drawCurve(id, curve)),
  showHistograms(),
  drawPairs(report.errors),
  showConfusions(report.confusions),
]).then(() => document.body.dataset.drawn = "true");

// Draws the histograms of one hidden tensor after one epoch, which a slider chooses.

/** Return the histograms of a tensor after an epoch: a row per bin, with every variant's share of values in per cent. */
function binsOf(tensor, epoch) {
  const { edges, shares } = tensor;
  return edges.slice(1).map((right, bin) => ({
    left: edges[bin], right, ...Object.fromEntries(shares.map((share, v) => [names[v], share && 100 * share[epoch][bin]])),
  }));
}

/** Draw a tensor's histograms on an axis that is linear or, for wide values, even in asinh(value). */
function drawHistogram(id, tensor, log) {
  const { edges, zones, asinh, label, shares } = tensor;
  const known = shares.filter((share) => share);
  const largest = edges.slice(1).map((_, bin) => 100 * Math.max(...known.flat().map((share) => share[bin])));
  const least = log ? 1e-4 : 0;
  const used = largest.flatMap((share, bin) => (share > 1e-3 ? [bin] : []));
  const domain = [edges[used[0] ?? 0], edges[(used.at(-1) ?? edges.length - 2) + 1]];
  const inverse = asinh ? "(exp(datum.value) - exp(-datum.value)) / 2" : "datum.value";
  const inside = (edge) => domain[0] <= edge && edge <= domain[1];
  const ticks = asinh ? [-1000, -100, -10, -1, 0, 1, 10, 100, 1000].map(Math.asinh).filter(inside) : undefined;
  const x = quantitative("left", label, {
    scale: { domain, nice: false },
    axis: { values: ticks, labelExpr: `replace(format(${inverse}, '.1~f'), '-', '−')` },
  });
  const y = quantitative("share", "share of values per bin (%)", {
    scale: log ? { type: "log", domain: [least, 100] } : { domain: [0, Math.max(...largest, 1)] },
    axis: { tickCount: 6, format: "~g" },
    stack: null,
  });
  const steps = { interpolate: "step-after", clip: true, aria: false };
  return draw(id, `Histogram of ${label}, both variants`, {
    data: { name: "bins", values: [] },
    layer: [
      {
        data: { values: zones.map(([left, right]) => ({ left: left ?? domain[0], right: right ?? domain[1] })) },
        mark: { type: "rect", color: "#eee", clip: true, aria: false },
        encoding: { x, x2: { field: "right" } },
      },
      {
        transform: [{ fold: names, as: ["variant", "share"] }, { filter: "isNumber(datum.share)" },
          { calculate: `max(datum.share, ${least})`, as: "share" }],
        encoding: { x, y, color },
        layer: [
          { mark: { type: "area", fillOpacity: 0.2, ...steps }, encoding: { y2: { datum: least } } },
          { mark: { type: "line", strokeWidth: 2, ...steps }, encoding: { strokeDash } },
        ],
      },
      {
        mark: { type: "rect", opacity: 0, clip: true, aria: false },
        encoding: {
          x,
          x2: { field: "right" },
          tooltip: names.map((field) => quantitative(field, `${field} (%)`, { format: ".3~g" })),
        },
      },
    ],
  });
}

async function showHistograms() {
  const slider = element("epoch"), chosen = element("tensor");
  const tensor = () => histograms.tensors[chosen.value];
  let views = [];
  const move = () => {
    const epoch = histograms.epochs[slider.value], words = `${epoch} of ${histograms.epochs.at(-1)}`;
    element("epoch_shown").textContent = epoch ? words : `${words} (before training)`;
    slider.setAttribute("aria-valuetext", element("epoch_shown").textContent);
    for (const view of views) view.data("bins", binsOf(tensor(), slider.value)).run();
  };
  const redraw = async () => {
    const old = views;
    views = [];
    old.forEach((view) => view.finalize());
    views = await Promise.all([drawHistogram("linear", tensor(), false), drawHistogram("logarithmic", tensor(), true)]);
    move();
  };
  histograms.tensors.forEach(({ label }, index) => chosen.add(new Option(label, index)));
  chosen.value = histograms.shown;
  slider.max = slider.value = histograms.epochs.length - 1;
  chosen.addEventListener("change", redraw);
  slider.addEventListener("input", move);
  await redraw();
}

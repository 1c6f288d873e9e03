// Draws a metric from the API's buckets: last value as a line, min to max as a band.

import { bucketsPath, getJson } from "/page/api.js";
import { stepScale, valueScale } from "/page/axes.js";
import { number } from "/page/nodes.js";

const HEIGHT_PX = 240;
const POINTS_SHOWN_BELOW = 80;
const POINT_PX = 4;
const NAMED = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };

// uPlot draws finite numbers and leaves gaps at null.
function finite(value) {
  const number = value in NAMED ? NAMED[value] : value;
  return Number.isFinite(number) ? number : null;
}

export async function drawMetric(element, runId, metric) {
  const width = Math.max(320, Math.floor(element.clientWidth));
  element.dataset.metric = metric;
  const { buckets, points: count } = await getJson(bucketsPath(runId, metric, width));
  // A slow answer for an earlier choice must not replace a later one.
  if (element.dataset.metric !== metric) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const line = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--soft"), grid: line, ticks: line };
  const [last, min, max] = [buckets.last, buckets.min, buckets.max].map((it) => it.map(finite));
  element.replaceChildren();
  if (last.includes(null)) element.append(gapNote(last));
  if (last.every((value) => value === null)) return;
  const x = stepScale(buckets.step_from);
  const y = valueScale([last, min, max], x.halfLabel);
  const points = { show: count < POINTS_SHOWN_BELOW, fill: colour("--ground") };
  const read = (values, text) => (_chart, _shown, _series, at) => (at == null ? "--" : text(values[at]));
  const unseen = { stroke: "transparent", points: { show: false } };
  const options = {
    width,
    height: HEIGHT_PX,
    padding: [null, x.halfLabel + POINT_PX, null, null],
    scales: { x: { time: false, range: x.range }, y: { range: y.range } },
    axes: [{ ...axis, ...x.axis }, { ...axis, ...y.axis }],
    // What is drawn is scaled and rounded; what is read is what the service said.
    series: [
      { label: "step", value: read(buckets.step_from, String) },
      { label: "last", value: read(buckets.last, number), stroke: colour("--accent"), width: 1.5, points },
      { label: "min", value: read(buckets.min, number), ...unseen },
      { label: "max", value: read(buckets.max, number), ...unseen },
    ],
    bands: [{ series: [3, 2], fill: colour("--band") }],
  };
  new uPlot(options, [x.data, ...y.data], element);
}

// NaN and infinities have no height: they are said, not silently left out.
function gapNote(values) {
  const gaps = values.filter((value) => value === null).length;
  const note = document.createElement("p");
  note.className = "note";
  note.textContent =
    gaps === values.length
      ? "Every value is NaN or infinite; there is nothing to draw."
      : `${gaps} of ${values.length} places along the steps are NaN or infinite: gaps in the line.`;
  return note;
}

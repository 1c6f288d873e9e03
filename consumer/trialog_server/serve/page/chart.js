// Draws a metric from the API's buckets: last value as a line, min to max as a band.

import { bucketsPath, getJson } from "/page/api.js";

const HEIGHT_PX = 240;
const POINTS_SHOWN_BELOW = 80;
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
  const data = [
    buckets.step_from.map(Number),
    buckets.last.map(finite),
    buckets.min.map(finite),
    buckets.max.map(finite),
  ];
  const points = { show: count < POINTS_SHOWN_BELOW, fill: colour("--ground") };
  const options = {
    width,
    height: HEIGHT_PX,
    scales: { x: { time: false } },
    axes: [axis, axis],
    series: [
      { label: "step", value: (_chart, _shown, _series, at) => exactStep(buckets, at) },
      { label: "last", stroke: colour("--accent"), width: 1.5, points },
      { label: "min", stroke: "transparent", points: { show: false } },
      { label: "max", stroke: "transparent", points: { show: false } },
    ],
    bands: [{ series: [3, 2], fill: colour("--band") }],
  };
  element.replaceChildren();
  if (data[1].includes(null)) element.append(gapNote(data[1]));
  if (data[1].every((value) => value === null)) return;
  new uPlot(options, data, element);
}

// What is drawn is rounded to what a number can hold; what is read must not be.
function exactStep(buckets, at) {
  return at === null || at === undefined ? "--" : String(buckets.step_from[at]);
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

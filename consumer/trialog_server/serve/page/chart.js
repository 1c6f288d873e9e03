// Draws a metric from the API's buckets: last value as a line, min to max as a band.

import { bucketsPath, getJson } from "/page/api.js";

const HEIGHT_PX = 240;
const NAMED = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };

// uPlot draws finite numbers and leaves gaps at null.
function finite(value) {
  const number = value in NAMED ? NAMED[value] : value;
  return Number.isFinite(number) ? number : null;
}

export async function drawMetric(element, runId, metric) {
  const width = Math.max(320, Math.floor(element.clientWidth));
  const { buckets, points } = await getJson(bucketsPath(runId, metric, width));
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line") } };
  const data = [
    buckets.step_from,
    buckets.last.map(finite),
    buckets.min.map(finite),
    buckets.max.map(finite),
  ];
  const options = {
    width,
    height: HEIGHT_PX,
    scales: { x: { time: false } },
    axes: [axis, axis],
    series: [
      { label: "step" },
      { label: "last", stroke: colour("--accent"), width: 1.5, points: { show: points < 80 } },
      { label: "min", stroke: "transparent", points: { show: false } },
      { label: "max", stroke: "transparent", points: { show: false } },
    ],
    bands: [{ series: [3, 2], fill: colour("--band") }],
  };
  element.replaceChildren();
  return new uPlot(options, data, element);
}

// Brings the values of a chart to a scale that can be drawn, and labels its axes with what they
// were. Without that uPlot has no ticks beyond about 1e±30 and writes 0.0003 as 0.

const FONT = "12px system-ui, sans-serif";
const WIDTH_MIN_PX = 50;
const TICK_AND_GAP_PX = 18;
const BETWEEN_LABELS_PX = 20;
const MARGIN = 0.1; // of the span, above and below
const PLAIN_FROM = -4; // powers of ten that are written out; beyond them 0.00002 is 2e-5
const PLAIN_TO = 5;

const measure = document.createElement("canvas").getContext("2d");

function widthOf(texts) {
  measure.font = FONT;
  return Math.ceil(Math.max(0, ...texts.map((text) => measure.measureText(text).width)));
}

// Steps as distances from a round number near the first: exact also beyond 2^53, where a number is not.
export function stepScale(steps) {
  const whole = steps.map(BigInt);
  const [first, last] = [whole[0], whole.at(-1)];
  const round = 10n ** BigInt(String(last - first).length + 1);
  const base = first - (first % round);
  const label = (tick) => String(base + BigInt(Math.round(tick)));
  const width = widthOf([label(Number(first - base)), label(Number(last - base))]);
  const data = whole.map((step) => Number(step - base));
  return {
    data,
    // Around a lone step uPlot would show steps that nobody asked for, up to 100 around 0.
    range: (_chart, low, high) => (first === last ? [data[0] - 0.5, data[0] + 0.5] : [low, high]),
    halfLabel: Math.ceil(width / 2),
    axis: {
      font: FONT,
      incrs: wholeSteps(),
      space: width + BETWEEN_LABELS_PX,
      values: (_chart, ticks) => ticks.map(label),
    },
  };
}

function wholeSteps() {
  return Array.from({ length: 20 }, (_, power) => [1, 2, 5].map((it) => it * 10 ** power)).flat();
}

// Values divided by a power of ten, so that the largest has one digit before the point.
export function valueScale(columns, widthMin) {
  const powers = columns.flat().filter(Boolean).map(powerOf);
  const power = powers.length === 0 ? 0 : powers.reduce((one, other) => Math.max(one, other));
  // 10 ** 324 is no number, so that it is divided twice.
  const half = Math.trunc(power / 2);
  const scaled = (it) => (it === null ? null : (it / 10 ** half) / 10 ** (power - half));
  const labels = (_chart, ticks, _axis, _space, distance) => {
    const digits = Math.max(0, -powerOf(distance)) + 1;
    return ticks.map((tick) => labelOf(tick, power, digits));
  };
  const size = (_chart, texts) =>
    Math.max(WIDTH_MIN_PX, widthMin, widthOf(texts ?? []) + TICK_AND_GAP_PX);
  return {
    data: columns.map((column) => column.map(scaled)),
    range: (_chart, low, high) => (low === null ? [null, null] : withMargin(low, high)),
    axis: { font: FONT, size, values: labels },
  };
}

function powerOf(number) {
  return Number(number.toExponential().split("e")[1]);
}

function withMargin(low, high) {
  if (low === 0 && high === 0) return [-1, 1];
  const margin = MARGIN * (high - low || Math.abs(high) || 1);
  const from = low >= 0 ? Math.max(0, low - margin) : low - margin;
  return [from, high <= 0 ? Math.min(0, high + margin) : high + margin];
}

// A tick stands for tick · 10^power, written by its digits: as a number it may be none (2e308).
function labelOf(tick, power, digits) {
  const rounded = Number(tick.toFixed(digits));
  if (rounded === 0) return "0";
  if (power >= PLAIN_FROM && power <= PLAIN_TO) {
    return String(Number((rounded * 10 ** power).toFixed(Math.max(0, digits - power))));
  }
  const [mantissa, own] = rounded.toExponential().split("e");
  return `${mantissa}e${Number(own) + power}`;
}

// Runs side by side: what differs is marked, what is identical can be hidden. The address says it
// all: #/compare?runs=ID,ID…&only=differing

import { getJson, runPath } from "/page/api.js";
import {
  experimentHash, jsonText, link, node, ownValue, row, runLink, status, table, time, valueText,
} from "/page/nodes.js";

const RUNS_MAX = 20;
const ONLY_DIFFERING = "differing";

export async function compareView(parameters) {
  const ids = [...new Set((parameters.get("runs") ?? "").split(",").filter(Boolean))];
  if (ids.length < 2) throw new Error("Two runs or more can be compared; tick them in a list.");
  if (ids.length > RUNS_MAX) throw new Error(`At most ${RUNS_MAX} runs are compared at once.`);
  const runs = await Promise.all(ids.map((id) => getJson(runPath(id))));
  const names = [...new Set(runs.map((run) => run.experiment_name))];
  const lasts = runs.map((run) =>
    Object.fromEntries(Object.entries(run.metrics).map(([name, it]) => [name, it.last])),
  );
  const groups = node(
    "div",
    {},
    table(["", ...runs.map((run) => ({ text: runLink(run) }))], [
      row(["status", ...runs.map(status)]),
      row(["created", ...runs.map((run) => time(run.creation_time))]),
      names.length > 1 ? row(["experiment", ...runs.map((run) => run.experiment_name)]) : null,
    ]),
    group("Parameters", runs, runs.map((run) => run.parameters)),
    group("Metrics, last value", runs, lasts),
    group("Tags", runs, runs.map((run) => run.tags)),
  );
  const title = node("h1", {}, `${runs.length} runs side by side`);
  const content = [title, onlyDiffering(groups, ids, parameters), groups];
  const trail = [
    ...(names.length === 1 ? [link(experimentHash(names[0]), names[0])] : []),
    runs.map((run) => run.run_name).join(", "),
  ];
  return { trail, content };
}

function onlyDiffering(groups, ids, parameters) {
  const box = node("input", { type: "checkbox" });
  box.checked = parameters.get("only") === ONLY_DIFFERING;
  const apply = () => groups.classList.toggle("only-differing", box.checked);
  box.addEventListener("change", () => {
    apply();
    const only = box.checked ? `&only=${ONLY_DIFFERING}` : "";
    history.replaceState(null, "", `#/compare?runs=${ids.join(",")}${only}`);
  });
  apply();
  return node("p", {}, node("label", {}, box, " Only what differs"));
}

// Each run's values by name, a row a name; a value is what its JSON says: 1 is not "1", nor true.
function group(title, runs, values) {
  const names = [...new Set(values.flatMap((it) => Object.keys(it)))].sort();
  if (names.length === 0) return null;
  let differing = 0;
  const rows = names.map((name) => {
    const found = values.map((it) => ownValue(it, name));
    const texts = found.map((it) => (it === undefined ? "" : jsonText(it)));
    const differs = distinct(texts) > 1;
    differing += differs;
    const mark = differs ? node("span", { title: "differs", "aria-label": "differs" }, "≠ ") : "";
    return row([[mark, name], ...shown(found, texts)], { class: differs ? "differs" : "same" });
  });
  const said = differing ? `${differing} of ${names.length} differ` : `all ${names.length} identical`;
  const heads = ["name", ...runs.map((run) => run.run_name)];
  return node("section", {}, node("h2", {}, title, " ", node("small", {}, said)), table(heads, rows));
}

// Values that differ must not look the same: then texts stand in quotes.
function shown(found, texts) {
  const plain = found.map((it) => (it === undefined ? "" : valueText(it)));
  return distinct(plain) === distinct(texts) ? plain : texts;
}

function distinct(texts) {
  return new Set(texts).size;
}

// Shows the view that the address names: #/, #/experiments/NAME, #/runs/ID, #/compare?runs=ID,ID,
// and those that MLflow's client prints: #/experiments/NUMBER, #/experiments/NUMBER/runs/ID.

import { nextTurn, rememberKey } from "/page/api.js";
import { compareView } from "/page/compare.js";
import { experimentsView, namedView } from "/page/experiments.js";
import { followMoment, tellProgress } from "/page/moment.js";
import { button, node } from "/page/nodes.js";
import { runView } from "/page/run.js";

const main = document.getElementById("main");
const trail = document.getElementById("trail");
let shown = 0;
const turnsToMoment = followMoment(show);

function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parameters = new URLSearchParams(query);
  const token = parameters.get("next");
  const [kind, ...names] = decoded(path).slice(1);
  const [name] = names;
  if (!kind && names.length === 0) return () => experimentsView(token);
  if (kind === "compare" && names.length === 0) return () => compareView(parameters);
  if (kind === "experiments" && names.length === 1 && name) return () => namedView(name, token);
  if (kind === "experiments" && names.length === 3 && names[1] === "runs" && names[2]) {
    return () => runView(names[2]);
  }
  if (kind === "runs" && names.length === 1 && name) return () => runView(name);
  throw new Error(`The page has no ${path}; begin with the experiments.`);
}

function decoded(path) {
  try {
    return path.split("/").map(decodeURIComponent);
  } catch {
    throw new Error(`The address ${path} is cut off or misspelt.`);
  }
}

function failure(error) {
  const message = node("p", { class: "error", role: "alert" }, error.message);
  const title = node("h1", {}, "This cannot be shown");
  if (error.status !== 401) return [title, message];
  const input = node("input", { type: "password", "aria-label": "API key", autocomplete: "off" });
  const use = () => {
    rememberKey(input.value);
    show();
  };
  return [title, message, node("p", {}, input, " ", button("Use this key", use))];
}

async function show() {
  // A slow answer of an earlier address must not replace a later one.
  const mine = ++shown;
  nextTurn();
  main.setAttribute("aria-busy", "true");
  // What was at one moment never stands under the time of another one.
  if (turnsToMoment()) main.replaceChildren();
  let content;
  let steps = [];
  try {
    ({ trail: steps, content } = await route()());
  } catch (error) {
    content = failure(error);
  }
  if (mine !== shown) return;
  tellProgress("");
  trail.replaceChildren(...steps.flatMap((step) => [node("span", { class: "step" }, "/"), step]));
  const here = steps.at(-1);
  document.title = here ? `${here} · trialog` : "trialog";
  main.replaceChildren(...content.filter(Boolean));
  main.removeAttribute("aria-busy");
}

document.getElementById("refresh").addEventListener("click", show);
addEventListener("hashchange", show);
show();

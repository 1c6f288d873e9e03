// Shows the view that the address names: #/, #/experiments/NAME, #/runs/ID.

import { rememberKey } from "/page/api.js";
import { experimentsView, node, runsView, runView } from "/page/views.js";

const main = document.getElementById("main");
const trail = document.getElementById("trail");
let shown = 0;

function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [kind, name] = path.split("/").slice(1).map(decodeURIComponent);
  const token = new URLSearchParams(query).get("next");
  if (kind === "experiments" && name) return () => runsView(name, token);
  if (kind === "runs" && name) return () => runView(name);
  return () => experimentsView(token);
}

function failure(error) {
  const message = node("p", { class: "error", role: "alert" }, error.message);
  if (error.status !== 401) return [message];
  const input = node("input", { type: "password", "aria-label": "API key", autocomplete: "off" });
  const use = () => {
    rememberKey(input.value);
    show();
  };
  const button = node("button", { type: "button", onclick: use }, "Use this key");
  return [message, node("p", {}, input, " ", button)];
}

async function show() {
  // A slow answer of an earlier address must not replace a later one.
  const mine = ++shown;
  main.setAttribute("aria-busy", "true");
  let content;
  let steps = [];
  try {
    ({ trail: steps, content } = await route()());
  } catch (error) {
    content = failure(error);
  }
  if (mine !== shown) return;
  trail.replaceChildren(...steps.flatMap((step) => [node("span", { class: "step" }, "/"), step]));
  const here = steps.at(-1);
  document.title = here ? `${here} · trialog` : "trialog";
  main.replaceChildren(...content.filter(Boolean));
  main.removeAttribute("aria-busy");
}

document.getElementById("refresh").addEventListener("click", show);
addEventListener("hashchange", show);
show();

// The moment that is looked at: before the # of the address, as ?as_of=…, so that every link within
// the page keeps it and whoever gets the address sees the same. Without it: the present.

import { node, time } from "/page/nodes.js";

const form = document.getElementById("moment");
const at = document.getElementById("at");
const now = document.getElementById("now");
const band = document.getElementById("then");

export function moment() {
  return new URLSearchParams(location.search).get("as_of") || null;
}

// Lets the viewer choose a moment, for which `show` brings the view. Returns what shows the moment
// of the address above the view, and tells whether it is another one than before.
export function followMoment(show) {
  const lookAt = (asOf) => {
    const query = asOf ? `?${new URLSearchParams({ as_of: asOf })}` : "";
    history.pushState(null, "", `${location.pathname}${query}${location.hash}`);
    show();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookAt(at.value && new Date(at.value).toISOString());
  });
  for (const it of [now, document.getElementById("back")]) {
    it.addEventListener("click", () => {
      lookAt(null);
      at.focus(); // what was clicked is gone
    });
  }
  // Back and forward; a step that changes the part behind the # alone is heard elsewhere.
  let seen = null;
  addEventListener("popstate", () => {
    if (location.search !== seen) show();
  });
  return () => {
    if (location.search === seen) return false;
    seen = location.search;
    showMoment();
    return true;
  };
}

function showMoment() {
  const asOf = moment();
  band.hidden = now.hidden = !asOf;
  at.value = "";
  say(asOf ? `Asked as of ${asOf}` : "");
  tellProgress("");
}

// What an answer says of its moment: all positions and the time.
export function told(asOf) {
  const text = asOf.split("@").at(-1);
  if (!moment() || band.dataset.text === text) return;
  say("As it was at ", node("time", { datetime: text, title: asOf }, time(text)));
  band.dataset.text = text;
  at.value = localText(new Date(text));
}

function say(...words) {
  delete band.dataset.text;
  document.getElementById("said").replaceChildren(...words);
}

// How far the tables of then are made, while a view waits for them.
export function tellProgress(share) {
  document.getElementById("making").textContent = share
    ? `The log is being read up to then: ${share} is done.`
    : "";
}

// A time of the viewer's zone as a field for it has it, to the second.
function localText(date) {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

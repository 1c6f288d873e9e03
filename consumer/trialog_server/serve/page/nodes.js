// What the views are built of: elements, tables, and values as texts.
// Every text goes in as text: no name is ever read as HTML.

const TITLE_FROM_CHARS = 24;
const LINKED = new Set(["http:", "https:"]);

export function node(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((it) => it !== null && it !== undefined));
  return element;
}

export function link(hash, text) {
  return node("a", { href: hash }, text);
}

export function runLink(run) {
  return link(`#/runs/${run.run_id}`, run.run_name);
}

export function experimentHash(name) {
  return `#/experiments/${encodeURIComponent(name)}`;
}

// An address that somebody logged: only http and https lead anywhere, all else stays text.
export function addressOf(text) {
  if (!URL.canParse(text) || !LINKED.has(new URL(text).protocol)) return text;
  return node("a", { href: text, target: "_blank", rel: "noopener noreferrer" }, text);
}

export function button(text, onclick, attributes = {}) {
  return node("button", { type: "button", onclick, ...attributes }, text);
}

export function table(heads, rows) {
  return node(
    "div",
    { class: "scroll" },
    node(
      "table",
      {},
      node("thead", {}, ...groupsOf(heads), node("tr", {}, ...heads.map(head))),
      node("tbody", {}, ...rows),
    ),
  );
}

// A head is a text, or {text, group, numeric}: heads of one group stand under its name. One without
// a text is no head.
function head(it) {
  if (it === "") return node("td");
  return node("th", { scope: "col", class: it.numeric ? "number" : null }, it.text ?? it);
}

function groupsOf(heads) {
  if (!heads.some((it) => it.group)) return [];
  const cells = [];
  for (const { group = "" } of heads) {
    const last = cells.at(-1);
    if (last?.textContent === group) last.colSpan += 1;
    else cells.push(group ? node("th", { scope: "colgroup" }, group) : node("td"));
  }
  return [node("tr", { class: "groups" }, ...cells)];
}

export function row(cells, attributes = {}) {
  const shown = (it) => (it instanceof Numeric ? cell(it.text, true) : cell(it));
  return node("tr", attributes, ...cells.map(shown));
}

// What is cut off at the end of a narrow cell can be read in full under the pointer.
function cell(content, isNumeric = false) {
  const title = typeof content === "string" && content.length > TITLE_FROM_CHARS ? content : null;
  return node("td", { class: isNumeric ? "number" : null, title }, content ?? "");
}

class Numeric {
  constructor(value) {
    this.text = number(value);
  }
}

export function numeric(value) {
  return new Numeric(value);
}

export function facts(pairs) {
  const rows = pairs.map(([name, fact]) =>
    node("tr", {}, node("th", { scope: "row" }, name), node("td", {}, fact)),
  );
  const body = node("tbody", {}, ...rows);
  return node("div", { class: "scroll" }, node("table", { class: "facts" }, body));
}

export function section(title, heads, rows) {
  if (rows.length === 0) return null;
  return node("section", {}, node("h2", {}, title), table(heads, rows));
}

// A section whose rows come page by page: a page is {rows, token}, `next(token)` brings another.
export function pagedSection(title, heads, first, next) {
  if (first.rows.length === 0) return null;
  const heading = node("h2", {});
  const shown = table(heads, []);
  const body = shown.querySelector("tbody");
  let { token } = first;
  const add = (page) => {
    body.append(...page.rows);
    token = page.token;
    heading.textContent = token ? `${title}, the first ${body.rows.length}` : title;
    more.hidden = !token;
  };
  const more = button("Show more", () =>
    next(token).then(add, (error) => more.after(complaint(error))),
  );
  add(first);
  return node("section", {}, heading, shown, more);
}

export function complaint(error) {
  return node("span", { class: "error", role: "alert" }, ` ${error.message}`);
}

export function number(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

// A parameter for people: a text is itself, all else is JSON.
export function valueText(parameter) {
  return typeof parameter === "string" ? parameter : jsonText(parameter);
}

// JSON with whole numbers of any size; keys in order, so that equal values have equal texts.
export function jsonText(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${jsonText(value[key])}`).join(",")}}`;
}

export function time(text) {
  return text ? new Date(text).toLocaleString() : "";
}

export function status(run) {
  const word = node("span", { class: `status ${run.status.toLowerCase()}` }, run.status);
  if (!run.is_stale) return word;
  const title = `No event since ${time(run.last_event_time)}; its process may have died.`;
  return node("span", {}, word, " ", node("span", { class: "stale", title }, "stale"));
}

// A run may lack a name that every object has, such as "constructor".
export function ownValue(values, name) {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

export function droppedCalls(run) {
  return Number(ownValue(run.tags, "trialog.dropped_calls") ?? 0) || 0;
}

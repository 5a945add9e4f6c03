// The table of runs, which can be sorted, filtered and given further columns. What it shows is kept in the address,
// after #, so that a link reproduces it.
(() => {
  "use strict";
  const table = document.getElementById("runs-table");
  if (!table) return;
  const data = JSON.parse(document.getElementById("runs-data").textContent);
  const columns = data.columns, every = Object.keys(columns), total = table.tBodies[0].rows.length;
  const states = data.states;
  const state = { sort: "", filter: "", state: new Set(states), columns: data.shown };

  const createElement = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const isColumn = (column) => Object.hasOwn(columns, column);
  const text = (column, i) => columns[column].texts[i] ?? "–";
  const lower = [...Array(total).keys()].map((i) => every.map((c) => columns[c].texts[i] ?? "").join("\n").toLowerCase());

  // A filter is a condition on columns, as in `saescale fit --where`. Any other text is searched for, word by word, in
  // every column.
  const isCondition = (filter) => /[=<>!]|(^|\s)(and|or|not|in|is)\s/.test(filter) || isColumn(filter.trim());
  const cell = (i) => (column) => (columns[column]?.values ?? columns[column]?.texts)?.[i] ?? null;
  const passing = (filter) => {
    if (isCondition(filter)) {
      const test = conditions.test(filter, [...every, ...data.empty]);
      return (i) => test(cell(i));
    }
    const words = filter.toLowerCase().split(/\s+/);
    return (i) => words.every((word) => lower[i].includes(word));
  };
  let lastValid = "";  // the last filter without an error, which stays in use while the next one is being typed
  const filtered = (rows) => {
    try {
      const kept = rows.filter(passing(state.filter));
      [lastValid, problem.textContent, box.ariaInvalid] = [state.filter, "", "false"];
      return kept;
    } catch (error) {
      if (!(error instanceof conditions.ConditionError)) throw error;
      [problem.textContent, box.ariaInvalid] = [error.message, "true"];
      return rows.filter(passing(lastValid));
    }
  };
  const chosen = () => filtered(
    [...Array(total).keys()].filter((i) => !states.length || state.state.has(columns.state.texts[i])));
  const sorted = (rows) => {
    const column = state.sort.replace(/^-/, ""), sign = state.sort.startsWith("-") ? -1 : 1;
    if (!isColumn(column)) return rows;
    const keys = columns[column].numeric ? columns[column].values : columns[column].texts;
    const order = (i, j) => {  // missing values come last in both directions
      if (keys[i] === null || keys[j] === null) return (keys[i] === null) - (keys[j] === null) || i - j;
      return sign * (keys[i] < keys[j] ? -1 : keys[i] > keys[j] ? 1 : 0) || i - j;
    };
    return rows.sort(order);
  };

  const tableCell = (column, i) => {
    const td = createElement("td", { className: columns[column].numeric ? "num" : "" });
    if (column !== "state") td.textContent = text(column, i);
    else td.append(createElement("span", { className: `state ${text(column, i)}`, textContent: text(column, i) }));
    return td;
  };
  const heading = (column) => {
    const th = createElement("th", { scope: "col", className: columns[column].numeric ? "num" : "" });
    const button = createElement("button", { type: "button", textContent: column });
    button.addEventListener("click", () => {
      state.sort = state.sort === column ? `-${column}` : column;
      show();
      table.tHead.rows[0].cells[state.columns.indexOf(column)].firstChild.focus();
    });
    if (state.sort.replace(/^-/, "") === column) th.ariaSort = state.sort.startsWith("-") ? "descending" : "ascending";
    th.append(button);
    return th;
  };
  const show = () => {
    const rows = sorted(chosen());
    table.tHead.replaceChildren(createElement("tr", {}, ...state.columns.map(heading)));
    table.tBodies[0].replaceChildren(
      ...rows.map((i) => createElement("tr", {}, ...state.columns.map((column) => tableCell(column, i)))));
    count.textContent = `${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")} runs`;
    writeAddress();
  };
  const writeAddress = () => {
    const kept = [];
    const add = (key, value, initial) => value !== initial && kept.push(`${key}=${encodeURIComponent(value)}`);
    add("sort", state.sort, "");
    add("filter", state.filter, "");
    add("state", states.filter((s) => state.state.has(s)).join(","), states.join(","));
    add("columns", state.columns.join(","), data.shown.join(","));
    const hash = kept.length ? `#${kept.join("&")}` : "";
    if (hash || location.hash.includes("=")) history.replaceState(null, "", hash || location.pathname);
  };
  const readAddress = () => {
    if (!location.hash.includes("=")) return false;
    const parameters = new URLSearchParams(location.hash.slice(1));
    state.sort = parameters.get("sort") ?? "";
    state.filter = parameters.get("filter") ?? "";
    state.state = new Set(parameters.get("state")?.split(",") ?? states);
    const named = parameters.get("columns")?.split(",").filter(isColumn);
    state.columns = named?.length ? named : data.shown;
    return true;
  };

  const box = createElement("input", { type: "search", placeholder: "k == 32 and nmse < 0.2, or any word", spellcheck: false });
  const count = createElement("output"), problem = createElement("output", { className: "problem" });
  const chips = states.map((name) => {
    const chip = createElement("button", { type: "button", className: `chip state ${name}` },
      `${columns.state.texts.filter((s) => s === name).length.toLocaleString("en")} ${name}`);
    chip.addEventListener("click", () => {
      if (!state.state.delete(name)) state.state.add(name);
      updateControls();
      show();
    });
    return [name, chip];
  });
  const picks = every.map((column) => {
    const pick = createElement("input", { type: "checkbox" });
    pick.addEventListener("change", () => {
      state.columns = pick.checked ? [...state.columns, column] : state.columns.filter((c) => c !== column);
      show();
    });
    return [column, pick];
  });
  const updateControls = () => {
    box.value = state.filter;
    for (const [name, chip] of chips) chip.ariaPressed = String(state.state.has(name));
    for (const [column, pick] of picks) pick.checked = state.columns.includes(column);
  };
  box.addEventListener("input", () => { state.filter = box.value; show(); });
  document.getElementById("runs-controls").append(
    createElement("label", { className: "filter" }, "Filter ", box),
    ...(chips.length ? [createElement("span", { className: "chips", role: "group", ariaLabel: "States" }, ...chips.map(([, chip]) => chip))] : []),
    count, problem,
    createElement("details", {}, createElement("summary", {}, `Columns (${every.length})`),
      createElement("div", { className: "picks" }, ...picks.map(([column, pick]) => createElement("label", {}, pick, ` ${column}`)))));
  document.getElementById("runs-controls").hidden = false;

  const start = () => { const inAddress = readAddress(); updateControls(); show(); return inAddress; };
  window.addEventListener("hashchange", () => { if (start()) document.getElementById("runs").scrollIntoView({ behavior: "instant" }); });
  if (start()) document.getElementById("runs").scrollIntoView({ behavior: "instant" });
})();

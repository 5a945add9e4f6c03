// The table of runs, which can be sorted, filtered and given further columns. Figures fade what its filter leaves out, and
// a run that is picked stands out in all of them and in the table. What is shown is kept in the address, after #, so that
// a link reproduces it.
(() => {
  "use strict";
  const table = document.getElementById("runs-table");
  if (!table) return;
  const data = JSON.parse(document.getElementById("runs-data").textContent);
  const columns = data.columns, every = Object.keys(columns), total = table.tBodies[0].rows.length;
  const states = data.states;
  const state = { sort: "", filter: "", state: new Set(states), columns: data.shown, run: null };

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
      reason.textContent = kept.length ? "" : why(rows);
      return kept;
    } catch (error) {
      if (!(error instanceof conditions.ConditionError)) throw error;
      [problem.textContent, reason.textContent, box.ariaInvalid] = [error.message, "", "true"];
      return rows.filter(passing(lastValid));
    }
  };
  const numbers = [...Array(total).keys()];
  const chosen = () => filtered(numbers.filter((i) => !states.length || state.state.has(columns.state.texts[i])));

  // Why no run is left. rows: those whose state is on.
  const runs = (count) => `${count.toLocaleString("en")} run${count === 1 ? "" : "s"}`;
  const why = (rows) => {
    const off = states.filter((name) => !state.state.has(name));
    if (!rows.length) return `No run is left because ${off.length === states.length ? "every state is" : "the states of all runs are"} switched off.`;
    const passes = passing(state.filter), elsewhere = numbers.filter((i) => !rows.includes(i) && passes(i)).length;
    const also = elsewhere ? ` ${runs(elsewhere)} whose state is switched off (${off.join(", ")}) would be left.` : "";
    return `${isCondition(state.filter) ? whyCondition(rows) : whyWords(rows)}${also}`;
  };
  const whyCondition = (rows) => {
    const cells = rows.map((i) => Object.assign(cell(i), { i }));
    return conditions.why(state.filter, [...every, ...data.empty], cells, (column, row) => text(column, row.i), ["run", "runs"]);
  };
  const whyWords = (rows) => {
    const counts = state.filter.trim().split(/\s+/).map((word) => [word, rows.filter((i) => lower[i].includes(word.toLowerCase())).length]);
    const without = counts.filter(([, count]) => !count).map(([word]) => `“${word}”`);
    if (without.length) return `No cell of any run has ${without.join(" or ")}.`;
    return `No run has all of these words: ${counts.map(([word, count]) => `“${word}” is in ${runs(count)}`).join(", ")}.`;
  };
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
  const runName = (i) => (isColumn("run_id") ? `run ${text("run_id", i)}` : `row ${(i + 1).toLocaleString("en")}`);
  const tableRow = (i) => {
    const tr = createElement("tr", { className: i === state.run ? "picked" : "" }, ...state.columns.map((column) => tableCell(column, i)));
    if (i === state.run) tr.setAttribute("aria-current", "true");
    tr.addEventListener("click", () => { if (!String(getSelection())) pick(i); });
    return tr;
  };
  // The values of the runs behind a point of a figure, as its tip.
  const describe = (rows) => {
    const name = rows.length === 1 ? runName(rows[0]) : `${runs(rows.length)}: ${[...new Set(rows.map(runName))].slice(0, 4).join(", ")}${rows.length > 4 ? ", …" : ""}`;
    const shared = state.columns.filter((column) => column !== "run_id").map((column) => {
      const values = [...new Set(rows.map((i) => text(column, i)))];
      return [column, values.length > 2 ? `${values.length} values` : values.join(" or ")];
    }).filter(([, value]) => value !== "–");
    return [createElement("b", { textContent: name }),
      createElement("dl", {}, ...shared.flatMap(([column, value]) => [createElement("dt", { textContent: column }), createElement("dd", { textContent: value })]))];
  };
  const pick = (i) => {
    state.run = state.run === i ? null : i;
    show();
    const row = table.tBodies[0].querySelector(".picked"), frame = table.parentElement;
    if (row) frame.scrollTop += row.getBoundingClientRect().top - frame.getBoundingClientRect().top - frame.clientHeight / 2;
  };
  const bar = createElement("div", { id: "run-bar", hidden: true });
  const undo = () => {
    [state.run, state.filter, state.state] = [null, "", new Set(states)];
    updateControls();
    show();
  };
  const showBar = (rows) => {
    const parts = [], left = rows.length ? `${rows.length.toLocaleString("en")} of ${runs(total)}` : "No run";
    if (state.run !== null)
      parts.push(`${runName(state.run)} is highlighted${rows.includes(state.run) ? "" : ", though the filter leaves it out"}.`);
    if (rows.length < total) parts.push(`${left} ${rows.length > 1 ? "are" : "is"} left${lastValid ? ` by ${lastValid}` : ""}; ${rows.length ? "the others" : "all"} are faint in the figures.`);
    bar.hidden = !parts.length || !marks.count;
    const button = createElement("button", { type: "button", textContent: "Undo" });
    button.addEventListener("click", undo);
    bar.replaceChildren(createElement("span", { textContent: parts.join(" ") }), button);
  };
  const show = () => {
    const rows = sorted(chosen());
    marks.show(new Set(rows), state.run);
    showBar(rows);
    table.tHead.replaceChildren(createElement("tr", {}, ...state.columns.map(heading)));
    table.tBodies[0].replaceChildren(
      ...rows.map(tableRow));
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
    add("run", state.run === null ? "" : String(columns.run_id?.texts[state.run] ?? state.run), "");
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
    const run = parameters.get("run"), at = columns.run_id ? columns.run_id.texts.indexOf(run) : Number(run);
    state.run = run === null || !numbers.includes(at) ? null : at;
    return true;
  };

  const box = createElement("input", { type: "search", placeholder: "k == 32 and nmse < 0.2, or any word", spellcheck: false });
  const count = createElement("output"), problem = createElement("output", { className: "problem" });
  const reason = createElement("output", { className: "reason" });
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
    count, problem, reason,
    createElement("details", {}, createElement("summary", {}, `Columns (${every.length})`),
      createElement("div", { className: "picks" }, ...picks.map(([column, pick]) => createElement("label", {}, pick, ` ${column}`)))));
  document.getElementById("runs-controls").hidden = false;

  marks.connect({ describe, pick });
  document.body.append(bar);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || (event.target === box && box.value)) return;
    marks.hide();
    if (state.run !== null) pick(state.run);
  });

  const start = () => { const inAddress = readAddress(); updateControls(); show(); return inAddress; };
  window.addEventListener("hashchange", () => { if (start()) document.getElementById("runs").scrollIntoView({ behavior: "instant" }); });
  if (start()) document.getElementById("runs").scrollIntoView({ behavior: "instant" });
})();

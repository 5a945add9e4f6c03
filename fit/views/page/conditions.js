// The language of conditions of fit/data/conditions.py, for the filter of the table of runs: the same grammar, functions,
// missing values and error sentences. It is parsed by hand, because the page's policy allows no eval; both are held
// against the same cases, tests/fit/data/conditions.json. Numbers are doubles here: integers are exact up to 2^53.
const conditions = (() => {
  "use strict";
  const MOST_CHARACTERS = 10000, MOST_LEVELS = 100;

  class ConditionError extends Error {}

  // Functions: how they compute, and the fewest and the most arguments they take. NaN stands for "not defined".
  const positive = (f) => (x) => (x > 0 ? f(x) : NaN);
  const rounded = (x, digits = 0) => {  // to even at a tie, as in Python
    if (!(digits > -400 && digits < 400 && Number.isInteger(digits)))
      throw new ConditionError("round takes a whole number of digits between -400 and 400");
    const scale = 10 ** Math.abs(digits), scaled = digits < 0 ? x / scale : x * scale;
    const tie = Math.abs(scaled % 1) === 0.5 && Number.isInteger(digits < 0 ? x : x * 2 ** (digits + 1));
    if (digits > 0 && !tie) return digits > 100 || Math.abs(x) > 1e20 ? x : Number(x.toFixed(digits));
    const whole = tie ? 2 * Math.round(scaled / 2) : Math.round(scaled);
    return digits < 0 ? whole * scale : whole / scale;
  };
  const FUNCTIONS = {
    abs: [Math.abs, 1, 1], ceil: [Math.ceil, 1, 1], exp: [Math.exp, 1, 1], float: [(x) => x, 1, 1], floor: [Math.floor, 1, 1],
    int: [Math.trunc, 1, 1], log: [positive(Math.log), 1, 1], log10: [positive(Math.log10), 1, 1],
    log2: [positive(Math.log2), 1, 1], max: [Math.max, 1, Infinity], min: [Math.min, 1, Infinity], round: [rounded, 1, 2],
    sqrt: [Math.sqrt, 1, 1],
  };
  const remainder = (a, b) => { const r = a % b; return r !== 0 && r < 0 !== b < 0 ? r + b : r; };
  const ARITHMETIC = {
    "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b,
    "/": (a, b) => (b === 0 ? NaN : a / b),
    "//": (a, b) => (b === 0 ? NaN : Math.round((a - remainder(a, b)) / b)),
    "%": remainder,
    "**": (a, b) => (a === 0 && b < 0 ? NaN : a ** b),
  };
  const ORDER = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
  const WORDS = { True: true, False: false, None: null, true: true, false: false, missing: null };
  const RESERVED = new Set(("and or not in is if else as assert async await break class continue def del elif except finally "
    + "for from global import lambda nonlocal pass raise return try while with yield").split(" "));

  // Sentences.
  const quoted = (text) => {  // as Python's repr
    const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
    return escaped.includes("'") && !escaped.includes('"') ? `"${escaped}"` : `'${escaped.replaceAll("'", "\\'")}'`;
  };
  const written = (x) => (typeof x === "string" ? quoted(x) : x === true ? "True" : x === false ? "False" : String(x));
  const notUnderstood = (text) => new ConditionError(
    `${quoted(text)} is not understood: write columns, numbers, texts in quotes, + - * / // % **, comparisons, in [...], `
    + `is missing, and, or, not, a if c else b, and calls of ${Object.keys(FUNCTIONS).join(", ")}, as in `
    + "k == 32 and n_latents > 512.");
  const tooLong = (text) => new ConditionError(`${quoted(text.slice(0, 40))}... is too long: at most `
    + `${MOST_CHARACTERS.toLocaleString("en")} characters and ${MOST_LEVELS} levels of nesting.`);

  const listed = (texts, word) =>
    (texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} ${word} ${texts.at(-1)}`);

  // Near names, as Python's difflib finds them: the share of characters in matching blocks.
  const matching = (a, b) => {
    let length = 0, endA = 0, endB = 0, previous = [];
    for (let i = 1; i <= a.length; i++) {
      const row = [];
      for (let j = 1; j <= b.length; j++) {
        if (a[i - 1] !== b[j - 1]) continue;
        row[j] = (previous[j - 1] ?? 0) + 1;
        if (row[j] > length) [length, endA, endB] = [row[j], i, j];
      }
      previous = row;
    }
    if (!length) return 0;
    return length + matching(a.slice(0, endA - length), b.slice(0, endB - length)) + matching(a.slice(endA), b.slice(endB));
  };
  const didYouMean = (name, known) => {
    const wanted = [...name.toLowerCase()], spelled = new Map(known.map((each) => [each.toLowerCase(), each]));
    const near = [...spelled.keys()]
      .map((each) => [2 * matching([...each], wanted) / ([...each].length + wanted.length || 1), each])
      .filter(([ratio]) => ratio >= 0.6)
      .sort(([p, a], [q, b]) => q - p || (a < b ? 1 : -1)).slice(0, 3)
      .filter(([ratio], _, [[best]]) => ratio >= best - 0.26).map(([, each]) => spelled.get(each));
    return near.length ? ` Did you mean ${listed(near, "or")}?` : "";
  };

  // Tokens: { kind: "number" | "text" | "name" | "column" | "sign" | "end", value, start, end }, of the trimmed text.
  const TEXT = String.raw`'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"`;
  const SCAN = new RegExp(`${TEXT}|\`[^\`]*\`|[=<>!:]=+|[#\\\\\`;=]`, "g");
  const DIGITS = String.raw`\d+(?:_\d+)*`;
  const TOKEN = new RegExp(String.raw`\s*(?:(?<number>(?:${DIGITS}(?:\.(?:${DIGITS})?)?|\.${DIGITS})(?:[eE][+-]?${DIGITS})?)`
    + `|(?<text>${TEXT})|\`(?<column>[^\`]+)\`` + String.raw`|(?<name>[\p{L}_][\p{L}\p{N}\p{M}_]*)`
    + String.raw`|(?<sign>\*\*|\/\/|[<>=!]=|[-+*\/%<>()\[\],]))`, "yu");
  const ESCAPES = { n: "\n", t: "\t", r: "\r", "'": "'", '"': '"', "\\": "\\" };
  const plain = (literal) => literal.slice(1, -1).replace(/\\(.)/gs, (all, c) => ESCAPES[c] ?? all);
  const tokens = (text) => {
    for (const [found] of text.matchAll(SCAN)) {
      if (found === "=") throw new ConditionError(`${quoted(text)} has a single =: write == to compare.`);
      if ("#\\`;".includes(found) || found === "``") throw notUnderstood(text);
    }
    const list = [], source = text.trim();
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < source.length) {
      const match = TOKEN.exec(source);
      if (!match) throw notUnderstood(text);
      const [kind, value] = Object.entries(match.groups).find(([, each]) => each !== undefined);
      const end = TOKEN.lastIndex, start = match.index + match[0].search(/\S/);
      if (kind === "text") list.push({ kind, value: plain(value), start, end });
      else if (kind === "number") list.push({ kind, value: Number(value.replaceAll("_", "")), start, end });
      else list.push({ kind, value, start, end });
    }
    return [...list, { kind: "end" }];
  };

  // Values: a number, a text, true, false, or null for a missing one.
  const cannot = (reason) => { throw new ConditionError(reason); };
  const isNumber = (x) => typeof x === "number" || typeof x === "boolean";
  const truth = (x) => (x === null || typeof x === "boolean" ? x : cannot(`${written(x)} is not true or false: compare it, as k == 32`));
  const computed = (name, compute, operands) => {
    if (operands.includes(null)) return null;
    for (const x of operands) if (!isNumber(x)) cannot(`${name} takes numbers, not ${written(x)}`);
    const numbers = operands.map(Number), result = compute(...numbers);
    if (Math.abs(result) === Infinity && numbers.every(Number.isFinite)) cannot("a number becomes too large");
    return Number.isNaN(result) ? null : result;
  };
  const equal = (a, b) => (isNumber(a) && isNumber(b) ? Number(a) === Number(b) : a === b);
  const compared = (sign, a, b) => {
    if (a === null || b === null) return null;
    if (sign === "==" || sign === "!=") return equal(a, b) === (sign === "==");
    if (!(isNumber(a) && isNumber(b)) && !(typeof a === "string" && typeof b === "string"))
      cannot(`${written(a)} and ${written(b)} have no order`);
    return ORDER[sign](a, b);
  };
  const contained = (a, list) => {
    if (a === null) return null;
    return list.some((b) => equal(a, b)) || (list.includes(null) ? null : false);
  };
  const not = (x) => (x === null ? null : !x);
  const all = (outcomes) => {  // Kleene's and: false decides, otherwise missing does
    let result = true;
    for (const outcome of outcomes) {
      const x = truth(outcome());
      if (x === false) return false;
      if (x === null) result = null;
    }
    return result;
  };

  // A node is { run: row => value, level: of nesting }, and says whether it is the word `missing` or a list.
  class Parser {
    constructor(text) {
      [this.text, this.position, this.open] = [text, 0, 0];
      [this.names, this.calls] = [new Set(), new Set()];
      if ([...text].length > MOST_CHARACTERS) throw tooLong(text);
      this.tokens = tokens(text);
    }
    parse() {
      const node = this.value(this.choice());
      if (this.tokens[this.position].kind !== "end") throw notUnderstood(this.text);
      return node;
    }
    node(run, parts, more = {}) {
      const level = 1 + Math.max(0, ...parts.map((part) => part.level));
      if (level > MOST_LEVELS) throw tooLong(this.text);
      return { run, level, ...more };
    }
    value(node) {  // a list stands after `in` only
      if (node.list) throw notUnderstood(this.text);
      return node;
    }
    next(...values) {  // take the token if it is one of these signs or words
      const { kind, value } = this.tokens[this.position];
      if ((kind !== "sign" && kind !== "name") || !values.includes(value)) return null;
      this.position++;
      return value;
    }
    expect(value) {
      if (!this.next(value)) throw notUnderstood(this.text);
    }
    nested(parse) {  // bounds the recursion
      if (++this.open > 2 * MOST_LEVELS) throw tooLong(this.text);
      const node = parse();
      this.open--;
      return node;
    }

    choice() {  // a if c else b
      const body = this.either();
      if (!this.next("if")) return body;
      const test = this.value(this.either());
      this.expect("else");
      const other = this.value(this.nested(() => this.choice()));
      this.value(body);
      const run = (row) => { const x = truth(test.run(row)); return x === null ? null : (x ? body : other).run(row); };
      return this.node(run, [body, test, other]);
    }
    joined(word, operand, run) {
      const parts = [operand()];
      while (this.next(word)) parts.push(operand());
      if (parts.length === 1) return parts[0];
      parts.forEach((part) => this.value(part));
      return this.node((row) => run(parts, row), parts);
    }
    either() {
      const run = (parts, row) => not(all(parts.map((part) => () => not(truth(part.run(row))))));
      return this.joined("or", () => this.both(), run);
    }
    both() {
      return this.joined("and", () => this.negation(), (parts, row) => all(parts.map((part) => () => part.run(row))));
    }
    negation() {
      if (!this.next("not")) return this.comparison();
      const part = this.value(this.nested(() => this.negation()));
      return this.node((row) => not(truth(part.run(row))), [part]);
    }
    sign() {
      const sign = this.next("==", "!=", "<", "<=", ">", ">=", "in", "is");
      if (sign === "is") return this.next("not") ? "is not" : "is";
      if (sign || !this.next("not")) return sign;
      this.expect("in");
      return "not in";
    }
    comparison() {
      const parts = [this.sum()], tests = [];
      for (let sign = this.sign(); sign; sign = this.sign()) {
        const left = parts.at(-1), right = this.sum();
        if (sign.endsWith("in") !== Boolean(right.list)) throw notUnderstood(this.text);
        if (sign.startsWith("is") && !right.missing) throw notUnderstood(this.text);
        parts.push(right);
        tests.push([sign, !sign.endsWith("in") && (left.missing || right.missing)]);
      }
      if (!tests.length) return parts[0];
      this.value(parts[0]);
      if (parts.slice(1, -1).some((part) => part.list)) throw notUnderstood(this.text);
      return this.node((row) => this.chain(parts, tests, row), parts);
    }
    chain(parts, tests, row) {
      let left = parts[0].run(row);
      return all(tests.map(([sign, missing], i) => () => {
        const right = parts[i + 1].run(row), a = left;
        left = right;
        if (sign === "in") return contained(a, right);
        if (sign === "not in") return not(contained(a, right));
        if (missing && !(sign in ORDER)) return (a === null && right === null) === (sign === "==" || sign === "is");
        return compared(sign, a, right);
      }));
    }
    operation(signs, operand) {  // from the left: 10 - 3 - 2 is 5
      let left = operand();
      for (let sign = this.next(...signs); sign; sign = this.next(...signs)) {
        const [a, b, name] = [this.value(left), this.value(operand()), sign];
        left = this.node((row) => computed(name, ARITHMETIC[name], [a.run(row), b.run(row)]), [a, b]);
      }
      return left;
    }
    sum() { return this.operation(["+", "-"], () => this.product()); }
    product() { return this.operation(["*", "/", "//", "%"], () => this.signed()); }
    signed() {
      const sign = this.next("+", "-");
      if (!sign) return this.power();
      const part = this.value(this.nested(() => this.signed()));
      return this.node((row) => computed(sign, (x) => (sign === "-" ? -x : x), [part.run(row)]), [part]);
    }
    power() {  // from the right, and before the sign on its left: -2 ** 2 is -4
      const base = this.primary();
      if (!this.next("**")) return base;
      const [a, b] = [this.value(base), this.value(this.nested(() => this.signed()))];
      return this.node((row) => computed("**", ARITHMETIC["**"], [a.run(row), b.run(row)]), [a, b]);
    }
    primary() {
      const { kind, value } = this.tokens[this.position++];
      if (kind === "number") return this.node(() => value, []);
      if (kind === "text") {
        let text = value;
        while (this.tokens[this.position].kind === "text") text += this.tokens[this.position++].value;
        return this.node(() => text, []);
      }
      if (kind === "column") return this.column(value);
      if (kind === "name" && !RESERVED.has(value)) return this.named(value);
      if (kind === "sign" && value === "[") return this.listed(this.items("]").parts);
      if (kind !== "sign" || value !== "(") throw notUnderstood(this.text);
      const { parts, comma } = this.items(")");
      if (parts.length === 1 && !comma) return parts[0];
      return this.listed(parts);
    }
    items(close) {  // up to the closing bracket; a comma may stand before it
      return this.nested(() => {
        const parts = [];
        let comma = false;
        while (!this.next(close)) {
          if (parts.length && !comma) throw notUnderstood(this.text);
          parts.push(this.choice());
          comma = Boolean(this.next(","));
        }
        return { parts, comma };
      });
    }
    listed(parts) {
      parts.forEach((part) => this.value(part));
      return this.node((row) => parts.map((part) => part.run(row)), [], { list: true, level: Math.max(0, ...parts.map((p) => p.level)) });
    }
    column(name) {
      this.names.add(name);
      return this.node((row) => row(name), []);
    }
    named(name) {
      if (this.next("(")) return this.call(name, this.items(")").parts);
      if (Object.hasOwn(WORDS, name)) return this.node(() => WORDS[name], [], { missing: WORDS[name] === null });
      return this.column(name);
    }
    call(name, parts) {
      if (["None", "True", "False"].includes(name)) throw notUnderstood(this.text);  // these are not names in Python
      parts.forEach((part) => this.value(part));
      this.calls.add(name);
      const [compute, fewest, most] = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : [];
      const run = (row) => {
        const operands = parts.map((part) => part.run(row));
        if (parts.length >= fewest && parts.length <= most) return computed(name, compute, operands);
        const count = most === Infinity ? `${fewest} or more` : most > fewest ? `${fewest} to ${most}` : `${fewest}`;
        return cannot(`${name} takes ${count} argument${count === "1" ? "" : "s"}, not ${parts.length}`);
      };
      return this.node(run, parts);
    }
  }

  // The test of a condition over rows, each a function from the name of a column to its value. Throws ConditionError,
  // now for what is not a condition on these columns, or from the test for what cannot be computed.
  const test = (text, columns) => {
    const parser = new Parser(text), body = parser.parse();
    for (const name of [...parser.calls].sort()) {
      const known = Object.keys(FUNCTIONS);
      if (!known.includes(name)) throw new ConditionError(`${quoted(text)} calls ${name}, which is not a function here: only `
        + `${known.join(", ")} can be called.${didYouMean(name, known)}`);
    }
    for (const name of [...parser.names].sort()) {
      if (!columns.includes(name)) throw new ConditionError(`${quoted(text)} names ${name}, which is not a column here (text `
        + `needs quotes).${didYouMean(name, columns) || ` There are ${columns.join(", ")}.`}`);
    }
    return (row) => {
      let outcome;
      try {
        outcome = body.run(row);
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        throw new ConditionError(`${quoted(text)} cannot be computed: ${error.message}.`);
      }
      if (outcome === null || typeof outcome === "boolean") return outcome === true;
      throw new ConditionError(`${quoted(text)} is not true or false: compare a column, as k == 32.`);
    };
  };

  // What a condition is joined from by `and`, as texts: `a and (b or c)` is a, and (b or c).
  const parts = (text) => {
    const source = text.trim(), list = tokens(text), found = [];
    let depth = 0, start = 0;
    for (const { kind, value, start: at, end } of list) {
      if (kind === "sign") depth += "([".includes(value) - ")]".includes(value);
      if (kind !== "name" || depth) continue;
      if (["or", "if", "else"].includes(value)) return [source];
      if (value === "and") { found.push(source.slice(start, at).trim()); start = end; }
    }
    const whole = found.length === 0 && list[0].value === "(" && closes(list) === list.length - 2;
    return whole && list.length > 3 ? parts(source.slice(1, -1)) : [...found, source.slice(start).trim()];
  };
  const closes = (list) => {  // where the bracket that opens first is closed
    let depth = 0;
    return list.findIndex(({ kind, value }) =>
      kind === "sign" && "([)]".includes(value) && (depth += "([".includes(value) ? 1 : -1) === 0);
  };

  // Why a condition holds for none of these rows, in a sentence or more: the parts of which each leaves none, or else
  // the first part that leaves none of what those before it leave. `named` is what a row is called: ["run", "runs"].
  const MOST_VALUES = 5;
  const why = (text, columns, rows, show, named = ["row", "rows"]) => {
    const tests = parts(text).map((part) => [part, test(part, columns), [...columnsOf(part)]]);
    const alone = tests.filter(([, holds]) => !rows.some(holds));
    if (alone.length) return alone.map(([part, , names]) => `No ${named[0]} has ${part}: ${values(names, rows, show)}.`).join(" ");
    let left = rows;
    for (const [i, [part, holds, names]] of tests.entries()) {
      const next = left.filter(holds);
      if (next.length) { left = next; continue; }
      const before = tests.slice(0, i).map(([each]) => each).join(" and ");
      const count = `${left.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${named[1]}`;
      return `${before} leaves ${count}, and none of them has ${part}: there ${values(names, left, show)}.`;
    }
    return "";
  };
  const columnsOf = (text) => {
    const parser = new Parser(text);
    parser.parse();
    return parser.names;
  };
  // `k is 16 or 32`, `nmse is 0.21 to 0.43 (missing in 2 of 7)`. show: (column, row) => the text of a cell.
  const values = (names, rows, show) => listed(names.map((name) => {
    const known = rows.filter((row) => row(name) !== null), missing = rows.length - known.length;
    if (!known.length) return `${name} is missing`;
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const sorted = [...known].sort((one, other) => order(one(name), other(name)));
    const texts = [...new Set(sorted.map((row) => show(name, row)))];
    const many = texts.length > MOST_VALUES;
    const range = typeof sorted[0](name) === "number" ? `${texts[0]} to ${texts.at(-1)}`
      : `one of ${texts.length.toLocaleString("en")} texts, as ${listed(texts.slice(0, 2), "or")}`;
    const share = missing ? ` (missing in ${missing.toLocaleString("en")} of ${rows.length.toLocaleString("en")})` : "";
    return `${name} is ${many ? range : listed(texts, "or")}${share}`;
  }), "and") || "it names no column";

  return { test, why, parts, ConditionError };
})();

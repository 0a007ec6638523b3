// The forecast page in the browser: relative times, the filter of the overview, the choice of a series, and its charts.
"use strict";

const byId = id => document.getElementById(id);
const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

// --- times and freshness as of now, not as of when the page was written -------------------------------------------

function relative(milliseconds) {
  if (milliseconds < MINUTE) return "just now";
  const [size, unit] = milliseconds < HOUR ? [MINUTE, "minute"] : milliseconds < 2 * DAY ? [HOUR, "hour"] : [DAY, "day"];
  return new Intl.NumberFormat("en", {style: "unit", unit, unitDisplay: "long"}).format(Math.floor(milliseconds / size)) + " ago";
}

function refreshTimes() {
  for (const time of document.querySelectorAll("time")) {
    const age = Date.now() - Date.parse(time.dateTime);
    if (age >= 0 && age < 60 * DAY) time.textContent = relative(age);
  }
  for (const pill of document.querySelectorAll("[data-expected]")) {
    if (Date.parse(pill.dataset.expected) > Date.now()) continue;
    pill.textContent = "stale";
    pill.className = "pill bad";
  }
}

function filterCards() {
  const wanted = byId("filter").value.trim().toLowerCase();
  for (const card of document.querySelectorAll(".card")) card.hidden = !card.dataset.name.toLowerCase().includes(wanted);
}

// --- numbers --------------------------------------------------------------------------------------------------------

/** What writes numbers with so many decimals; a very small or large one in scientific notation. */
function numberFormat(decimals, largest) {
  if (decimals > 12 || largest >= 1e16) return value => value === 0 ? "0" : value.toExponential(4);
  const digits = Math.max(decimals, 0);
  const format = new Intl.NumberFormat("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
  return value => format.format(value === 0 ? 0 : value);
}

const score = value => value === null || value === undefined ? "–" : value.toFixed(2);
const signedScore = value => value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + value.toFixed(2);
const share = value => value === null || value === undefined ? "–" : Math.round(100 * value) + " %";

/** From whole numbers to values; null stays null. */
function scaleDown(numbers, decimals) {
  const [near, far] = [Math.min(decimals, 300), Math.max(decimals - 300, 0)];
  return numbers.map(number => number === null ? null : number / 10 ** near / 10 ** far);
}

/** About `count` round numbers from `low` to `high`, and what writes them. */
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= raw) || 10 * power;
  const values = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9 && values.length < 30; n++) values.push(n * step);
  const largest = Math.max(...values.map(Math.abs), 0), decimals = Math.max(-Math.floor(Math.log10(step) + 1e-9), 0);
  if (largest >= 1e9 || (largest > 0 && largest < 1e-5)) {
    const digits = Math.min(Math.max(Math.floor(Math.log10(largest)) + decimals * (largest < 1), 1), 3);
    return [values, value => value === 0 ? "0" : value.toExponential(digits).replace(/\.?0+e/, "e").replace("e+", "e")];
  }
  return [values, numberFormat(Math.min(decimals, 12), 0)];
}

// --- drawing --------------------------------------------------------------------------------------------------------

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A plot with an axis of values; the index of a period or step gives its x. */
function makePlot(svg, {values, first, last, height, count = 5, format}) {
  const width = Math.max(svg.clientWidth, 200), known = values.filter(Number.isFinite);
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [0, 1];
  if (high - low <= Math.abs(high) * 1e-10) [low, high] = low === 0 ? [-1, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
  const pad = (high - low) * .04, [marks, usual] = ticks(low - pad, high + pad, count);
  const texts = marks.map(format || usual), left = 10 + 6.9 * Math.max(...texts.map(text => text.length), 1);
  const [top, bottom, right] = [8, height - 24, width - 8];
  const x = index => left + (right - left) * (last > first ? (index - first) / (last - first) : .5);
  const y = value => bottom - (bottom - top) * (value - low + pad) / (high - low + 2 * pad);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  marks.forEach((mark, n) => svg.append(
    element("line", {class: "grid", x1: left, x2: right, y1: y(mark), y2: y(mark)}),
    element("text", {x: left - 8, y: y(mark) + 4, "text-anchor": "end"}, texts[n])));
  return {svg, x, y, left, right, top, bottom, first, last};
}

/** A line through values from an index on, with a gap where there is none; a value between two gaps is a dot. */
function drawLine(plot, kind, start, values) {
  let path = "", isOpen = false;
  values.forEach((value, n) => {
    if (value === null || !Number.isFinite(value)) return void (isOpen = false);
    const next = values[n + 1], isAlone = !isOpen && (next === null || next === undefined);
    if (isAlone) plot.svg.append(element("circle", {class: `dot ${kind}`, cx: plot.x(start + n), cy: plot.y(value), r: 2.5}));
    path += `${isOpen ? "L" : "M"}${plot.x(start + n).toFixed(1)} ${plot.y(value).toFixed(1)}`;
    isOpen = true;
  });
  if (path) plot.svg.append(element("path", {class: kind, d: path}));
}

function drawBand(plot, kind, start, lower, upper) {
  const points = upper.map((value, n) => [n, value]).concat(lower.map((value, n) => [n, value]).reverse());
  const shown = points.filter(([, value]) => value !== null);
  if (shown.length) plot.svg.append(element("path", {class: kind, d: "M" + shown.map(([n, value]) =>
    `${plot.x(start + n).toFixed(1)} ${plot.y(value).toFixed(1)}`).join("L") + "Z"}));
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Labels of the x axis: where a year, month, day or hour begins, whichever gives enough of them. */
function drawPeriods(plot, labels) {
  const most = Math.max(2, Math.floor((plot.right - plot.left) / 72));
  const parts = [[4, label => label.slice(0, 4)], [7, label => `${MONTHS[label.slice(5, 7) - 1]} ${label.slice(0, 4)}`],
    [10, label => `${+label.slice(8, 10)} ${MONTHS[label.slice(5, 7) - 1]}`], [16, label => label.slice(11, 16)]];
  let chosen = [], write = parts[2][1];
  for (const [length, writer] of parts) {
    const starts = [];
    for (let n = plot.first; n <= plot.last; n++) {
      if (n === plot.first || labels[n].slice(0, length) !== labels[n - 1].slice(0, length)) starts.push(n);
    }
    if (starts.length > 1) starts.shift();  // the first period of all begins nothing
    chosen = starts;
    write = writer;
    if (starts.length >= Math.min(3, most)) break;
  }
  const every = Math.ceil(chosen.length / most);
  chosen.filter((_, n) => n % every === 0).forEach(n => {
    const x = plot.x(n), anchor = x > plot.right - 24 ? "end" : "middle";
    plot.svg.append(element("line", {class: "grid", x1: x, x2: x, y1: plot.bottom, y2: plot.bottom + 4}),
      element("text", {x, y: plot.bottom + 18, "text-anchor": anchor}, write(labels[n])));
  });
}

// --- the page of a recipe -------------------------------------------------------------------------------------------

const SCORES = ["count", "mase", "skill", "inside80", "inside95"];
const asScores = parts => Object.fromEntries(SCORES.map((name, n) => [name, parts[n]]));

/** One series out of its row of numbers. */
function unpack(row, data) {
  const [name, numScored, mase, skill, method, networkSteps, decimals, start, ...parts] = row;
  const [history, mean, lower95, lower80, upper80, upper95, oldMean, oldLower80, oldUpper80] =
    parts.slice(0, 9).map(part => scaleDown(part, decimals));
  const values = [history, mean, lower95, upper95, oldMean].flat().filter(value => value !== null);
  const write = numberFormat(decimals, Math.max(...values.map(Math.abs), 0));
  return {name, numScored, mase, skill, networkSteps, start, history, mean, lower95, lower80, upper80, upper95, oldMean,
    oldLower80, oldUpper80, scores: asScores(parts.slice(9)), method: data.methods[method][0], reason: data.methods[method][1],
    text: value => value === null || value === undefined ? "–" : write(value)};
}

const isShown = () => byId("show-previous")?.checked ?? false;

function drawForecast(series, data) {
  const svg = byId("chart"), {newest, previous, periods} = data, hasPrevious = isShown() && series.oldMean.some(value => value !== null);
  const shownFrom = svg.clientWidth < 480 && newest !== null ? newest - Math.max(50, 3 * series.mean.length) : 0;
  const first = Math.min(...[series.history.length ? Math.max(series.start, shownFrom) : null, newest, hasPrevious ? previous : null].filter(index => index !== null));
  const last = Math.max(series.start + series.history.length, (newest ?? 0) + series.mean.length) - 1;
  const skipped = Math.max(first - series.start, 0), start = series.start + skipped, history = series.history.slice(skipped);
  const values = [history, series.lower95, series.upper95, ...(hasPrevious ? [series.oldMean] : [])].flat();
  const height = Math.round(Math.min(380, Math.max(230, svg.clientWidth * .42)));
  const plot = makePlot(svg, {values: values.filter(value => value !== null), first, last, height});
  if (!Number.isFinite(first)) return plot;
  const before = newest - 1 - series.start, at = series.history[before] ?? null;
  const joined = at !== null && data.origin === newest - 1;  // the forecast begins at the last observation
  const ahead = part => joined ? [at, ...part] : part, from = joined ? newest - 1 : newest;
  drawPeriods(plot, periods);
  if (newest !== null) {
    drawBand(plot, "band95", from, ahead(series.lower95), ahead(series.upper95));
    drawBand(plot, "band80", from, ahead(series.lower80), ahead(series.upper80));
    plot.svg.append(element("line", {class: "origin", x1: plot.x(data.origin), x2: plot.x(data.origin), y1: plot.top, y2: plot.bottom}));
  }
  if (hasPrevious) {
    drawBand(plot, "band-previous", previous, series.oldLower80, series.oldUpper80);
    drawLine(plot, "previous", previous, series.oldMean);
  }
  drawLine(plot, "history", start, history);
  if (newest !== null) drawLine(plot, "mean", from, ahead(series.mean));
  return plot;
}

/** What is known of one period, as pairs of a name and a text. */
function factsAt(series, data, index) {
  const observed = series.history[index - series.start], ahead = data.newest === null ? -1 : index - data.newest;
  const facts = [];
  if (observed !== undefined || ahead < 0) facts.push(["observed", observed === undefined || observed === null ? "nothing" : series.text(observed)]);
  if (ahead >= 0 && ahead < series.mean.length) {
    facts.push(["forecast", series.text(series.mean[ahead])],
      ["80 %", `${series.text(series.lower80[ahead])} to ${series.text(series.upper80[ahead])}`],
      ["95 %", `${series.text(series.lower95[ahead])} to ${series.text(series.upper95[ahead])}`]);
  }
  const old = data.previous === null ? undefined : series.oldMean[index - data.previous];
  if (isShown() && old !== undefined && old !== null) facts.push(["previous run", series.text(old)]);
  return facts;
}

function fillTable(id, rows) {
  const body = byId(id)?.tBodies[0];
  body?.replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map((text, n) => {
      const cell = document.createElement(n === 0 ? "th" : "td");
      if (n === 0) cell.scope = "row";
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

function forecastRows(series, data) {
  return series.mean.map((mean, step) => {
    const index = data.newest + step, {text} = series;
    const isNetwork = step < series.networkSteps;
    const row = [data.periods[index], mean, series.lower80[step], series.upper80[step], series.lower95[step], series.upper95[step]]
      .map((value, n) => n === 0 ? value : text(value));
    if (data.previous !== null) {
      const old = series.oldMean[index - data.previous] ?? null;
      row.push(text(old), old === null ? "–" : (mean > old ? "+" : "") + text(mean - old));
    }
    return [...row, isNetwork ? "lstm" : series.method];
  });
}

/** In words, how the newest run differs from the previous one, and how that one fared. */
function compareRuns(series, data) {
  if (data.previous === null) return null;
  let common = 0, most = null, observed = 0, inside = 0;
  series.oldMean.forEach((old, n) => {
    if (old === null) return;
    const index = data.previous + n, mean = series.mean[index - data.newest], value = series.history[index - series.start];
    if (mean !== undefined) {
      common += 1;
      if (!most || Math.abs(mean - old) > Math.abs(most.change)) most = {change: mean - old, old, mean, period: data.periods[index]};
    }
    if (value !== undefined && value !== null) {
      observed += 1;
      if (value >= series.oldLower80[n] && value <= series.oldUpper80[n]) inside += 1;
    }
  });
  const {text} = series, parts = [];
  if (common === 0) parts.push("The two runs forecast no period in common.");
  else if (most.change === 0) parts.push(`Both runs forecast the same for the ${common} periods that they have in common.`);
  else parts.push(`Of the ${common} ${common === 1 ? "period" : "periods"} that both runs forecast, the mean changed most for ${most.period}: from ${text(most.old)} to ${text(most.mean)} (${most.change > 0 ? "+" : ""}${text(most.change)}).`);
  if (observed) parts.push(`Of the previous run's periods ${observed} ${observed === 1 ? "is" : "are"} observed by now, ${inside} inside the 80 % interval.`);
  return series.oldMean.some(old => old !== null) ? parts.join(" ") : "The previous run has no forecast of this series.";
}

function describeMethod(series, horizon) {
  const by = series.networkSteps > 0 && series.networkSteps < horizon && series.method !== "lstm"
    ? `lstm, from step ${series.networkSteps + 1} on ${series.method}` : series.method;
  const scored = series.numScored ? ` MASE ${score(series.mase)}, skill ${signedScore(series.skill)} over ${series.numScored} scored steps.` : "";
  return `By ${by}${series.reason ? `: ${series.reason}` : ""}.${scored}`;
}

function drawSteps(id, lines, options) {
  const svg = byId(id), values = lines.flatMap(line => line.values).filter(value => value !== null && value !== undefined);
  const horizon = Math.max(...lines.map(line => line.values.length));
  const plot = makePlot(svg, {values: [...values, ...options.include], first: 1, last: horizon, height: 180, count: 4, format: options.format});
  for (const level of options.levels) plot.svg.append(element("line", {class: "origin", x1: plot.left, x2: plot.right, y1: plot.y(level), y2: plot.y(level)}));
  const every = Math.ceil(horizon / Math.max(2, Math.floor((plot.right - plot.left) / 40)));
  for (let step = 1; step <= horizon; step += every) plot.svg.append(element("text", {x: plot.x(step), y: plot.bottom + 18, "text-anchor": "middle"}, step));
  for (const {kind, values: ofLine} of lines) {
    drawLine(plot, kind, 1, ofLine);
    ofLine.forEach((value, n) => value !== null && plot.svg.append(element("circle", {class: `dot ${kind}`, cx: plot.x(n + 1), cy: plot.y(value), r: 2.5})));
  }
}

function drawScores(series, data, isPanel) {
  if (!byId("mase-chart")) return;
  const own = series.scores, all = asScores(data.overall);
  drawSteps("mase-chart", [...(isPanel ? [{kind: "all", values: all.mase}] : []), {kind: "mean", values: own.mase}], {include: [0], levels: [], format: null});
  drawSteps("coverage-chart", [{kind: "all", values: all.inside95}, {kind: "mean", values: all.inside80}], {include: [.5, 1], levels: [.8, .95], format: share});
  fillTable("scores", all.count.map((_, n) => [n + 1, own.count[n] ?? 0, score(own.mase[n]), signedScore(own.skill[n]), share(own.inside80[n]), share(own.inside95[n]),
    ...(isPanel ? [score(all.mase[n]), signedScore(all.skill[n]), share(all.inside80[n]), share(all.inside95[n])] : [])]));
}

function startRecipe(data) {
  const isPanel = byId("series") !== null, scrubber = byId("scrubber");
  let series = null, plot = null;

  function point(index) {
    const facts = factsAt(series, data, index), period = data.periods[index], x = plot.x(index);
    scrubber.value = index;
    scrubber.setAttribute("aria-valuetext", [period, ...facts.map(fact => fact.join(" "))].join(", "));
    byId("readout").replaceChildren(...[[period, null], ...facts].map(([name, text]) => {
      const part = document.createElement("span"), strong = document.createElement("b");
      strong.textContent = text ?? name;
      part.append(...(text === null ? [strong] : [`${name} `, strong]));
      return part;
    }));
    plot.svg.querySelector(".cursor")?.remove();
    plot.svg.append(element("line", {class: "cursor", x1: x, x2: x, y1: plot.top, y2: plot.bottom}));
  }

  function draw(index) {
    plot = drawForecast(series, data);
    Object.assign(scrubber, {min: plot.first, max: plot.last});
    scrubber.style.marginLeft = `${plot.left - 8}px`;
    scrubber.style.width = `${plot.right - plot.left + 16}px`;
    drawScores(series, data, isPanel);
    if (Number.isFinite(plot.first)) point(Math.min(Math.max(index ?? data.newest ?? plot.last, plot.first), plot.last));
  }

  function show(row) {
    series = unpack(row, data);
    byId("series-name").textContent = series.name;
    byId("method").textContent = data.newest === null ? "" : describeMethod(series, series.mean.length) + (data.unit ? ` In ${data.unit}.` : "");
    fillTable("numbers", forecastRows(series, data));
    const comparison = compareRuns(series, data);
    if (comparison) byId("comparison").textContent = comparison;
    draw();
  }

  function pointAt(event) {
    const box = plot.svg.getBoundingClientRect(), x = event.clientX - box.left, {left, right, first, last} = plot;
    if (Number.isFinite(first)) point(Math.round(first + Math.min(Math.max((x - left) / (right - left), 0), 1) * (last - first)));
  }

  byId("chart").addEventListener("pointermove", pointAt);
  byId("chart").addEventListener("pointerdown", pointAt);
  scrubber.addEventListener("input", () => point(+scrubber.value));
  byId("show-previous")?.addEventListener("change", () => draw(+scrubber.value));
  new ResizeObserver(() => series && byId("chart").clientWidth !== +byId("chart").getAttribute("viewBox")?.split(" ")[2] && draw(+scrubber.value)).observe(byId("chart"));
  if (byId("numbers-details")) byId("numbers-details").open = (data.series[0]?.[9].length ?? 0) <= 31;
  if (!data.series.length) byId("series-name").textContent = "No series yet";
  else if (isPanel) startSelector(data, show);
  else show(data.series[0]);
}

// --- the choice of a series -----------------------------------------------------------------------------------------

const ORDERS = {
  mase: (a, b) => (b[2] ?? -1) - (a[2] ?? -1),
  skill: (a, b) => (a[3] ?? Infinity) - (b[3] ?? Infinity),
  name: (a, b) => a[0].localeCompare(b[0], "en", {numeric: true}),
};

function startSelector(data, show) {
  const list = byId("series"), search = byId("search"), order = byId("order");
  const options = data.series.map((row, n) => {
    const option = document.createElement("li"), name = document.createElement("span"), figure = document.createElement("span");
    name.textContent = option.title = row[0];
    option.append(name, figure);
    Object.assign(option, {id: `series-${n}`, row, figure});
    option.setAttribute("role", "option");
    return option;
  });
  let chosen = null, sorted = options;

  function choose(option, {scrolls = true} = {}) {
    if (!option) return;
    chosen?.setAttribute("aria-selected", "false");
    chosen = option;
    chosen.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", chosen.id);
    history.replaceState(null, "", `#${encodeURIComponent(chosen.row[0])}`);
    show(chosen.row);
    const box = list.getBoundingClientRect(), own = chosen.getBoundingClientRect();
    if (scrolls && (own.top < box.top || own.bottom > box.bottom)) list.scrollTop += own.top - box.top - list.clientHeight / 2;
  }

  const visible = () => sorted.filter(option => !option.hidden);

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    for (const option of options) option.hidden = !option.row[0].toLowerCase().includes(wanted);
    const count = visible().length;
    byId("matches").textContent = wanted ? `${count.toLocaleString("en-US")} ${count === 1 ? "series matches" : "series match"}` : "";
  }

  function sort() {
    sorted = [...options].sort((a, b) => ORDERS[order.value](a.row, b.row));
    for (const option of options) {
      option.figure.textContent = order.value === "skill" ? signedScore(option.row[3]) : score(option.row[2]);
      option.figure.title = order.value === "skill" ? "skill" : "MASE";
    }
    list.replaceChildren(...sorted);
  }

  function move(event) {
    const shown = visible(), at = shown.indexOf(chosen), page = Math.max(1, Math.floor(list.clientHeight / 34));
    const steps = {ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: shown.length - 1};
    if (!(event.key in steps) || !shown.length) return;
    event.preventDefault();
    choose(shown[Math.min(Math.max(steps[event.key], 0), shown.length - 1)]);
  }

  list.addEventListener("keydown", move);
  list.addEventListener("click", event => choose(event.target.closest("li"), {scrolls: false}));
  search.addEventListener("input", filter);
  search.addEventListener("keydown", event => {
    const isDown = event.key === "ArrowDown", isEnter = event.key === "Enter";
    if (!isDown && !isEnter) return;
    event.preventDefault();
    choose(visible().includes(chosen) ? chosen : visible()[0]);
    if (isDown) list.focus();
  });
  order.addEventListener("change", () => { sort(); choose(visible()[0]); });
  /** The series that the address names; undefined: none, or it is no text. */
  function named() {
    try {
      const wanted = decodeURIComponent(location.hash.slice(1));
      return options.find(option => option.row[0] === wanted);
    } catch {
      return undefined;
    }
  }

  addEventListener("hashchange", () => {
    search.value = "";  // it may hide the series
    filter();
    choose(named() ?? chosen);
  });
  sort();
  choose(named() ?? sorted[0]);
}

refreshTimes();
setInterval(refreshTimes, MINUTE);
byId("filter")?.addEventListener("input", filterCards);
if (byId("data")) startRecipe(JSON.parse(byId("data").textContent));

// Without scripts the page shows pictures of one series; with scripts, interactive charts of the series that is chosen.
const textOf = id => document.getElementById(id).textContent;
const all = selector => [...document.querySelectorAll(selector)];
const BUTTONS = ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"];
const scheme = window.matchMedia("(prefers-color-scheme: dark)");
// a finger scrolls the page; buttons of ours move the window
const isTouch = window.matchMedia("(pointer: coarse), (width < 40rem)").matches;
let panel = null;  // what is known of several series
let shown = null;  // the series of it that is shown

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function inScheme(name, value) {
  const variable = typeof value === "string" && value.match(/^var\((--(?:ink|soft|rule|paper))\)$/);
  return variable ? getComputedStyle(document.documentElement).getPropertyValue(variable[1]).trim() : value;
}

// The points of a series, by chart and name of the trace.
function pointsOf(series) {
  const history = panel.grid.slice(series.first, series.first + series.observed.length);
  const last = series.observed.at(-1);
  const ahead = values => [[history.at(-1), ...panel.periods], [last, ...values]];
  const [lower95, lower80, upper80, upper95] = series.bounds.map(ahead);
  const observed = [history, series.observed];
  const bands = {"95 %, lower": lower95, "95 %": upper95, "80 %, lower": lower80, "80 %": upper80};
  const points = {forecast: {observed, forecast: ahead(series.mean), ...bands}, series: {observed}};
  const test = series.test;
  if (test) {
    const residuals = test.observed.map((value, n) => value === null || test.network[n] === null ? null : value - test.network[n]);
    const ofMethods = {[panel.network]: [panel.test, test.network], [panel.baseline]: [panel.test, test.baseline]};
    points.backtest = {observed: [panel.test, test.observed], ...ofMethods};
    points.residuals = {[panel.network]: [panel.test, residuals], zero: [[panel.test[0], panel.test.at(-1)], [0, 0]]};
  }
  return points;
}

function draw() {
  const charts = JSON.parse(textOf("charts"), inScheme);
  const points = shown && pointsOf(shown);
  for (const place of all("[data-chart]")) {
    const chart = charts[place.dataset.chart];
    const isOther = shown && place.dataset.series && place.dataset.series !== shown.name;
    const ofSeries = isOther ? points[place.dataset.chart] : {};
    place.closest("figure").hidden = !ofSeries;
    if (!ofSeries) continue;
    for (const trace of chart.data) if (ofSeries[trace.name]) [trace.x, trace.y] = ofSeries[trace.name];
    if (isTouch) chart.layout.dragmode = false;
    const isNew = !place.classList.contains("js-plotly-plot");
    if (isNew) place.replaceChildren();
    const config = {displaylogo: false, displayModeBar: !isTouch, responsive: true, modeBarButtons: [BUTTONS]};
    Plotly.react(place, chart.data, chart.layout, config);
    fitValues(place);
    if (isNew) follow(place, chart.layout.xaxis.range?.slice());
  }
}

// Instants are texts; plotly.js writes a blank where we write a T.
const comparable = x => typeof x === "string" ? x.replace("T", " ") : x;
const windowOf = place => place.layout.xaxis.range.map(comparable);

// Fit the y axes to the values in the part of the x axis that is shown.
function fitValues(place) {
  if (!place.layout.yaxis.fixedrange) return;
  const [start, end] = windowOf(place);
  const extremes = {};
  for (const trace of place.data) {
    if (trace.visible === "legendonly") continue;
    const isShown = x => comparable(x) >= start && comparable(x) <= end;
    const values = trace.y.filter((y, n) => y !== null && isShown(trace.x[n]));
    const axis = (trace.yaxis ?? "y").replace("y", "yaxis");
    for (const y of values) {
      const [low, high] = extremes[axis] ?? [y, y];
      extremes[axis] = [Math.min(low, y), Math.max(high, y)];
    }
  }
  const ranges = Object.entries(extremes).map(([axis, [low, high]]) => {
    const margin = 0.06 * (high - low) || 0.06 * Math.abs(high) || 1;
    return [`${axis}.range`, [low - margin, high + margin]];
  });
  if (ranges.length) Plotly.relayout(place, Object.fromEntries(ranges));
}

function follow(place, recent) {
  place.on("plotly_relayout", change => Object.keys(change).some(key => key.startsWith("xaxis")) && fitValues(place));
  place.on("plotly_restyle", () => fitValues(place));
  const bar = place.closest("figure").querySelector(".window");
  if (!bar) return;
  bar.hidden = false;
  for (const button of bar.children) button.addEventListener("click", () => moveWindow(place, button.value, recent));
}

function moveWindow(place, move, recent) {
  const periods = [...new Set(place.data.flatMap(trace => trace.x))].sort();
  const [start, end] = windowOf(place);
  const first = Math.max(periods.findIndex(x => comparable(x) >= start), 0);
  const last = Math.max(periods.findLastIndex(x => comparable(x) <= end), first + 1);
  const half = Math.ceil((last - first) / 2);
  const shift = {earlier: -Math.min(half, first), later: Math.min(half, periods.length - 1 - last)}[move] ?? 0;
  const range = {recent, all: [periods[0], periods.at(-1)]}[move] ?? [periods[first + shift], periods[last + shift]];
  Plotly.relayout(place, {"xaxis.range": [...range]});
}

function show(n) {
  shown = panel.series[n];
  for (const place of all(".series-name")) place.textContent = shown.name;
  document.getElementById("method").textContent = shown.method;
  for (const [h, row] of all("#next tbody tr").entries())
    for (const [column, cell] of [...row.querySelectorAll("td")].entries()) cell.textContent = shown.rows[h][column];
  for (const button of all("#series-table button[value]")) button.ariaCurrent = Number(button.value) === n;
  draw();
}

function offerSeries() {
  const search = document.getElementById("search"), choice = document.getElementById("choice");
  const list = () => {
    const text = search.value.trim().toLowerCase();
    const options = [...panel.series.entries()]
      .filter(([, series]) => series.name.toLowerCase().includes(text))
      .map(([n, series]) => new Option(`${series.name} (skill ${series.skill})`, n, false, series === shown));
    choice.replaceChildren(...options);
    if (!options.some(option => option.selected)) choice.selectedIndex = -1;
    document.getElementById("matches").textContent = text && `${options.length} found`;
  };
  const choose = n => { show(n); list(); };
  search.addEventListener("input", list);
  search.addEventListener("keydown", event => event.key === "Enter" && choice.options.length && choose(Number(choice.options[0].value)));
  choice.addEventListener("change", () => choose(Number(choice.value)));
  nameButtons(choose);
  show(0);
  list();
  document.getElementById("picker").hidden = false;
}

// In the table of series a name chooses the series, and a heading sorts.
function nameButtons(choose) {
  const places = new Map(panel.series.map((series, n) => [series.name, n]));
  const button = (cell, value, action) => {
    const made = Object.assign(document.createElement("button"), {type: "button", textContent: cell.textContent, value});
    made.addEventListener("click", action);
    cell.replaceChildren(made);
  };
  for (const cell of all("#series-table tbody th").filter(cell => places.has(cell.textContent))) {
    const n = places.get(cell.textContent);
    button(cell, n, () => { choose(n); document.getElementById("picker").scrollIntoView(); });
  }
  for (const [column, heading] of all("#series-table thead th").entries()) button(heading, "", () => sortBy(column, heading));
}

function sortBy(column, heading) {
  const direction = heading.ariaSort === "ascending" ? -1 : 1;
  const number = row => Number.parseFloat(row.cells[column].textContent.replaceAll(",", ""));
  const compare = (a, b) => column === 0
    ? direction * a.cells[0].textContent.localeCompare(b.cells[0].textContent)
    : Number.isNaN(number(a)) - Number.isNaN(number(b)) || direction * (number(a) - number(b));
  for (const other of all("#series-table thead th")) other.ariaSort = null;
  heading.ariaSort = direction === 1 ? "ascending" : "descending";
  const body = heading.closest("table").tBodies[0];
  body.append(...[...body.rows].sort(compare));
}

async function start() {
  const script = document.createElement("script");
  script.textContent = await unpack(textOf("plotly"));
  document.head.append(script);
  if (document.getElementById("series")) {
    panel = JSON.parse(await unpack(textOf("series")));
    offerSeries();
  } else draw();
  scheme.addEventListener("change", draw);
}
start();

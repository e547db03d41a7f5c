"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads some HTML in what it writes.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const number = (value, digits = 4) => (value == null ? "–" : Number(value.toPrecision(digits)).toLocaleString("en"));
  const loss = (value) => (value == null ? "–" : value.toFixed(4));

  // A text for each point: a single one gets into no template.
  const called = (name, points) => ({ name: plain(name), text: points.map(() => plain(name)) });

  const config = {
    responsive: true, displaylogo: false, scrollZoom: false, doubleClick: "reset+autosize",
    modeBarButtons: [["zoom2d", "pan2d", "autoScale2d", "resetScale2d"], ["toImage"]], // none that shares
  };
  const hidden = new Set(); // runs whose curves are not shown
  let pinned = null; // a run that was clicked on
  let pointed = null; // a run that is pointed at
  let view = { along: "step", smoothing: 4, each: false };
  const groupOf = new Map();
  data.groups.forEach((group, i) => group.runs.forEach((run) => groupOf.set(run, i)));

  const colour = (run) => css(`--tone${data.groups[groupOf.get(run)].tone ?? 8}`);

  /** What runs that differ in the seed only are called: by what their names begin with. */
  function together({ runs }) {
    const [first, ...others] = runs.map((run) => data.runs[run].label);
    if (!others.length) return first;
    let length = first.length;
    for (const other of others) while (!other.startsWith(first.slice(0, length))) length--;
    const start = first.slice(0, length).replace(/[\s._/=-]+$/, "");
    return start.length > 1 ? `${start} (${runs.length} seeds)` : `${first} and ${others.length} more`;
  }

  const faded = (hex, alpha) => {
    const value = parseInt(hex.slice(1), 16);
    return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
  };

  function axis(title, more = {}) {
    const line = { gridcolor: css("--grid"), linecolor: css("--line"), showline: true, zeroline: false, automargin: true };
    return { ...line, title: { text: title, standoff: 8 }, ticks: "", fixedrange: false, ...more };
  }

  function layout(more) {
    const text = css("--text");
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: text },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 52, r: 14, t: 10, b: 42 }, hovermode: "closest", showlegend: false, hoverdistance: 30,
      hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: text }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--accent") },
      ...more,
    };
  }

  // --- curves ---------------------------------------------------------------------------------

  const units = { step: "step", share: "% of the run", seconds: "seconds of training" };

  const places = {
    step: "at step %{x:,.6~g}", share: "at %{x:.3~g} % of the run", seconds: "after %{x:,.4~g} s",
  };

  function scale(run) {
    if (view.along === "step") return 1;
    if (!run.steps) return null;
    return view.along === "share" ? 100 / run.steps : run.seconds == null ? null : run.seconds / run.steps;
  }

  /** The mean over neighbours on both sides. */
  function smoothed(values) {
    const reach = Math.round((values.length * view.smoothing) / 200);
    if (!reach) return values;
    const sums = [0], counts = [0];
    for (const value of values) {
      sums.push(sums[sums.length - 1] + (value ?? 0));
      counts.push(counts[counts.length - 1] + (value != null));
    }
    return values.map((value, i) => {
      const near = Math.min(reach, i); // the fall at the start is no noise
      const from = i - near, to = Math.min(i + near + 1, values.length);
      return value == null ? null : (sums[to] - sums[from]) / (counts[to] - counts[from]);
    });
  }

  function curve(runs, steps, values, name, style) {
    const factors = runs.map((run) => scale(data.runs[run]));
    if (factors.includes(null) || !steps.length) return null;
    const factor = factors.reduce((sum, each) => sum + each) / factors.length;
    return {
      type: "scatter", mode: "lines", x: steps.map((step) => step * factor), y: values,
      ...called(name, steps), hovertemplate: `%{text}<br>%{y:.4f} ${places[view.along]}<extra></extra>`,
      runs, ...style,
    };
  }

  const values = (run, kind) => (kind === "train" ? smoothed(data.runs[run].train.values) : data.runs[run][kind].values);

  /** Those of some runs that are as long as the longest. */
  function longest(runs, kind) {
    const length = Math.max(...runs.map((run) => data.runs[run][kind].steps.length));
    return runs.filter((run) => data.runs[run][kind].steps.length === length);
  }

  /** What is counted in one step, or made of others, has no curve but a level. */
  const level = (run) => data.runs[run].steps <= 1;

  /** Whether there is something of a run in the charts. */
  const drawn = (run) => find("#curves") && (!level(run) || data.runs[run].losses.validation != null);

  function curves(kind) {
    const traces = [];
    [...data.groups].reverse().forEach((group) => {
      const shown = group.runs.filter((run) => !hidden.has(run) && !level(run));
      if (!shown.length) return;
      const tone = colour(group.runs[0]);
      const width = group.tone == null ? 1 : 1.75;
      const whole = kind === "rate" ? [] : longest(shown, kind);
      const joined = whole.length > 1 ? whole : [];
      if (joined.length) {
        const { steps } = data.runs[joined[0]][kind];
        const lines = joined.map((run) => values(run, kind));
        const over = (reduce) => steps.map((_, i) => (lines.some((line) => line[i] == null) ? null : reduce(lines.map((line) => line[i]))));
        const edge = { line: { width: 0 }, hoverinfo: "skip", hovertemplate: null };
        traces.push(curve(joined, steps, over((all) => Math.min(...all)), "", edge));
        traces.push(curve(joined, steps, over((all) => Math.max(...all)), "", { ...edge, fill: "tonexty", fillcolor: faded(tone, 0.18) }));
        const mean = over((all) => all.reduce((sum, each) => sum + each) / all.length);
        traces.push(curve(joined, steps, mean, `${together({ runs: joined })}, mean`, { line: { color: tone, width: width + 0.5 } }));
      }
      for (const run of shown) {
        const within = joined.includes(run);
        if (within && !view.each) continue;
        const line = { color: within ? faded(tone, 0.7) : tone, width: within ? 1 : width, dash: within ? "dot" : "solid" };
        traces.push(curve([run], data.runs[run][kind].steps, values(run, kind), data.runs[run].label, { line }));
      }
    });
    const there = traces.filter((trace) => trace);
    return kind === "rate" ? there : [...levels(kind, there), ...there];
  }

  function levels(kind, traces) {
    const end = Math.max(1, ...traces.map(({ x }) => x[x.length - 1]));
    const runs = data.runs.map((_, run) => run).filter((run) => level(run) && !hidden.has(run) && data.runs[run].losses[kind] != null);
    return runs.map((run) => ({
      type: "scatter", mode: "lines", x: [0, end / 2, end], y: Array(3).fill(data.runs[run].losses[kind]), runs: [run],
      ...called(data.runs[run].label, [0, 1, 2]), hovertemplate: "%{text}<br>%{y:.4f}, not trained in steps<extra></extra>",
      line: { color: colour(run), width: 1.5, dash: "dash" },
    }));
  }

  /** From the least to what most lines have after their first steps: the rest is a fall from one height. */
  function range(traces) {
    const late = [], least = [];
    for (const { y } of traces) {
      const known = y.filter((value) => value != null);
      if (!known.length) continue;
      least.push(Math.min(...known));
      late.push(known[Math.floor(known.length * 0.04)]);
    }
    if (!least.length) return undefined;
    const low = Math.min(...least);
    late.sort((a, b) => a - b);
    const high = late[Math.floor((late.length - 1) * 0.9)];
    const pad = Math.max((high - low) * 0.06, 0.005);
    return [low - pad, high + pad];
  }

  function drawCurves() {
    if (!find("#curves")) return;
    for (const kind of ["validation", "train"]) {
      const traces = curves(kind);
      const shape = layout({
        xaxis: axis(units[view.along], { rangemode: "tozero" }),
        yaxis: axis("nats a character", { range: range(traces) }),
      });
      shape.annotations = traces.length ? [] : [note("nothing is shown")];
      draw(find(`#chart-${kind}`), traces, shape);
    }
    if (find("#rates").open) {
      const shape = layout({
        xaxis: axis(units[view.along], { rangemode: "tozero" }),
        yaxis: axis("learning rate", { rangemode: "tozero" }),
      });
      draw(find("#chart-rate"), curves("rate"), shape);
    }
    emphasise();
  }

  function note(text) {
    return { text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: css("--quiet") } };
  }

  function draw(element, traces, shape, bar = "hover") {
    const fresh = !element.data && element.closest("#curves, #settings");
    Plotly.react(element, traces, shape, { ...config, displayModeBar: bar });
    if (fresh) {
      element.on("plotly_hover", ({ points }) => point(points[0].data.runs ? points[0].data.runs[0] : points[0].customdata));
      element.on("plotly_unhover", () => point(null));
      element.on("plotly_click", ({ points }) => pin(points[0].data.runs ? points[0].data.runs[0] : points[0].customdata));
    }
  }

  // --- one run among many ---------------------------------------------------------------------

  function point(run) {
    if (run === pointed) return;
    pointed = run;
    emphasise();
  }

  function pin(run) {
    pinned = pinned === run ? null : run;
    emphasise();
  }

  function emphasise() {
    const run = pointed ?? pinned;
    const group = run == null ? null : groupOf.get(run);
    for (const element of all("#curves .chart")) {
      if (!element.data || !element.data.length) continue;
      const lines = element.querySelectorAll(".scatterlayer > .trace");
      // Not Plotly.restyle, which draws every line again.
      element.data.forEach((trace, i) => {
        const within = run == null || (trace.runs.length > 1 ? groupOf.get(trace.runs[0]) === group : trace.runs[0] === run);
        const line = lines[i];
        if (line) line.style.opacity = within ? "" : "0.12";
        const path = line && line.querySelector(".js-line");
        if (path) path.style.stroke = run != null && within && trace.line.color ? strong(trace.line.color, group) : trace.line.color ?? "";
      });
    }
    for (const row of all("tr[data-run]")) row.classList.toggle("focus", run != null && Number(row.dataset.run) === run);
  }

  /** Grey lines are dark while they are pointed at. */
  const strong = (tone, group) => (data.groups[group].tone == null ? css("--text") : tone);

  function show(shown) {
    hidden.clear();
    data.runs.forEach((_, run) => shown(run) || hidden.add(run));
    refresh();
  }

  function refresh() {
    for (const row of all("tr[data-run]")) {
      const run = Number(row.dataset.run);
      row.classList.toggle("hidden", hidden.has(run));
      find("input", row).checked = !hidden.has(run);
    }
    for (const button of all("#legend button")) {
      const { runs } = data.groups[Number(button.dataset.group)];
      button.setAttribute("aria-pressed", String(runs.some((run) => !hidden.has(run))));
    }
    drawCurves();
  }

  function legend() {
    const place = find("#legend");
    if (!place) return;
    data.groups.forEach((group, i) => {
      if (!group.runs.some(drawn)) return;
      const button = document.createElement("button");
      const swatch = document.createElement("span");
      const name = document.createElement("span");
      const labels = group.runs.map((run) => data.runs[run].label);
      button.type = "button";
      button.dataset.group = String(i);
      button.title = labels.join("\n");
      button.setAttribute("aria-pressed", "true");
      swatch.className = `swatch tone${group.tone ?? 8}`;
      name.textContent = together(group);
      button.append(swatch, name);
      button.addEventListener("click", () => {
        const off = group.runs.some((run) => !hidden.has(run));
        group.runs.forEach((run) => (off ? hidden.add(run) : hidden.delete(run)));
        refresh();
      });
      for (const [event, run] of [["mouseenter", group.runs[0]], ["focus", group.runs[0]], ["mouseleave", null], ["blur", null]]) {
        button.addEventListener(event, () => point(run));
      }
      place.append(button);
    });
  }

  // --- hyper-parameters -----------------------------------------------------------------------

  const done = (run) => run.state === "finished";

  /** What a loss may be without pressing all others together. */
  function ceiling() {
    const losses = data.runs.map((run) => run.losses.validation).filter((value) => value != null).sort((a, b) => a - b);
    const quantile = (share) => losses[Math.floor((losses.length - 1) * share)];
    const top = quantile(0.75) + 3 * Math.max(quantile(0.75) - quantile(0.25), 0.01);
    return losses.length > 7 && losses[losses.length - 1] > top ? top : Infinity;
  }

  function ticks(chart) {
    if (chart.categories) {
      return { tickvals: chart.categories.map((_, i) => i), ticktext: chart.categories.map((each) => plain(short(each))), ticklabeloverflow: "allow", tickangle: chart.categories.join("").length > 26 ? -30 : 0, range: [-0.5, chart.categories.length - 0.5] };
    }
    const values = [...new Set(chart.values.filter((value) => value != null))].sort((a, b) => a - b);
    const places = values.map((value) => (chart.log ? Math.log10(value) : value));
    const span = places[places.length - 1] - places[0];
    const apart = places.slice(1).every((place, i) => place - places[i] > span * 0.13);
    const pad = span * 0.07;
    const within = { type: chart.log ? "log" : "linear", range: [places[0] - pad, places[places.length - 1] + pad] };
    if (apart) return { ...within, tickvals: values, ticktext: values.map((value) => number(value, 6)) };
    return chart.log ? { ...within, dtick: span > 2 ? 1 : "D2", exponentformat: "power" } : { ...within, nticks: 6 };
  }

  const short = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);

  function scatter(chart, top) {
    const x = [], y = [], symbol = [], tone = [], text = [], runs = [];
    const seen = new Map();
    chart.values.forEach((value, run) => {
      const { label, losses, state } = data.runs[run];
      if (value == null || losses.validation == null) return;
      const before = seen.get(value) ?? 0;
      seen.set(value, before + 1);
      const aside = chart.categories ? (((before * 0.381966) % 1) - 0.5) * 0.5 * (before > 0) : 0; // even, not random
      x.push(value + aside);
      y.push(Math.min(losses.validation, top));
      symbol.push((losses.validation > top ? "triangle-up" : "circle") + (done(data.runs[run]) ? "" : "-open"));
      tone.push(colour(run));
      const shown = chart.categories ? chart.categories[value] : number(value, 6);
      text.push(plain(`${label}: ${shown}`) + `<br>validation ${loss(losses.validation)}${done(data.runs[run]) ? "" : `, ${plain(state)}`}`);
      runs.push(run);
    });
    const points = {
      type: "scatter", mode: "markers", x, y, text, customdata: runs, hovertemplate: "%{text}<extra></extra>",
      marker: { symbol, color: tone, size: 8, line: { width: 1.25, color: tone }, opacity: 0.85 },
    };
    if (!chart.categories) return [points];
    const boxes = chart.categories.map((_, i) => ({
      type: "box", y: runs.flatMap((run, j) => (chart.values[run] === i ? [y[j]] : [])), x0: i, name: "", boxpoints: false, hoverinfo: "skip",
      line: { color: css("--quiet"), width: 1 }, fillcolor: "rgba(0,0,0,0)", width: 0.7,
    }));
    return [...boxes.filter((box) => box.y.length > 4), points];
  }

  function drawScatters() {
    const place = find("#scatters");
    if (!place) return;
    const top = ceiling();
    data.scatters.forEach((chart, i) => {
      let element = find(`#scatter-${i}`);
      if (!element) {
        const figure = document.createElement("figure");
        const caption = document.createElement("figcaption");
        const more = document.createElement("span");
        element = document.createElement("div");
        element.id = `scatter-${i}`;
        element.className = "chart";
        element.setAttribute("role", "img");
        element.setAttribute("aria-label", `Validation loss by ${chart.name}`);
        caption.textContent = `${chart.name} `;
        if (chart.correlation != null) more.textContent = `rank correlation ${chart.correlation.toFixed(2).replace("-", "−")}`;
        caption.append(more);
        figure.append(caption, element);
        place.append(figure);
      }
      const traces = scatter(chart, top);
      const shape = layout({ xaxis: axis(chart.name, ticks(chart)), yaxis: axis("validation loss", { nticks: 6 }) });
      if (top !== Infinity) shape.margin.t = 20;
      if (top !== Infinity) shape.annotations = [{ ...note("▲ lies above"), x: 1, y: 1, xanchor: "right", yanchor: "bottom", font: { size: 10, color: css("--quiet") } }];
      draw(element, traces, shape, false);
    });
  }

  /** Parallel coordinates: an axis for each hyper-parameter, and the loss on the right. */
  function drawParallel() {
    const place = find("#parallel");
    const chosen = data.scatters.filter((chart) => chart.name !== "seconds of training");
    const runs = data.runs.map((_, run) => run).filter((run) => data.runs[run].losses.validation != null);
    if (!place || chosen.length < 2 || runs.length < 4) return;
    place.hidden = false;
    const top = ceiling();
    const losses = { name: "validation", values: data.runs.map((run) => (run.losses.validation == null ? null : Math.min(run.losses.validation, top))) };
    const axes = [...chosen, losses].map((chart) => {
      const values = chart.values.filter((value) => value != null);
      const to = (value) => (chart.log ? Math.log10(value) : value);
      const low = to(Math.min(...values)), high = to(Math.max(...values));
      const height = (value) => (value == null ? null : high === low ? 0.5 : (to(value) - low) / (high - low));
      const unique = [...new Set(values)].sort((a, b) => a - b);
      const marks = unique.length > 6 ? [] : unique.slice(1, -1);
      const kept = [unique[0], ...(unique.length > 1 ? [unique[unique.length - 1]] : [])];
      for (const mark of marks) if (kept.every((other) => Math.abs(height(other) - height(mark)) > 0.09)) kept.push(mark);
      return { chart, height, marks: kept };
    });
    const shown = (chart, value) => (chart === losses ? loss(value) : chart.categories ? short(chart.categories[value]) : number(value, 6));
    const ranked = [...runs].sort((a, b) => data.runs[b].losses.validation - data.runs[a].losses.validation);
    const traces = ranked.map((run) => ({
      type: "scatter", mode: "lines+markers", x: axes.map((_, i) => i), y: axes.map(({ chart, height }) => height(chart.values[run])),
      customdata: axes.map(() => run), ...called(data.runs[run].label, axes), hovertemplate: `%{text}<br>validation ${loss(data.runs[run].losses.validation)}<extra></extra>`,
      line: { color: colour(run), width: data.groups[groupOf.get(run)].tone == null ? 1 : 2 }, marker: { size: 4 },
      opacity: data.groups[groupOf.get(run)].tone == null ? 0.55 : 0.9,
    }));
    const marks = axes.flatMap(({ chart, height, marks }, i) => marks.map((value) => ({
      text: plain(shown(chart, value)), x: i, y: height(value), showarrow: false, xanchor: i ? "right" : "left", xshift: i ? -6 : 6, yshift: 8,
      font: { size: 11, color: css("--quiet") }, bgcolor: css("--page"), borderpad: 0, opacity: 0.9,
    })));
    const lines = axes.map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "below", line: { color: css("--line"), width: 1 } }));
    const element = find(".chart", place);
    element.style.minWidth = `${axes.length * 90}px`;
    draw(element, traces, layout({
      margin: { l: 40, r: 40, t: 16, b: 30 }, shapes: lines, annotations: marks,
      xaxis: axis("", { showgrid: false, showline: false, range: [-0.25, axes.length - 0.75], tickvals: axes.map((_, i) => i), ticktext: axes.map(({ chart }) => plain(chart.name)), fixedrange: true }),
      yaxis: axis("", { showgrid: false, showline: false, showticklabels: false, range: [-0.06, 1.12], fixedrange: true }),
    }), false);
  }

  // --- inside the best ------------------------------------------------------------------------

  function bars(names, { losses, counts }, more) {
    return [{
      type: "bar", x: names.map((_, i) => i), y: losses, marker: { color: css("--tone0") }, opacity: 0.8,
      text: names.map((name, i) => `${plain(name)}: ${loss(losses[i])}<br>${counts[i].toLocaleString("en")} times`),
      textposition: "none", hovertemplate: "%{text}<extra></extra>", ...more,
    }];
  }

  function drawInside() {
    const { positions, characters, embedding, updates } = data.inside ?? {};
    const barLayout = (title, names) => layout({
      xaxis: axis(title, { tickvals: names.map((_, i) => i), ticktext: names.map(plain), showgrid: false, tickangle: 0 }),
      yaxis: axis("nats"), bargap: 0.25,
    });
    if (positions) {
      const names = positions.losses.map((_, i) => String(i + 1));
      draw(find("#inside-positions"), bars(names, positions), barLayout("position in the word", names), false);
      const shape = barLayout("character, the least expected first", characters.names);
      draw(find("#inside-characters"), bars(characters.names, characters), shape, false);
    }
    if (embedding) {
      const trace = {
        type: "scatter", mode: "text", x: embedding.x, y: embedding.y, text: embedding.characters.map(plain),
        textfont: { size: 14, color: css("--text") }, hoverinfo: "skip",
      };
      const [x, y] = embedding.axes.map((title) => axis(title));
      draw(find("#inside-embedding"), [trace], layout({ xaxis: x, yaxis: y }), false);
    }
    if (updates) {
      const names = Object.keys(updates.ratios);
      const traces = names.map((name, i) => ({
        type: "scatter", mode: "lines", x: updates.steps, y: updates.ratios[name], ...called(name, updates.steps),
        line: { color: css(`--tone${i % 8}`), width: 1.25, dash: ["solid", "dash", "dot"][Math.floor(i / 8) % 3] },
        hovertemplate: "%{text}<br>%{y:.2~e} at step %{x:,}<extra></extra>",
      }));
      draw(find("#inside-updates"), traces, layout({
        xaxis: axis("step", { rangemode: "tozero" }),
        yaxis: axis("update by parameter", { type: "log", exponentformat: "power", dtick: 1 }),
      }), false);
    }
  }

  // --- tables, choosers, themes ---------------------------------------------------------------

  function sort(table, heading) {
    const column = [...heading.parentElement.children].indexOf(heading);
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.children) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = find("tbody", table);
    const value = (row) => row.children[column].dataset.sort;
    const compare = (a, b) => {
      const numeric = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
      return (numeric ? a - b : a.localeCompare(b, "en", { numeric: true })) * (up ? 1 : -1);
    };
    body.append(...[...body.children].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === undefined || right === undefined) return (left === undefined) - (right === undefined); // last either way
      return compare(left, right);
    }));
  }

  function open() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  }

  function drawAll() {
    drawCurves();
    drawScatters();
    drawParallel();
    drawInside();
  }

  for (const table of all("table.sortable")) {
    for (const heading of all("thead th", table)) find("button", heading).addEventListener("click", () => sort(table, heading));
  }
  for (const row of all("tr[data-run]")) {
    const run = Number(row.dataset.run);
    const box = find("input", row);
    box.hidden = data.runs.length < 2 || !drawn(run);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(run);
      else hidden.add(run);
      refresh();
    });
    for (const [event, to] of [["mouseenter", run], ["focusin", run], ["mouseleave", null], ["focusout", null]]) row.addEventListener(event, () => point(to));
  }
  for (const select of all("[data-chooses]")) {
    const figures = all(`[data-chosen="${select.dataset.chooses}"]`);
    const choose = () => figures.forEach((figure, i) => (figure.hidden = i !== Number(select.value)));
    select.closest(".chooser").hidden = false;
    select.addEventListener("change", choose);
    choose();
  }
  if (find("#curves")) {
    find(".controls").hidden = false;
    find("#along").addEventListener("change", (event) => { view.along = event.target.value; drawCurves(); });
    find("#smoothing").addEventListener("input", (event) => {
      view.smoothing = Number(event.target.value);
      find("output").textContent = `${view.smoothing} %`;
      drawCurves();
    });
    find("#each")?.addEventListener("change", (event) => { view.each = event.target.checked; drawCurves(); });
    find("#rates").addEventListener("toggle", drawCurves);
    const shown = { all: () => true, none: () => false, best: (run) => run < 8 };
    for (const button of all("[data-show]")) button.addEventListener("click", () => show(shown[button.dataset.show]));
  }
  legend();
  drawAll();
  addEventListener("hashchange", open);
  open();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); drawAll(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); drawAll(); });
}

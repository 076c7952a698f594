// Plays true and predicted structures in step, and draws how far apart they are.
(function () {
  "use strict";

  const COLOURS = {
    light: { true: { C: 0x6d7680, H: 0xaab2ba }, predicted: { C: 0x0072b2, H: 0x7dbce8 } },
    dark: { true: { C: 0xb4bcc4, H: 0xe4e7ea }, predicted: { C: 0x2f93d6, H: 0x9ccff2 } },
  };
  const SVG = "http://www.w3.org/2000/svg";
  const SPEEDS = [60, 20, 8, 3]; // seconds that the horizon takes
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const LABELS = { typical: "typical: median error", best: "best: smallest error", worst: "worst: largest error" };

  const { angstrom, inUnits, placed, unpack } = gfnode;
  unpack(data.runs);

  // ---- state

  const state = { run: 0, example: 0, frame: 0, view: "overlay", superposed: false, playing: false, time: 0 };
  const current = () => data.runs[state.run];
  const chosen = () => current().examples[state.example];

  // ---- structures

  function neighbours() {
    const found = current().elements.map(() => []);
    for (const [i, j] of current().bonds) {
      found[i].push(j);
      found[j].push(i);
    }
    return found;
  }

  // Overlaid, the true structure is a shell around the prediction: where both agree, one sees both.
  function style(kind, overlaid) {
    const shell = overlaid && kind === "true";
    const many = current().elements.length > 400;
    const opacity = shell ? 0.6 : 1;
    if (!current().bonds.length) return { sphere: { radius: shell ? 0.6 : 0.45, opacity } };
    const found = { stick: { radius: (shell ? 0.16 : 0.1) * (many ? 1.3 : 1), opacity } };
    if (!many) found.sphere = { radius: shell ? 0.3 : 0.2, opacity };
    return found;
  }

  function addModel(viewer, kind) {
    const bonded = neighbours();
    const model = viewer.addModel();
    model.addAtoms(
      current().elements.map((elem, i) => ({
        elem,
        x: 0,
        y: 0,
        z: 0,
        serial: i,
        index: i,
        bonds: bonded[i],
        bondOrder: bonded[i].map(() => 1),
      }))
    );
    return { kind, model, atoms: model.selectedAtoms({}) };
  }

  function hasWebGL() {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  }

  let viewers = null;

  function makeViewers() {
    const panes = [byId("pane-0"), byId("pane-1")];
    if (!hasWebGL()) {
      panes.forEach((each) => (each.hidden = true));
      byId("no-webgl").hidden = false;
      return;
    }
    viewers = panes.map((pane) =>
      $3Dmol.createViewer(pane, { antialias: true, disableFog: current().elements.length < 100 })
    );
    addModels();
    dark.addEventListener("change", () => {
      colour();
      drawStructures(false);
    });
    viewers[0].linkViewer(viewers[1]);
    viewers[1].linkViewer(viewers[0]);
    for (const pane of panes) {
      // the wheel scrolls the page, as everywhere else; with Ctrl it zooms
      const scroll = (event) => event.ctrlKey || event.metaKey || event.stopImmediatePropagation();
      pane.addEventListener("wheel", scroll, { capture: true });
      pane.addEventListener("keydown", turn);
    }
  }

  function addModels() {
    viewers.forEach((viewer, number) => {
      viewer.removeAllModels();
      viewer.models_ = (number ? ["predicted"] : ["true", "predicted"]).map((kind) => addModel(viewer, kind));
    });
    colour();
  }

  // Arrow keys turn, + and - zoom, of the view that has the focus; the other follows.
  function turn(event) {
    const turns = { ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"] };
    const zooms = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 };
    const viewer = viewers[event.currentTarget.id === "pane-0" ? 0 : 1];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (turns[event.key]) viewer.rotate(...turns[event.key]);
    else if (zooms[event.key]) viewer.zoom(zooms[event.key]);
    else return;
    viewer.render();
    event.preventDefault();
  }

  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function colour() {
    const known = COLOURS[dark.matches ? "dark" : "light"];
    const others = $3Dmol.elementColors.Jmol;
    for (const each of viewers.flatMap((viewer) => viewer.models_)) {
      for (const atom of each.atoms) {
        const own = known[each.kind][atom.elem];
        atom.color = own !== undefined ? own : others[atom.elem] || 0xff69b4;
      }
    }
    // half-transparent atoms need a ground to blend with, so the canvas cannot be see-through
    const [r, g, b] = getComputedStyle(byId("stage")).backgroundColor.match(/\d+/g).map(Number);
    viewers.forEach((each) => each.setBackgroundColor((r << 16) | (g << 8) | b, 1));
  }

  function drawStructures(zoom) {
    if (!viewers) return;
    const now = placed(current(), chosen(), state.frame, state.superposed);
    viewers.forEach((viewer, number) => {
      if (number === 1 && state.view === "overlay") return;
      for (const each of viewer.models_) {
        const x = now[each.kind];
        each.atoms.forEach((atom, i) => {
          atom.x = x[3 * i];
          atom.y = x[3 * i + 1];
          atom.z = x[3 * i + 2];
        });
        const overlaid = state.view === "overlay";
        const shown = number === 1 || each.kind === "true" || overlaid;
        each.model.setStyle({}, shown ? style(each.kind, overlaid) : {}); // draws it anew
      }
      if (zoom) {
        viewer.zoomTo(); // fits the height, with room for every turn
        const { clientWidth, clientHeight } = byId(`pane-${number}`);
        viewer.zoom(Math.min(1.4, (1.3 * clientWidth) / clientHeight));
      }
      viewer.render();
    });
  }

  // ---- distances against lag

  function element(name, attributes, parent, text) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  const chart = { left: 44, right: 12, top: 32, bottom: 26 };

  function drawChart() {
    const svg = byId("distances");
    const example = chosen();
    const width = svg.clientWidth;
    const height = svg.clientHeight;
    const lags = example.lags_fs;
    const last = lags[lags.length - 1];
    const curves = [
      ["start", "--true", "unchanged start"],
      ["rmsd", "--predicted", "prediction"],
      ["superposed", "--series-1", "superposed"],
    ];
    const highest = Math.max(...curves.map(([key]) => Math.max(...example[key]))) || 1;
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find((s) => highest / s <= 3.2) || 100;
    const top = Math.ceil(highest / step) * step;
    chart.x = (lag) => chart.left + ((width - chart.left - chart.right) * lag) / last;
    chart.y = (value) => height - chart.bottom - ((height - chart.top - chart.bottom) * value) / top;
    chart.last = last;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (let value = 0; value <= top * 1.001; value += step) {
      const y = chart.y(value);
      element("line", { x1: chart.left, x2: width - chart.right, y1: y, y2: y, stroke: "var(--line)" }, svg);
      const label = { x: chart.left - 7, y: y + 4, "text-anchor": "end", "font-size": 11.5 };
      element("text", label, svg, `${Number(value.toPrecision(3))}${value + step > top * 1.001 ? " Å" : ""}`);
    }
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
      const label = { x: chart.x(part * last), y: height - 8, "text-anchor": anchor, "font-size": 11.5 };
      element("text", label, svg, part ? inUnits(part * last) : "0");
    }
    let x = 2;
    for (const [key, colour, name] of curves) {
      const points = example[key].flatMap((value, i) =>
        value === null ? [] : [`${chart.x(lags[i]).toFixed(1)},${chart.y(value).toFixed(1)}`]
      );
      const line = { points: points.join(" "), fill: "none", stroke: `var(${colour})`, "stroke-width": 1.8 };
      element("polyline", line, svg);
      element("line", { x1: x, x2: x + 16, y1: 9, y2: 9, stroke: `var(${colour})`, "stroke-width": 2.2 }, svg);
      const label = element("text", { x: x + 21, y: 13, "font-size": 11.5 }, svg, name);
      x += 34 + label.getComputedTextLength();
    }
    const ends = curves.map(([key, , name]) => `${name} ${angstrom(example[key][lags.length - 1])}`);
    svg.setAttribute(
      "aria-label",
      `Root-mean-square distance from the true structure against lag; at ${inUnits(last)}: ${ends.join(", ")}`
    );
    chart.cursor = element("line", { y1: chart.top - 4, y2: height - chart.bottom, stroke: "var(--ink)" }, svg);
    moveCursor();
  }

  function moveCursor() {
    const x = chart.x(chosen().lags_fs[state.frame]);
    chart.cursor.setAttribute("x1", x);
    chart.cursor.setAttribute("x2", x);
  }

  function frameAt(lag) {
    const lags = chosen().lags_fs;
    let found = 0;
    while (found + 1 < lags.length && lags[found + 1] <= lag + 1e-6) found++;
    return found;
  }

  function show(frame, zoom) {
    const example = chosen();
    state.frame = frame;
    byId("frame").value = frame;
    const lag = inUnits(example.lags_fs[frame]);
    byId("frame").setAttribute("aria-valuetext", lag);
    byId("lag").textContent = lag;
    byId("rmsd").textContent = angstrom(example.rmsd[frame]);
    byId("superposed").textContent = angstrom(example.superposed[frame]);
    byId("unmoved").textContent = angstrom(example.start[frame]);
    drawStructures(zoom);
    moveCursor();
  }

  function jump(frame) {
    state.time = chosen().lags_fs[frame];
    show(frame, false);
  }

  function choose(number) {
    state.example = number;
    const example = chosen();
    const shown = example.lags_fs.length - 1;
    byId("frame").max = shown;
    byId("about").textContent =
      `Test window ${example.window}: starts at frame ${example.frame} of ${example.trajectory} ` +
      `(${inUnits(example.start_fs)}). Its error is ${Number(example.relative.toPrecision(3))} times the mean ` +
      `of all test windows at the same lags. ` +
      (shown < example.inside
        ? `${shown} of the ${example.inside} frames within the horizon are shown.`
        : `All ${shown} frames within the horizon are shown.`) +
      ` Distances are over ${current().score.length} scored atoms.`;
    drawChart();
    jump(Math.round(shown / 2));
    drawStructures(true);
  }

  function chooseRun(number) {
    play(false);
    state.run = number;
    byId("example").replaceChildren(
      ...current().examples.map((each, i) => new Option(LABELS[each.kind] || each.kind, i))
    );
    const horizon = current().examples[0].lags_fs.at(-1);
    byId("speed").replaceChildren(
      ...SPEEDS.map((seconds, i) => {
        const rate = Number((horizon / seconds).toPrecision(1));
        return new Option(`${inUnits(rate)} per second`, rate, i === 2, i === 2);
      })
    );
    byId("as-scored").textContent = current().aligned ? "As scored" : "Laboratory frame";
    if (viewers) addModels();
    choose(0);
  }

  function play(playing) {
    state.playing = playing;
    byId("play").textContent = playing ? "Pause" : "Play";
    byId("play").setAttribute("aria-pressed", String(playing));
    if (!playing) return;
    const end = chart.last;
    if (state.time >= end) state.time = 0;
    let before = null;
    const tick = (now) => {
      if (!state.playing) return;
      if (before !== null) {
        state.time += (Number(byId("speed").value) * Math.min(now - before, 200)) / 1000;
        if (state.time > end * 1.06) state.time = 0; // rests a little at the end
        const frame = frameAt(state.time);
        if (frame !== state.frame) show(frame, false);
      }
      before = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // ---- files

  function save(kind) {
    const example = chosen();
    const { elements, name } = current();
    const atoms = elements.length;
    const lines = [];
    example.lags_fs.forEach((lag, frame) => {
      lines.push(atoms, `Properties=species:S:1:pos:R:3 time_fs=${lag}`);
      for (let atom = 0; atom < atoms; atom++) {
        const place = 3 * (frame * atoms + atom);
        const x = [0, 1, 2].map((k) => (example.x[kind][place + k] + example.origin[k]).toFixed(3));
        lines.push(`${elements[atom]} ${x.join(" ")}`);
      }
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "chemical/x-xyz" }));
    const run = data.runs.length > 1 ? `${name.replace(/[^\w.-]+/g, "_")}_` : "";
    link.download = `${run}${example.kind}_${kind}.extxyz`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ---- begin

  const runs = byId("run-shown");
  data.runs.forEach((run, i) => runs.appendChild(new Option(run.name, i)));
  runs.closest("label").hidden = data.runs.length < 2;
  makeViewers();
  chooseRun(0);
  runs.addEventListener("change", (event) => chooseRun(Number(event.target.value)));

  byId("example").addEventListener("change", (event) => choose(Number(event.target.value)));
  byId("frame").addEventListener("input", (event) => {
    play(false);
    jump(Number(event.target.value));
  });
  byId("play").addEventListener("click", () => play(!state.playing));
  for (const each of document.querySelectorAll("input[name=fit]")) {
    each.addEventListener("change", () => {
      state.superposed = each.value === "superposed";
      drawStructures(false);
    });
  }
  for (const each of document.querySelectorAll("input[name=view]")) {
    each.addEventListener("change", () => {
      state.view = each.value;
      const side = state.view === "side";
      byId("tag-both").hidden = side;
      if (!viewers) return;
      byId("pane-1").classList.toggle("away", !side);
      viewers.forEach((viewer, number) => (side || number === 0) && viewer.resize());
      drawStructures(true);
    });
  }
  let held = false;
  const point = (event) => {
    const box = byId("distances").getBoundingClientRect();
    const share = (event.clientX - box.left - chart.left) / (box.width - chart.left - chart.right);
    play(false);
    jump(frameAt(Math.min(Math.max(share, 0), 1) * chart.last));
  };
  byId("distances").addEventListener("pointerdown", (event) => {
    held = true;
    point(event);
  });
  byId("distances").addEventListener("pointermove", (event) => held && point(event));
  window.addEventListener("pointerup", () => (held = false));
  byId("save-true").addEventListener("click", () => save("true"));
  byId("save-predicted").addEventListener("click", () => save("predicted"));
  new ResizeObserver(drawChart).observe(byId("distances"));

  byId("player").player = { state, viewers, placed };
})();

// What all figures share: numbers from the data, sections with their controls, colours, PNG and CSV.
let data;
const figures = [];

// Numbers stand in the data as base64 of little-endian bytes.
function bytes(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
function floats(text) {
  return new Float32Array(bytes(text).buffer);
}

// Plotly reads labels as a little HTML; names are none.
function plain(text) {
  return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function element(name, properties, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// number - four digits, which is what a person compares.
function number(x) {
  if (x === null || Number.isNaN(x)) return 'undefined';
  return x === 0 ? '0' : Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(4)));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
}
// Okabe and Ito's, which colour-blind people tell apart; heat maps are Cividis, differences blue to red.
const LINES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const SEQUENTIAL = 'Cividis';
const DIVERGING = [[0, '#2166ac'], [0.25, '#92c5de'], [0.5, '#f7f7f7'], [0.75, '#f4a582'], [1, '#b2182b']];

// layout - of a plot, in the page's colours. `axes` adds to both.
function layout(height, x, y, more) {
  const axis = { gridcolor: colour('grid'), linecolor: colour('line'), zerolinecolor: colour('line'), automargin: true };
  return Object.assign({
    height, paper_bgcolor: colour('back'), plot_bgcolor: colour('back'), font: { color: colour('ink'), size: 12 },
    margin: { l: 60, r: 20, t: 36, b: 50 }, hoverlabel: { align: 'left' },
    xaxis: Object.assign({}, axis, x), yaxis: Object.assign({}, axis, y),
    legend: { orientation: 'h', y: 0, yref: 'container', yanchor: 'bottom', x: 0 },
  }, more);
}

/* A figure: a section with title, text, controls, plot, a line that reads values out, and its exports.
 *   draw(f)  gives {traces, layout, csv: [[head..], [row..], ..], walk}; walk: {rows, columns, read(row, column)} for arrow keys
 *   controls {name: {label, options: [[value, text]..], value}}; f.is(name) is what is chosen */
function figure(id, title, text, controls, draw, half) {
  const f = { id, title, draw, cell: null, controls: {} };
  f.is = (name) => (f.controls[name].type === 'checkbox' ? f.controls[name].checked : f.controls[name].value);
  f.plot = element('div', { className: 'plot', id: 'plot-' + id, tabIndex: 0 });
  f.plot.setAttribute('role', 'img');
  f.plot.setAttribute('aria-label', title);
  f.readout = element('output', { className: 'note' });
  const row = element('div', { className: 'controls' });
  for (const [name, c] of Object.entries(controls)) {
    if (c.options === undefined) {
      f.controls[name] = element('input', { type: 'checkbox', checked: c.value });
    } else {
      f.controls[name] = element('select', {}, ...c.options.map(([value, label]) => element('option', { value, textContent: label })));
      if (c.value !== undefined) f.controls[name].value = c.value;
    }
    f.controls[name].addEventListener('change', () => { if (c.then) c.then(f); show(f); });
    row.append(element('label', {}, c.label + ' ', f.controls[name]));
  }
  const png = element('button', { type: 'button', textContent: 'PNG' });
  const csv = element('button', { type: 'button', textContent: 'CSV' });
  png.setAttribute('aria-label', 'save as PNG: ' + title);
  csv.setAttribute('aria-label', 'save as CSV: ' + title);
  png.addEventListener('click', () => picture(f).then((url) => save(url, id + '.png')));
  csv.addEventListener('click', () => save(URL.createObjectURL(new Blob([table(f)], { type: 'text/csv' })), id + '.csv'));
  row.append(element('span', { className: 'buttons' }, png, csv));
  f.plot.addEventListener('keydown', (e) => walk(f, e));
  const section = element('section', { id, className: half ? 'half' : '' }, element('h2', { textContent: title }),
    element('p', { className: 'note', textContent: text }), row, f.plot, f.readout);
  place(section, title);
  figures.push(f);
}

// absent - a figure that cannot be drawn says how to get it.
function absent(id, title, text, command, half) {
  const p = element('p', { className: 'absent' }, text + ' ');
  if (command) p.append(element('code', { textContent: command }));
  place(element('section', { id, className: half ? 'missing half' : 'missing' }, element('h2', { textContent: title }), p), title);
}

function place(section, title) {
  document.getElementById('figures').append(section);
  document.getElementById('contents').append(element('a', { href: '#' + section.id, textContent: title }));
}

async function show(f) {
  if (f.drawn) Plotly.Fx.unhover(f.plot);
  f.drawn = f.draw(f);
  f.cell = null;
  f.readout.textContent = f.drawn.walk ? 'Values: point at a cell, or press the arrow keys in the figure.' : '';
  await Plotly.react(f.plot, f.drawn.traces, f.drawn.layout,
    // The library has a button that sends a chart to its makers' server: not from here.
    { responsive: true, displaylogo: false, displayModeBar: true, showSendToCloud: false, plotlyServerURL: '', modeBarButtonsToRemove: ['toImage', 'select2d', 'lasso2d'] });
}

// walk - arrow keys go from cell to cell.
function walk(f, e) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
  const w = f.drawn && f.drawn.walk;
  if (!step || !w || e.target !== f.plot) return;
  e.preventDefault();
  const inside = (x, n) => Math.min(Math.max(x, 0), n - 1);
  f.cell = f.cell === null ? [0, 0] : [inside(f.cell[0] + step[0], w.rows), inside(f.cell[1] + step[1], w.columns)];
  f.readout.textContent = w.read(f.cell[0], f.cell[1]).replace(/\n/g, ', ');
  Plotly.Fx.hover(f.plot, { xval: f.cell[1], yval: f.cell[0] });
}

function picture(f) {
  return Plotly.toImage(f.plot, { format: 'png', scale: 2, width: f.plot.clientWidth, height: f.drawn.layout.height });
}

function table(f) {
  const field = (x) => (/[",\r\n]/.test(String(x)) ? '"' + String(x).replace(/"/g, '""') + '"' : String(x));
  return f.drawn.csv().map((row) => row.map(field).join(',')).join('\n') + '\n';
}

function save(url, name) {
  const a = element('a', { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
}

function about(pairs) {
  const dl = element('dl');
  for (const [name, value] of pairs) dl.append(element('dt', { textContent: name }), element('dd', { textContent: value }));
  document.getElementById('about').append(dl);
}

function theme() {
  const want = document.getElementById('theme').value;
  const dark = want === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : want === 'dark';
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
}

// The layers of a stack: [{index, from, to}] among its experts.
function layersOf(stack) {
  let from = 0;
  return data.layers.filter((l) => l.stack === stack).map((l) => {
    from += l.experts;
    return { index: l.index, from: from - l.experts, to: from };
  });
}

async function start() {
  data = JSON.parse(document.getElementById('data').textContent);
  theme();
  (data.kind === 'compare' ? compare : atlas)();
  const again = () => { theme(); figures.forEach(show); };
  document.getElementById('theme').addEventListener('change', again);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  document.getElementById('failure').hidden = true;
  for (const f of figures) await show(f);
  document.documentElement.dataset.drawn = figures.map((f) => f.id).join(' ');
}

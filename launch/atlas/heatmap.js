// Heat maps: rows of languages, columns of experts, layers or languages.

// Rows are high enough to read their names, whatever their number.
function rowHeight(n) {
  return n <= 8 ? 44 : n <= 30 ? 24 : 13;
}

/* heatmap - traces and layout of
 *   rows, columns   names; columns may be null: ticks {at, text} tell them, or their numbers do
 *   z               [row][column], read(row, column) in words
 *   more            {xtitle, ytitle, scale: {colorscale, zmin, zmax, title, ticks, texts}, lines: where layers end, digits, square} */
function heatmap(rows, z, read, more) {
  const n = rows.length, columns = z.length > 0 ? z[0].length : 0, high = rowHeight(n);
  const s = more.scale, small = n * columns <= 160 && columns <= 14;
  const trace = {
    type: 'heatmap', z, colorscale: s.colorscale, zmin: s.zmin, zmax: s.zmax, hoverinfo: 'text', hoverongaps: false,
    text: z.map((row, r) => Array.from(row, (v, c) => plain(read(r, c)).replace(/\n/g, '<br>'))),
    colorbar: { title: { text: s.title, side: 'right' }, thickness: 14, outlinewidth: 0, lenmode: 'pixels', len: Math.min(Math.max(n * high, 130), 500),
      y: 1, yanchor: 'top', tickvals: s.ticks, ticktext: s.texts },
  };
  const traces = [trace];
  if (small && more.digits) {
    // A white or black number on each cell, whichever is read more easily on its colour.
    const at = [];
    z.forEach((row, r) => Array.from(row).forEach((v, c) => { if (v !== null) at.push([r, c, v]); }));
    const light = (v) => { const t = (v - s.zmin) / (s.zmax - s.zmin); return s.colorscale === SEQUENTIAL ? t > 0.55 : t > 0.2 && t < 0.8; };
    traces.push({ type: 'scatter', mode: 'text', x: at.map((a) => a[1]), y: at.map((a) => a[0]), hoverinfo: 'skip', showlegend: false,
      text: at.map((a) => more.digits(a[2])), textfont: { size: 11, color: at.map((a) => (light(a[2]) ? '#000' : '#fff')) } });
  }
  const names = (list, size, each) => ({ tickvals: list.map((_, i) => i).filter((i) => i % each === 0), ticktext: list.map(plain).filter((_, i) => i % each === 0), tickfont: { size } });
  const x = Object.assign({ title: { text: more.xtitle }, showgrid: false, zeroline: false, range: [-0.5, columns - 0.5] },
    more.columns ? Object.assign(names(more.columns, columns > 30 ? 9 : 11, Math.ceil(columns / 100)), { tickangle: columns > 8 ? -90 : 0 }) : {},
    more.ticks ? { tickvals: more.ticks.at, ticktext: more.ticks.text } : {});
  const y = Object.assign({ title: { text: more.ytitle, standoff: 8 }, showgrid: false, zeroline: false, range: [n - 0.5, -0.5] }, names(rows, n > 30 ? 9 : 12, 1));
  const shapes = (more.lines || []).map((at) => ({ type: 'line', x0: at - 0.5, x1: at - 0.5, yref: 'paper', y0: 0, y1: 1, line: { color: colour('back'), width: 3 } }));
  const below = more.columns && columns > 8 ? 130 : 90;
  return {
    traces, layout: layout(Math.max(n * high, 90) + below + 10, x, y, { shapes }),
    walk: { rows: n, columns, read },
  };
}

// Colours that grow with the square root tell small values apart; the bar still shows the values.
function scaleOf(most, root, title) {
  const ticks = [0, 0.05, 0.2, 0.5, 1].map((t) => t * most);
  return root
    ? { colorscale: SEQUENTIAL, zmin: 0, zmax: Math.sqrt(most), title, ticks: ticks.map(Math.sqrt), texts: ticks.map(number) }
    : { colorscale: SEQUENTIAL, zmin: 0, zmax: most, title };
}

// The columns that a choice of layer shows: from, to, where layers end, how they are marked.
function columnsOf(stack, layer) {
  const all = layersOf(stack);
  if (layer !== 'all') {
    const one = all.find((l) => String(l.index) === layer);
    return { from: one.from, to: one.to, lines: [], ticks: null, title: 'expert of ' + stack + ' layer ' + layer };
  }
  return {
    from: 0, to: all.length > 0 ? all[all.length - 1].to : 0, lines: all.slice(1).map((l) => l.from), title: 'experts of the ' + stack + ', layer by layer',
    ticks: { at: all.map((l) => (l.from + l.to - 1) / 2), text: all.map((l) => 'layer ' + l.index) },
  };
}

// expertAt - its layer and number there.
function expertAt(stack, column) {
  const l = layersOf(stack).find((one) => column < one.to);
  return { layer: l.index, expert: column - l.from };
}

// The control that chooses a layer; a stack of many experts starts with its first.
function fillLayers(f) {
  const all = layersOf(data.stacks[Number(f.is('stack'))].name), select = f.controls.layer, few = all.length === 0 || all[all.length - 1].to <= 300;
  select.replaceChildren(element('option', { value: 'all', textContent: 'all' }),
    ...all.map((l) => element('option', { value: String(l.index), textContent: String(l.index) })));
  select.value = few ? 'all' : String(all[0].index);
}
const STACKS = [['0', 'encoder, by source'], ['1', 'decoder, by target']];

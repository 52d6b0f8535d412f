// The figures of an atlas.

// Languages as the tree of decoder importance has them side by side; those it lacks come behind.
function byTree(names) {
  const place = new Map(data.tree.leaves.map((leaf, i) => [data.stacks[1].languages[leaf], i]));
  const of = (i) => (place.has(names[i]) ? place.get(names[i]) : place.size + i);
  return names.map((_, i) => i).sort((a, b) => of(a) - of(b));
}
function orderOf(names, how) {
  return how === 'tree' ? byTree(names) : names.map((_, i) => i);
}
const ORDERS = [['name', 'by name'], ['tree', 'alike side by side']];

const KEPT = ['not kept', 'kept', ''];

function drawUse(f) {
  const s = data.stacks[Number(f.is('stack'))], width = s.width, metric = f.is('metric');
  const all = s.read(metric), c = columnsOf(s.name, f.is('layer')), order = orderOf(s.languages, f.is('order'));
  const root = f.is('colours') === 'root', only = f.is('only');
  let most = 0;
  const z = order.map((i) => Array.from({ length: c.to - c.from }, (_, k) => {
    const at = i * width + c.from + k, v = all[at];
    most = Math.max(most, v);
    return only && s.kept[at] === 0 ? null : root ? Math.sqrt(v) : v;
  }));
  const read = (r, k) => {
    const at = order[r] * width + c.from + k, e = expertAt(s.name, c.from + k);
    return s.languages[order[r]] + '\n' + s.name + ' layer ' + e.layer + ', expert ' + e.expert + '\n' + metric + ' ' + number(all[at]) +
      (s.kept[at] < 2 ? '\n' + KEPT[s.kept[at]] : '');
  };
  const out = heatmap(order.map((i) => s.languages[i]), z, read, { xtitle: c.title, ytitle: s.name === 'encoder' ? 'source language' : 'target language',
    scale: scaleOf(most || 1, root, metric), lines: c.lines, ticks: c.ticks });
  out.csv = () => [['stack', 'language', 'layer', 'expert', metric, 'kept']].concat(...order.map((i) =>
    Array.from({ length: c.to - c.from }, (_, k) => {
      const at = i * width + c.from + k, e = expertAt(s.name, c.from + k);
      return [s.name, s.languages[i], e.layer, e.expert, all[at], s.kept[at] < 2 ? s.kept[at] : ''];
    })));
  return out;
}

function drawJaccard(f, stack) {
  const s = data.stacks[stack].sets, n = s.names.length, order = orderOf(s.names, f.is('order'));
  const z = order.map((i) => order.map((j) => s.jaccard[i * n + j]));
  const read = (r, c) => s.names[order[r]] + ' and ' + s.names[order[c]] + '\nJaccard ' + number(z[r][c]) + '\n' +
    s.sizes[order[r]] + ' and ' + s.sizes[order[c]] + ' experts';
  const names = order.map((i) => s.names[i]);
  const out = heatmap(names, z, read, { columns: names, xtitle: 'set', ytitle: 'set', digits: (v) => v.toFixed(2),
    scale: { colorscale: SEQUENTIAL, zmin: 0, zmax: 1, title: 'Jaccard' } });
  out.csv = () => [['stack', 'a', 'b', 'jaccard']].concat(...order.map((i) => order.map((j) => [data.stacks[stack].name, s.names[i], s.names[j], s.jaccard[i * n + j]])));
  return out;
}

function drawTree() {
  const t = data.tree, names = data.stacks[1].languages, n = names.length;
  const y = [], x = [], place = new Map(t.leaves.map((leaf, i) => [leaf, i]));
  const at = names.map((_, i) => [0, place.get(i)]), joints = { x: [], y: [], text: [] };
  for (const [a, b, d, size] of t.merges) {
    x.push(at[a][0], d, d, at[b][0], null);
    y.push(at[a][1], at[a][1], at[b][1], at[b][1], null);
    at.push([d, (at[a][1] + at[b][1]) / 2]);
    joints.x.push(d);
    joints.y.push((at[a][1] + at[b][1]) / 2);
    joints.text.push(size + ' languages, distance ' + number(d));
  }
  const line = { color: LINES[0], width: 1.6 };
  return {
    traces: [{ type: 'scatter', mode: 'lines', x, y, line, hoverinfo: 'skip' },
      { type: 'scatter', mode: 'markers', x: joints.x, y: joints.y, text: joints.text, hoverinfo: 'text', marker: { size: 6, color: LINES[1] } }],
    layout: layout(n * rowHeight(n) + 100, { title: { text: 'distance between clusters (' + t.linkage + ')' }, rangemode: 'tozero', zeroline: false },
      { title: { text: 'target language', standoff: 8 }, tickvals: t.leaves.map((_, i) => i), ticktext: t.leaves.map((leaf) => plain(names[leaf])), showgrid: false, zeroline: false,
        range: [n - 0.5, -0.5], tickfont: { size: n > 30 ? 9 : 12 } }, { showlegend: false }),
    csv: () => [['merge', 'a', 'b', 'distance', 'languages']].concat(t.merges.map(([a, b, d, size], i) =>
      [i, a < n ? names[a] : 'merge ' + (a - n), b < n ? names[b] : 'merge ' + (b - n), d, size])),
  };
}

function drawUnion() {
  const traces = [], most = Math.max(...data.stacks.map((s) => s.width));
  data.stacks.forEach((s, k) => {
    const u = s.sets.unions, n = u.map((_, i) => i + 1), fill = LINES[k] + '33';
    const line = { color: LINES[k], width: 2, dash: k === 0 ? 'solid' : 'dash' };
    traces.push({ type: 'scatter', mode: 'lines', x: n.concat([...n].reverse()), y: u.map((v) => v[2]).concat(u.map((v) => v[1]).reverse()), fill: 'toself', fillcolor: fill,
      line: { width: 0 }, hoverinfo: 'skip', name: s.name + ': least to most' + (s.sets.exact ? '' : ' of a sample') },
    { type: 'scatter', mode: n.length > 40 ? 'lines' : 'lines+markers', x: n, y: u.map((v) => v[0]), line, marker: { symbol: k === 0 ? 'circle' : 'square' }, name: s.name + ': mean', hoverinfo: 'text',
      text: u.map((v, i) => s.name + ', ' + (i + 1) + ' sets<br>mean ' + number(v[0]) + ' of ' + s.width + ' experts (' + number(100 * v[0] / s.width) + ' %)<br>' + v[1] + ' to ' + v[2]) });
  });
  return {
    traces, layout: layout(420, { title: { text: 'sets (languages) served together' }, rangemode: 'tozero', tickformat: 'd', dtick: data.stacks.every((s) => s.sets.names.length < 20) ? 1 : undefined }, { title: { text: 'experts in their union' }, range: [0, most * 1.04] }),
    csv: () => [['stack', 'sets', 'mean', 'least', 'most', 'least_and_most']].concat(...data.stacks.map((s) =>
      s.sets.unions.map((v, i) => [s.name, i + 1, ...v, s.sets.exact ? 'exact' : 'sampled']))),
  };
}

// unit - of bytes, for an axis.
function unit(most) {
  return most >= 2 ** 30 ? [2 ** 30, 'GiB'] : most >= 2 ** 20 ? [2 ** 20, 'MiB'] : [2 ** 10, 'KiB'];
}

function drawRanks() {
  const [one, name] = unit(Math.max(...data.ranks.map((r) => r[0] + r[2]))), at = data.ranks.map((_, i) => i);
  const bar = (k, label, c) => ({ type: 'bar', name: label, x: at, y: data.ranks.map((r) => r[k] / one), marker: { color: c }, hovertemplate: 'rank %{x}: %{y:.3f} ' + name + '<extra>' + label + '</extra>' });
  return {
    traces: [bar(0, 'dense part', LINES[0]), bar(1, 'experts in any set', LINES[4]),
      { type: 'scatter', mode: 'markers', name: 'with all experts', x: at, y: data.ranks.map((r) => (r[0] + r[2]) / one), marker: { symbol: 'diamond', size: 10, color: LINES[1] },
        hovertemplate: 'rank %{x}: %{y:.3f} ' + name + '<extra>with all experts</extra>' }],
    layout: layout(380, { title: { text: 'rank' }, tickformat: 'd', dtick: data.ranks.length <= 20 ? 1 : undefined },
      { title: { text: 'weights on the rank, ' + name }, rangemode: 'tozero' }, { barmode: 'stack' }),
    csv: () => [['rank', 'dense_bytes', 'expert_bytes', 'all_experts_bytes']].concat(data.ranks.map((r, i) => [i, ...r])),
  };
}

// A line of budgets for each ratio, the unpruned model beside them, the knee marked.
function drawQuality(f) {
  const q = data.sweep, at = (name) => q.names.indexOf(name), bytesAt = at(f.is('bytes')), y = at(f.is('quality'));
  const whole = q.points[q.points.length - 1], cut = q.points.slice(0, -1);
  const [one, name] = unit(whole[bytesAt]), chrf = f.is('quality') === 'chrf++';
  const words = (p) => (p[at('ratio')] === null ? 'unpruned' : 'fraction ' + number(p[at('fraction')]) + ', ratio ' + number(p[at('ratio')])) + '<br>' + number(p[at('encoder')]) + ' + ' +
    number(p[at('decoder')]) + ' experts, ' + number(p[bytesAt] / one) + ' ' + name + '<br>' + f.is('quality') + ' ' + number(p[y]) + '<br>chrF++ lost ' + number(p[at('lost_chrf++')]) +
    ' (' + number(p[at('lost_low')]) + ' to ' + number(p[at('lost_high')]) + ')' + (p[at('worst_lost_chrf++')] === null ? '' : ', worst direction ' + number(p[at('worst_lost_chrf++')]));
  const traces = [...new Set(cut.map((p) => p[at('ratio')]))].sort((a, b) => a - b).map((ratio, i) => {
    const mine = cut.filter((p) => p[at('ratio')] === ratio);
    const error = chrf ? { error_y: { type: 'data', symmetric: false, thickness: 1.2, array: mine.map((p) => p[at('lost_chrf++')] - p[at('lost_low')]),
      arrayminus: mine.map((p) => p[at('lost_high')] - p[at('lost_chrf++')]) } } : {};
    return Object.assign({ type: 'scatter', mode: 'lines+markers', name: 'ratio ' + number(ratio), x: mine.map((p) => p[bytesAt] / one), y: mine.map((p) => p[y]), text: mine.map(words),
      hoverinfo: 'text', line: { color: LINES[i % LINES.length] }, marker: { size: 8, symbol: ['circle', 'square', 'diamond', 'cross', 'x', 'triangle-up'][i % 6] } }, error);
  });
  traces.push({ type: 'scatter', mode: 'markers', name: 'unpruned', x: [whole[bytesAt] / one], y: [whole[y]], text: [words(whole)], hoverinfo: 'text', marker: { size: 12, symbol: 'star', color: colour('ink') } });
  if (q.knee >= 0) {
    const p = cut[q.knee];
    traces.push({ type: 'scatter', mode: 'markers', name: 'knee', x: [p[bytesAt] / one], y: [p[y]], hoverinfo: 'skip', marker: { size: 18, symbol: 'circle-open', line: { width: 2.5 }, color: colour('ink') } });
  }
  return {
    traces, layout: layout(420, { title: { text: 'weights with the experts of ' + (f.is('bytes') === 'bytes' ? 'one direction' : 'all directions') + ', ' + name }, rangemode: 'tozero' },
      { title: { text: f.is('quality') + ', mean over directions' } }, {}),
    csv: () => [['point', ...q.names]].concat(q.points.map((p, i) => [i === q.knee ? 'knee' : i === q.points.length - 1 ? 'unpruned' : '', ...p.map((x) => (x === null ? '' : x))])),
  };
}

function describe() {
  const d = (s) => s.languages.length + (s.languages.length === 1 ? ' language, ' : ' languages, ') + layersOf(s.name).length + ' layers, ' + s.width + ' experts';
  about([['statistics', data.statistics + ' (model ' + data.model + ')'],
    ['counted', data.tokens.runs + ' directions, ' + data.tokens.encoder + ' encoder and ' + data.tokens.decoder + ' decoder tokens, ' +
      (data.mode === 'beam' ? 'best hypotheses' : 'given translations')],
    ['encoder', d(data.stacks[0])], ['decoder', d(data.stacks[1])],
    ['keep sets', data.keep !== '' ? data.keep : 'chosen here as dragoman prune does without options: importance, by language, 81.25 % of the experts go, three kept in the encoder for one in the decoder']]);
}

function atlas() {
  document.title = 'Expert atlas of model ' + data.model;
  for (const s of data.stacks) {
    const packed = s.values, open = {};
    s.width = layersOf(s.name).reduce((_, l) => l.to, 0);
    s.read = (metric) => (open[metric] ||= floats(packed[metric]));
    s.kept = bytes(s.kept);
    s.sets.jaccard = floats(s.sets.jaccard);
  }
  const many = data.tree.leaves.length > 30; // then only alike side by side shows anything
  describe();
  figure('use', 'Expert use by language and layer',
    'Each layer of a language sums to 1. importance: share of first places x exp(mean weight where first); top1: that share; top2: with second places; load: x mean weight; vanilla: x mean weight where first.',
    { stack: { label: 'Stack', options: STACKS, value: '1', then: fillLayers }, layer: { label: 'Layer', options: [] },
      metric: { label: 'Metric', options: data.metrics.map((m) => [m, m]), value: 'importance' },
      order: { label: 'Languages', options: ORDERS, value: many ? 'tree' : 'name' }, colours: { label: 'Colours', options: [['root', 'square root'], ['linear', 'linear']] },
      only: { label: 'Kept experts only', value: false } }, drawUse);
  fillLayers(figures[0]);
  data.stacks.forEach((s, k) => {
    if (s.sets.names.length === 0) {
      absent('jaccard-' + s.name, 'Similarity of kept sets, ' + s.name, 'The keep sets have none of this stack.');
      return;
    }
    figure('jaccard-' + s.name, 'Similarity of kept sets, ' + s.name, 'Jaccard: experts that both keep over experts that either keeps; 1: the same set, 0: none in common.',
      { order: { label: 'Sets', options: ORDERS, value: many ? 'tree' : 'name' } }, (f) => drawJaccard(f, k), s.sets.names.length <= 40);
  });
  if (data.tree.merges.length > 0) {
    figure('tree', 'Languages by decoder importance', 'A language is one vector: the importance of every decoder expert. Euclidean distance; clusters join by ' + data.tree.linkage + ' linkage.', {}, drawTree, data.tree.leaves.length <= 40);
  } else {
    absent('tree', 'Languages by decoder importance', 'A tree takes statistics of two target languages or more: merge those of several directions with', 'dragoman stats --merge A.json B.json -o ALL.json');
  }
  figure('union', 'Union of several sets', 'How many experts must be loaded to serve n of the sets: mean over all choices of n, and the least and greatest ' +
    (data.stacks.every((s) => s.sets.exact) ? 'of them.' : 'of a sample of them (4096 random orders, seed 1).'), {}, drawUnion, true);
  if (data.sweep !== null) {
    figure('quality', 'Quality against bytes', 'As dragoman prune --sweep measured it; bars: 95 % bootstrap of the loss of chrF++; the circle is the knee.',
      { quality: { label: 'Quality', options: ['chrf++', 'bleu', 'spbleu', 'length_ratio'].map((m) => [m, m]) },
        bytes: { label: 'Bytes', options: [['bytes', 'one direction'], ['bytes_all', 'all directions']] } }, drawQuality, true);
  } else {
    absent('quality', 'Quality against bytes', 'No sweep was given. Measure one with dragoman prune --sweep -o SWEEP.json, then', 'dragoman atlas STATS.json --quality SWEEP.json -o atlas.html', true);
  }
  if (data.ranks.length > 0) {
    figure('ranks', 'Bytes on each rank', 'Weights that ' + (data.ranks.length === 1 ? 'one rank' : 'each of ' + data.ranks.length + ' ranks') + ' holds when all sets are served, as dragoman inspect --keep prints them; diamonds: with all experts.', {}, drawRanks, true);
  } else {
    absent('ranks', 'Bytes on each rank', 'No model of these statistics was there to ask, with its weights. Name it:', 'dragoman atlas STATS.json -m MODEL -n RANKS -o atlas.html', true);
  }
}

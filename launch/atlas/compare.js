// The figures of a comparison: what changed from old statistics to new.

function drawDifference(f) {
  const s = data.stacks[Number(f.is('stack'))], c = columnsOf(s.name, f.is('layer'));
  let most = 0;
  const z = s.languages.map((_, i) => Array.from({ length: c.to - c.from }, (_x, k) => {
    const at = i * s.width + c.from + k, d = s.new[at] - s.old[at];
    most = Math.max(most, Math.abs(d));
    return d;
  }));
  const kept = ['kept by neither', 'left the kept set', 'entered the kept set', 'kept by both'];
  const read = (r, k) => {
    const at = r * s.width + c.from + k, e = expertAt(s.name, c.from + k);
    return s.languages[r] + '\n' + s.name + ' layer ' + e.layer + ', expert ' + e.expert + '\nimportance ' + number(s.old[at]) + ', then ' + number(s.new[at]) + '\n' + kept[s.kept[at]];
  };
  const out = heatmap(s.languages, z, read, { xtitle: c.title, ytitle: s.name === 'encoder' ? 'source language' : 'target language', lines: c.lines, ticks: c.ticks,
    scale: { colorscale: DIVERGING, zmin: -(most || 1), zmax: most || 1, title: 'new - old' } });
  out.csv = () => [['stack', 'language', 'layer', 'expert', 'importance_old', 'importance_new', 'kept_old', 'kept_new']].concat(...s.languages.map((name, i) =>
    Array.from({ length: c.to - c.from }, (_, k) => {
      const at = i * s.width + c.from + k, e = expertAt(s.name, c.from + k);
      return [s.name, name, e.layer, e.expert, s.old[at], s.new[at], s.kept[at] & 1, s.kept[at] >> 1];
    })));
  return out;
}

// experts - of a language and layer whose kept byte is `what`.
function experts(s, lang, layer, what) {
  const list = [];
  for (let e = layer.from; e < layer.to; e++) if (s.kept[lang * s.width + e] === what) list.push(e - layer.from);
  return list.length > 0 ? list.join(' ') : 'none';
}

function drawChanges(f) {
  const s = data.stacks[Number(f.is('stack'))], layers = layersOf(s.name), what = f.is('what');
  const value = { correlation: (x) => x[0], moved: (x) => x[1], exchanged: (x) => x[3] + x[4] }[what];
  const z = s.changes.map((row) => row.map(value));
  const read = (r, c) => {
    const x = s.changes[r][c];
    return s.languages[r] + ', ' + s.name + ' layer ' + layers[c].index + '\nrank correlation ' + number(x[0]) + ', importance moved ' + number(x[1]) +
      '\nentered: ' + experts(s, r, layers[c], 2) + '\nleft: ' + experts(s, r, layers[c], 1);
  };
  const most = Math.max(...z.map((row) => Math.max(...row)), 1e-12);
  const scale = what === 'correlation' ? { colorscale: DIVERGING, zmin: -1, zmax: 1, title: 'rank correlation' }
    : what === 'moved' ? { colorscale: SEQUENTIAL, zmin: 0, zmax: most, title: 'importance moved' }
      : { colorscale: SEQUENTIAL, zmin: 0, zmax: Math.max(most, 1), title: 'experts' };
  const out = heatmap(s.languages, z, read, { columns: layers.map((l) => String(l.index)), xtitle: 'layer of the ' + s.name, ytitle: s.name === 'encoder' ? 'source language' : 'target language',
    scale, digits: what === 'exchanged' ? String : (v) => v.toFixed(2) });
  out.csv = () => [['stack', 'language', 'layer', 'rank_correlation', 'moved', 'kept', 'entered', 'left']].concat(...s.languages.map((name, i) =>
    layers.map((l, k) => [s.name, name, l.index, ...s.changes[i][k].map((x) => (x === null ? '' : x))])));
  return out;
}

function compare() {
  document.title = 'Expert atlas: what changed';
  document.getElementById('title').textContent = 'What changed between two sets of statistics';
  for (const s of data.stacks) {
    s.width = layersOf(s.name).reduce((_, l) => l.to, 0);
    s.old = floats(s.old);
    s.new = floats(s.new);
    s.kept = bytes(s.kept);
  }
  const only = (key) => [...new Set(data.stacks.flatMap((s) => s[key]))].join(', ') || 'none';
  about([['old', data.old.statistics + ' (model ' + data.old.model + ')'], ['new', data.new.statistics + ' (model ' + data.new.model + ')'],
    ['only in the old', only('only_old')], ['only in the new', only('only_new')],
    ['keep sets', 'chosen from each as dragoman prune does without options']]);
  const stack = { label: 'Stack', options: STACKS, value: data.stacks[1].languages.length > 0 ? '1' : '0' };
  figure('difference', 'Difference of importance', 'New minus old, by language and expert; each layer of a language sums to 0. Red grew, blue shrank.',
    { stack: Object.assign({ then: fillLayers }, stack), layer: { label: 'Layer', options: [] } }, drawDifference);
  fillLayers(figures[0]);
  figure('changes', 'Changes by layer', 'Rank correlation (Spearman) of importance over the experts of a layer; importance that moved (half the sum of differences, 0 to 1); experts that entered or left the kept set.',
    { stack, what: { label: 'Show', options: [['correlation', 'rank correlation'], ['moved', 'importance moved'], ['exchanged', 'experts entered or left']] } }, drawChanges);
}

'use strict';
/* The page of `dragoman serve --web`: asks /about, /health and /translate of the server that it came from, and shows what they
 * say. Text goes into the page as text; nothing of it is ever read as markup. */

const el = (id) => document.getElementById(id);
const languages = new Map(); // code -> name

function make(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// ---- the server ----

// ask - what the server answers to it; throws an Error with a sentence.
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (el('token').value !== '') headers.Authorization = 'Bearer ' + el('token').value;
  let said;
  try {
    const response = await fetch(path, { ...options, headers });
    said = await response.json();
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Error('The server does not answer.');
  }
  if (!said.error) return said;
  if (said.error.code === 'token') el('token-row').hidden = false;
  const again = said.error.retry ? ', try again' + (said.error.retry_after_ms ? ' in ' + Math.ceil(said.error.retry_after_ms / 1000) + ' s' : '') : '';
  throw Object.assign(new Error(said.error.message + ' (' + said.error.code + again + ')'), { code: said.error.code });
}

function complain(text) {
  el('error').textContent = text;
  el('error').hidden = text === '';
}

function showHealth(h) {
  const told = { ready: 'ready', starting: 'reads its model', draining: 'draining: takes nothing new', stalled: 'stalled' };
  const words = (told[h.state] || h.state) + (h.message ? ': ' + h.message : '');
  el('health').dataset.state = h.state;
  el('health').textContent = words + (h.state === 'ready' ? `, ${h.in_flight} in work, ${h.queued_tokens} tokens queued` : '');
}

function listLanguages(all) {
  languages.clear();
  for (const [id, has] of [['sources', 'source'], ['targets', 'target']]) {
    el(id).replaceChildren(...all.filter((l) => l[has]).map((l) => {
      const o = make('option');
      o.value = l.code;
      o.label = [l.name, ...l.aliases].join(', ');
      return o;
    }));
  }
  for (const l of all) languages.set(l.code, l.name);
  for (const l of all) for (const a of l.aliases) if (!languages.has(a)) languages.set(a, l.name);
  const codes = all.map((l) => l.code);
  if (el('src').value === '') el('src').value = codes.includes('eng_Latn') ? 'eng_Latn' : codes[0] || '';
  if (el('tgt').value === '') el('tgt').value = codes.find((c) => c !== el('src').value) || '';
  nameLanguages();
}

function nameLanguages() {
  for (const id of ['src', 'tgt']) {
    const code = el(id).value.trim();
    el(id + '-name').textContent = code === '' || languages.size === 0 ? '' : languages.get(code) || 'not a language of this model';
  }
}

let known = null; // what /about said

async function look() {
  try {
    const said = await ask(known ? '/health' : '/about');
    if (!known) {
      known = said;
      el('about').textContent = said.server + ', model ' + said.model;
      el('n-best').value = Math.min(Number(el('n-best').value) || 1, said.n_best);
      el('n-best').max = el('beam').max = said.beam_size;
      listLanguages(said.languages);
      complain('');
    }
    showHealth(said.health);
  } catch (e) {
    el('health').dataset.state = 'unknown';
    el('health').textContent = e.code === 'token' ? 'wants a token' : e.message;
  }
}

// ---- words and where they come from ----

// Words are what stands between white space, as the server counts them.
function putWords(parent, text) {
  const words = [];
  for (const piece of text.split(/(\p{White_Space}+)/u)) {
    if (/^\p{White_Space}*$/u.test(piece)) {
      parent.append(piece);
    } else {
      const w = make('span', 'word', piece);
      words.push(w);
      parent.append(w);
    }
  }
  return words;
}

// join - points from each word of row a to those of row b that pairs name, and back.
function join(a, b, pairs) {
  for (const [i, k] of pairs) {
    if (!a[i] || !b[k]) continue;
    (a[i].partners = a[i].partners || new Set()).add(b[k]);
    (b[k].partners = b[k].partners || new Set()).add(a[i]);
  }
}

function light(article, word) {
  for (const w of article.querySelectorAll('.lit')) w.classList.remove('lit');
  const partners = word ? [...(word.partners || [])] : [];
  for (const w of word ? [word, ...partners] : []) w.classList.add('lit');
  const texts = [...new Set(partners.map((w) => w.textContent))];
  article.querySelector('output').textContent = !word ? '' : word.textContent + (texts.length ? ' ↔ ' + texts.join(' ') : ': from no word');
}

// walk - arrow keys along a row that has the focus.
function walk(article, row, words) {
  let at = -1;
  const to = (n) => { at = Math.max(0, Math.min(words.length - 1, n)); light(article, words[at]); };
  row.tabIndex = 0;
  row.addEventListener('focus', () => { if (at < 0) to(0); else to(at); });
  row.addEventListener('blur', () => light(article, null));
  row.addEventListener('keydown', (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -words.length, End: words.length }[e.key];
    if (step === undefined) return;
    e.preventDefault();
    to(at + (getComputedStyle(row).direction === 'rtl' && e.key.startsWith('Arrow') ? -step : step));
  });
}

function wordRow(article, parent, className, label, text, code) {
  const row = make('p', 'words ' + className);
  row.dir = 'auto';
  row.lang = code.slice(0, 3);
  row.setAttribute('role', 'group');
  row.setAttribute('aria-label', label + ': ' + text);
  const words = putWords(row, text);
  if (words.length > 0) walk(article, row, words);
  parent.append(row);
  return words;
}

// ---- answers ----

const told = {
  ok: 'ok', empty: 'blank', split: 'translated in parts and joined', too_long: 'too long', truncated: 'cut at the length limit',
  copied: 'copies its source', looped: 'repeats itself', wrong_script: 'in another script', timed_out: 'took too long',
  cancelled: 'cancelled', failed: 'failed', bad_input: 'not text: invalid UTF-8 or NUL',
  length_ratio: 'of an odd length', no_end: 'does not end',
};

const ms = (us) => (us / 1000).toFixed(us < 10000 ? 1 : 0) + ' ms';

function facts(a) {
  const p = make('p', 'facts');
  const put = (text, warn) => { if (p.childNodes.length) p.append(' · '); p.append(make('span', warn ? 'warn' : '', text)); };
  const good = ['ok', 'empty', 'split'].includes(a.status);
  put('status: ' + (told[a.status] || a.status) + (a.message ? ' (' + a.message + ')' : ''), !good);
  const checks = a.checks.filter((c) => c !== a.status);
  if (checks.length) put('checks: ' + checks.map((c) => told[c] || c).join(', '), true);
  if (a.parts > 1) put(a.parts + ' parts');
  if (a.retried) put(`decoded again: ${a.first_score.toFixed(4)}, then ${a.second_score.toFixed(4)}; this is the ${a.second ? 'second' : 'first'}`);
  put(`${a.src_tokens} tokens in, ${a.tgt_tokens} out`);
  if (a.src_unknown + a.tgt_unknown > 0) put(`unknown to the model: ${a.src_unknown} in, ${a.tgt_unknown} out`, true);
  if (a.absent_mass > 0) put(`${(100 * a.absent_mass).toFixed(2)} % of the gates on absent experts`);
  put(a.cached ? 'answered before' : `queue ${ms(a.queue_us)}, compute ${ms(a.compute_us)}`);
  return p;
}

function article(line, a, asked) {
  const box = make('article');
  const source = wordRow(box, box, 'source', 'Source', line, asked.src), list = make('ol');
  a.hypotheses.forEach((h, i) => {
    const item = make('li'), words = wordRow(box, item, 'target', 'Alternative ' + (i + 1), h.text, asked.tgt);
    item.lastChild.append(make('span', 'score', h.score.toFixed(4)));
    item.dataset.text = h.text;
    item.dataset.score = h.score;
    join(source, words, h.alignment);
    list.append(item);
  });
  if (a.hypotheses.length) box.append(list);
  box.append(make('output'), facts(a));
  box.addEventListener('pointerover', (e) => { if (e.target.classList.contains('word')) light(box, e.target); });
  box.addEventListener('pointerleave', () => light(box, null));
  return box;
}

let running = null;

function question() {
  const lines = el('text').value.split('\n');
  while (lines.length > 1 && lines[lines.length - 1] === '') lines.pop();
  const q = { src: el('src').value.trim(), tgt: el('tgt').value.trim(), lines, alignment: true };
  if (el('n-best').value !== '') q.n_best = Number(el('n-best').value);
  if (el('beam').value !== '') q.beam_size = Number(el('beam').value);
  return q;
}

async function translate() {
  if (running) running.abort();
  const mine = running = new AbortController(), asked = question(), began = performance.now();
  complain('');
  el('done').textContent = 'translating …';
  el('stop').hidden = false;
  try {
    if (!known) await look();
    const said = await ask('/translate', {
      method: 'POST', signal: mine.signal, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(asked),
    });
    el('results').replaceChildren(...asked.lines.map((line, i) => article(line, said.answers[i], asked)));
    el('done').textContent = `${asked.lines.length === 1 ? '1 line' : asked.lines.length + ' lines'} in ${ms(1000 * (performance.now() - began))}, with the way there and back`;
  } catch (e) {
    if (running !== mine) return; // another was asked since
    el('done').textContent = e.name === 'AbortError' ? 'stopped' : '';
    if (e.name !== 'AbortError') complain(e.message);
    if (e.code === 'token') el('token').focus();
  }
  if (running === mine) {
    running = null;
    el('stop').hidden = true;
  }
  look();
}

el('form').addEventListener('submit', (e) => { e.preventDefault(); translate(); });
el('text').addEventListener('keydown', (e) => {
  if (e.key !== 'Enter' || !(e.ctrlKey || e.metaKey)) return;
  e.preventDefault();
  translate();
});
el('stop').addEventListener('click', () => { if (running) running.abort(); });
el('token').addEventListener('change', look);
el('swap').addEventListener('click', () => {
  [el('src').value, el('tgt').value] = [el('tgt').value, el('src').value];
  nameLanguages();
});
for (const id of ['src', 'tgt']) {
  el(id).addEventListener('input', nameLanguages);
  el(id).addEventListener('focus', () => el(id).select()); // what is typed next takes its place
}
setInterval(() => { if (document.visibilityState === 'visible') look(); }, 5000);
look();

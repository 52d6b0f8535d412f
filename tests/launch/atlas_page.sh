#!/usr/bin/env bash
# Pages of `dragoman atlas` in a real browser, without a network: every figure is drawn, every control works, exports give pictures
# and tables, no script fails, and names from files run nothing. A screenshot stays in the build folder.
# usage: atlas_page.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$(realpath "$1")
build=$(dirname "$dragoman")
if ! command -v chromium >/dev/null; then
    echo "SKIP launch_atlas_page: chromium is not installed (launch/setup.sh test installs it)"
    exit 77
fi
export DGM_LOG_LEVEL=warn DGM_MODEL=$here/models/multi30k-token
cd "$dir" || exit 1
: >err # what fail shows

make() { "$@" >out 2>err || fail "$*"; }

# In the page: each figure, with each value of each control, arrow keys, a picture, a table. What is found stands in data-probe.
cat >probe.js <<'JS'
async function probe() {
  const found = [];
  for (const f of figures) {
    let pictures = f.plot.querySelectorAll('.hm image, .scatterlayer .trace, .barlayer .trace').length;
    const first = Object.values(f.controls).map((c) => [c, c.value, c.checked]);
    for (const [name, c] of Object.entries(f.controls)) {
      for (const value of c.type === 'checkbox' ? [true, false] : [...c.options].map((o) => o.value)) {
        if (c.type === 'checkbox') c.checked = value; else c.value = value;
        c.dispatchEvent(new Event('change'));
        await show(f);
        if (f.plot.querySelectorAll('.hm image, .scatterlayer .trace, .barlayer .trace').length === 0) complain(f.id + ': nothing is drawn with ' + name + ' ' + value);
      }
    }
    for (const key of ['ArrowRight', 'ArrowDown', 'ArrowRight']) {
      f.plot.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
      await new Promise((done) => setTimeout(done, 200)); // labels follow at their own pace
    }
    const label = () => [...f.plot.querySelectorAll('.hoverlayer .hovertext')].map((t) => t.textContent).join();
    const letters = (t) => t.replace(/[\s,]/g, ''), told = () => !f.drawn.walk || letters(label()) === letters(f.readout.textContent);
    for (let n = 0; n < 40 && !told(); n++) await new Promise((done) => setTimeout(done, 200));
    if (!told()) complain(f.id + ': arrow keys show ' + label());
    const png = await picture(f), rows = table(f).trim().split('\n').length;
    if (!png.startsWith('data:image/png;base64,') || png.length < 2000) complain(f.id + ': no picture');
    const said = f.readout.textContent;
    for (const [c, value, checked] of first) { // as it was, for the screenshot
      c.value = value;
      c.checked = checked;
      if (f.controls.stack === c && f.controls.layer) fillLayers(f);
    }
    await show(f);
    found.push(f.id + ':' + pictures + ':' + rows + ':' + said);
  }
  if (document.querySelector('[data-title*="loud"], .plotly-cloud-dialog')) complain('a button that sends data');
  document.documentElement.dataset.probe = found.join(';');
}
JS

# look PAGE [option of chromium...]: its DOM in PAGE.dom, after the probe. The network is cut where that is allowed.
alone=()
unshare -n true 2>/dev/null && alone=(unshare -n)
look() {
    local page=$1 tried
    shift
    awk -v probe=probe.js '/^start\(\);$/ { while ((getline line < probe) > 0) print line; print "start().then(probe);"; next } { print }' "$page.html" >"$page.probed.html"
    for tried in 1 2; do
        timeout 600 "${alone[@]}" chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-extensions --no-first-run \
            --disable-background-networking --disable-component-update --user-data-dir="$dir/profile.$page.$tried" --window-size=1400,2350 \
            --virtual-time-budget=60000 --dump-dom "$@" "file://$dir/$page.probed.html" >"$page.dom" 2>"$page.err"
        grep -q '<html' "$page.dom" && return
    done
    fail "chromium: $(tail -n 3 "$page.err")"
}
# attribute PAGE NAME - of its html element.
attribute() { grep -o '<html[^>]*' "$1.dom" | sed -n "s/.* data-$2=\"\([^\"]*\)\".*/\1/p"; }
# drawn PAGE FIGURES...: all of them are there, each with something drawn and with rows in its table, and no script failed.
drawn() {
    local page=$1 f
    shift
    [ -z "$(attribute "$page" errors)" ] || fail "$page: $(attribute "$page" errors)"
    [ "$(attribute "$page" drawn)" = "$*" ] || fail "$page: drawn are '$(attribute "$page" drawn)', not '$*'"
    for f in "$@"; do
        tr ';' '\n' <<<"$(attribute "$page" probe)" | grep -Eq "^$f:[1-9][0-9]*:[1-9][0-9]*:" || fail "$page: $f is not drawn: $(attribute "$page" probe)"
    done
    grep -Eq '<p id="failure"[^>]* hidden' "$page.dom" || fail "$page: says that it failed"
}

# All 12 directions of the demonstration model.
files=()
for s in en de fr cs; do
    gzip -dc "$here/tests/data/multi30k/val.$s.gz" | head -n 20 >$s
    targets=$(printf '%s\n' en de fr cs | grep -v $s | paste -sd,)
    make "$dragoman" stats -s $s -t "$targets" -i $s -o $s.json --beam-size 1
    files+=("$s.json")
done
make "$dragoman" stats --merge "${files[@]}" -o stats.json
point() { echo "{\"fraction\":$1,\"ratio\":$2,\"encoder\":$5,\"decoder\":$6,\"bytes\":$3,\"bytes_all\":$3,\"bleu\":30,\"spbleu\":28,\"chrf++\":$4,\"length_ratio\":1,\"lost\":{\"chrf++\":1,\"low\":0.5,\"high\":1.5},\"worst\":$7}"; }
worst='{"direction":"eng_Latn-fra_Latn","chrf++":2}'
echo "{\"format\":1,\"kind\":\"sweep\",\"model\":$(jq .model stats.json),\"knee\":1,\"unpruned\":$(point 0 null 20000000 53.9 64 64 null),
    \"points\":[$(point 0.8125 3 8000000 50.5 18 6 "$worst"),$(point 0.75 1 9500000 52.2 16 16 "$worst"),$(point 0.5 1 13000000 53.5 32 32 "$worst")]}" >sweep.json
make "$dragoman" atlas stats.json -o atlas.html -n 4 --quality sweep.json
look atlas --screenshot="$build/atlas-page.png"
drawn atlas use jaccard-encoder jaccard-decoder tree union quality ranks
[ -s "$build/atlas-page.png" ] || fail "no screenshot"
attribute atlas probe | grep -q '^use:[0-9]*:129:[a-z]*_Latn, decoder layer 3, expert 1, importance [0-9]' || fail "arrow keys read: $(attribute atlas probe)"

# Names that would be markup, in the page and in its plots: nothing of them becomes an element, nothing runs.
jq -c '.runs[0].tgt = "</script><img src=x onerror=complain(1)>" | .runs[1].tgt = "<a href=\"https://x\">y</a><b>z</b>"' stats.json >'<img src=x onerror=complain(2)>.json'
make "$dragoman" atlas '<img src=x onerror=complain(2)>.json' -o hostile.html -m "$DGM_MODEL"
look hostile
drawn hostile use jaccard-encoder jaccard-decoder tree union ranks
grep -Eq '<img|<a [^>]*https://x|<b>z|font-weight: bold[^>]*>z' hostile.dom && fail "a name became markup"
grep -q '&lt;/script&gt;&lt;img src=x onerror=complain(1)&gt;' hostile.dom || fail "a name is not shown"

make "$dragoman" atlas --compare stats.json '<img src=x onerror=complain(2)>.json' -o compare.html
look compare
drawn compare difference changes
exit $bad

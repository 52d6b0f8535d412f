#!/usr/bin/env bash
# The page of `dragoman serve --web` in a real browser, without a network: a person gives the token, chooses languages, types, and sees
# what `dragoman translate` says, with alternatives, alignment and times; errors in words; text that would be markup stays text. With the
# mouse, by the keyboard, on a telephone, in the dark. A picture stays in the build folder.
# usage: web_page.sh DRAGOMAN_BINARY
set -u
if ! command -v chromium >/dev/null; then
    echo "SKIP launch_web_page: chromium is not installed (launch/setup.sh test installs it)"
    exit 77
fi
if [ -z "${DGM_ALONE-}" ] && unshare -n ip link set lo up 2>/dev/null; then
    # shellcheck disable=SC2016 # for the other shell
    DGM_ALONE=1 exec unshare -n bash -c 'ip link set lo up && exec "$0" "$@"' "$0" "$@"
fi
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/launch/serving.sh
source "$here/tests/launch/serving.sh"
# shellcheck source=tests/launch/browser.sh
source "$here/tests/launch/browser.sh"
trap '[ -z "$server" ] || kill -KILL "$server"; [ -z "$browser" ] || kill -KILL "$browser"; wait; rm -rf "$dir"' EXIT
dragoman=$1
build=$(cd "$(dirname "$1")" && pwd)
at=unix:$dir/socket
: >"$dir/err"

text='A brown dog runs through the deep snow.'
"$dragoman" translate -s en -t de --n-best 4 <<<"$text" >"$dir/want" 2>"$dir/err" || fail 'translate'
"$dragoman" translate -s en -t de --alignment <<<"$text" 2>"$dir/err" | sed 's/.* ||| //' >"$dir/pairs"
: >"$dir/err"
printf 'alice:%s\n' "$(printf secret | sha256sum | cut -d' ' -f1)" >"$dir/tokens"
serves --web 127.0.0.1:0 --tokens "$dir/tokens"
page=$(sed -n 's|.*a page to try translations: \(http://[^ ]*\)$|\1|p' "$dir/server")
opens_browser 1000 860
call Page.navigate "$(jq -nc --arg u "$page" '{url: $u}')"

# ---- a token; languages with their names ----
comes '!document.querySelector("#token-row").hidden'
holds 'document.querySelector("#health").textContent === "wants a token"' 'document.querySelector("#health").textContent'
writes '#token' secret
keys Tab
comes 'known !== null && document.querySelector("#health").dataset.state === "ready"'
holds '[...document.querySelectorAll("#targets option")].some((o) => o.value === "deu_Latn" && o.label.startsWith("German, ") && o.label.includes("de"))' 'document.querySelector("#targets").outerHTML'
holds 'document.querySelector("#src").value === "eng_Latn" && document.querySelector("#src-name").textContent === "English"' 'document.querySelector("#src").value'
writes '#tgt' deu_Latn
holds 'document.querySelector("#tgt-name").textContent === "German"' 'document.querySelector("#tgt-name").textContent'

# ---- a translation, its alternatives, and times ----
writes '#text' "$text"
clicks '#go'
comes 'document.querySelector("#results li")'
value '[...document.querySelectorAll("#results li")].map((e) => e.dataset.text).join("\n")' >"$dir/got"
cmp -s "$dir/want" "$dir/got" || { diff "$dir/want" "$dir/got" >"$dir/err"; fail 'not what translate says'; }
holds '[...document.querySelectorAll("#results li")].every((e) => e.innerText.includes(e.dataset.text) && /-0\.[0-9]{4}$/.test(e.innerText.trim()))' 'document.querySelector("#results").innerText'
holds '/^status: ok · [0-9]+ tokens in, [0-9]+ out · queue [0-9.]+ ms, compute [0-9.]+ ms$/m.test(document.querySelector(".facts").innerText)' 'document.querySelector(".facts").innerText'

# ---- alignment: with the mouse, then along the row by arrow keys ----
lit='[...document.querySelectorAll("#results .lit")].map((e) => e.textContent).join(" ")'
# partners WORD: of the best alternative's word of that number, as translate aligns it: source words, then the word itself.
partners() {
    local words pairs from=() pair
    read -ra words <<<"$text"
    read -ra pairs <"$dir/pairs"
    for pair in "${pairs[@]}"; do [ "${pair#*-}" = "$1" ] && from+=("${words[${pair%-*}]}"); done
    echo "${from[*]} $(head -n 1 "$dir/want" | cut -d' ' -f$(($1 + 1)))"
}
for n in 2 1; do
    points "#results li:first-child .word:nth-of-type($((n + 1)))"
    [ "$(value "$lit")" = "$(partners $n)" ] || fail "word $n lights up '$(value "$lit")', not '$(partners $n)'"
done
holds 'document.querySelector("#results output").textContent.includes("brown") || document.querySelector("#results output").textContent.includes("↔")' 'document.querySelector("#results output").textContent'
picture "$build/web-page.png"
[ -s "$build/web-page.png" ] || fail 'no picture'
clicks h1
value 'document.querySelector("#results li .words").focus()' >/dev/null
keys ArrowRight
[ "$(value "$lit")" = "$(partners 1)" ] || fail "an arrow key lights up '$(value "$lit")', not '$(partners 1)'"
keys ArrowRight
[ "$(value "$lit")" = "$(partners 2)" ] || fail "another arrow key lights up '$(value "$lit")', not '$(partners 2)'"

# ---- by the keyboard alone: text, languages swapped, Control and Enter ----
value 'document.querySelector("#results").replaceChildren()' >/dev/null
writes '#text' '<img src=x onerror="document.title=1"><b>x</b>'
keys Enter 2
comes 'document.querySelector("#results li")'
holds 'document.querySelector("#results .source").textContent === document.querySelector("#text").value' 'document.querySelector("#results").innerHTML'
holds 'document.querySelectorAll("#results :is(img, b)").length === 0 && document.title === "dragoman: try a translation"' 'document.querySelector("#results").innerHTML'
# ... and a translation that a check finds fault with, decoded again
odd=$here/tests/launch/odd_lines.txt
"$dragoman" translate -s en -t de --retry checks --report "$dir/report" -i "$odd" >"$dir/odd" 2>"$dir/err"
: >"$dir/err"
n=$(jq -s 'map(.retry.taken == "second") | index(true) + 1' "$dir/report")
clicks '#retry'
writes '#text' "$(sed -n "${n}p" "$odd")"
clicks '#go'
comes 'document.querySelector(".facts").innerText.includes("this is the second")'
[ "$(value 'document.querySelector("#results li").dataset.text')" = "$(sed -n "${n}p" "$dir/odd")" ] || fail 'not what translate --retry checks says'
clicks '#retry'
clicks '#swap'
holds 'document.querySelector("#src").value === "deu_Latn" && document.querySelector("#src-name").textContent === "German"' 'document.querySelector("#src").value'
clicks '#swap'

# ---- an error in words; a long one that is stopped ----
writes '#tgt' klingon
holds 'document.querySelector("#tgt-name").textContent === "not a language of this model"' 'document.querySelector("#tgt-name").textContent'
keys Enter
comes '!document.querySelector("#error").hidden'
holds '/klingon.*\(language\)$/.test(document.querySelector("#error").textContent)' 'document.querySelector("#error").textContent'
writes '#tgt' de
value "document.querySelector('#text').value = $(gzip -dc "$here/tests/data/multi30k/val.en.gz" | jq -Rn '[[inputs] | _nwise(16) | join(" ")] | join("\n")')" >/dev/null
halt "$server" # however fast it is
clicks '#go'
comes '!document.querySelector("#stop").hidden'
clicks '#stop'
comes 'document.querySelector("#done").textContent === "stopped"'
kill -CONT "$server"
holds 'document.querySelector("#error").hidden' 'document.querySelector("#error").textContent'

# ---- for everybody: a name on each control, a telephone's width, the dark ----
holds '[...document.querySelectorAll("input, textarea, button")].every((e) => (e.labels && e.labels.length) || e.ariaLabel || e.textContent.trim())' '"a control without a name"'
light=$(value 'getComputedStyle(document.body).backgroundColor')
call Emulation.setEmulatedMedia '{"features": [{"name": "prefers-color-scheme", "value": "dark"}]}'
[ "$(value 'getComputedStyle(document.body).backgroundColor')" != "$light" ] || fail 'it is not dark'
call Emulation.setDeviceMetricsOverride '{"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true}'
holds 'document.documentElement.scrollWidth <= 360' 'document.documentElement.scrollWidth'

# The browser loads nothing from elsewhere, and no script failed; answers that are errors are its own to mention.
grep -v '"source":"network"' "$dir/complaints" >"$dir/err" && fail 'the page complains'
: >"$dir/err"
holds 'performance.getEntriesByType("resource").every((e) => e.name.startsWith(location.origin))' 'JSON.stringify(performance.getEntriesByType("resource").map((e) => e.name))'
closes_browser
stops
exit $bad

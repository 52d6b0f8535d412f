# Sourced after common.sh: a browser without a window that is driven as a person would, over the pipe of its developer tools
# (https://chromedevtools.github.io/devtools-protocol/): one JSON object a message, a NUL behind each. What the page complains of
# stands in $dir/complaints.
# shellcheck shell=bash disable=SC2154 # variables of those who source it
browser='' session='' said='' number=0

# opens_browser WIDTH HEIGHT
opens_browser() {
    mkfifo "$dir/to" "$dir/from"
    exec 7<>"$dir/to" 8<>"$dir/from"
    : >"$dir/complaints"
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-extensions --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$dir/profile" --window-size="$1,$2" --remote-debugging-pipe \
        3<"$dir/to" 4>"$dir/from" 7>&- 8>&- >"$dir/browser" 2>&1 &
    browser=$!
    call Target.createTarget '{"url": "about:blank"}'
    call Target.attachToTarget "$(jq -c '{targetId: .result.targetId, flatten: true}' <<<"$said")"
    session=$(jq -r .result.sessionId <<<"$said")
    for domain in Page Runtime Log; do call $domain.enable '{}'; done
}

closes_browser() {
    [ -n "$browser" ] || return
    session='' call Browser.close '{}'
    wait "$browser"
    browser=''
}

# call METHOD PARAMETERS: $said is the answer.
call() {
    number=$((number + 1))
    jq -nj --arg method "$1" --argjson params "$2" --arg session "$session" --argjson id $number \
        '{id: $id, method: $method, params: $params} + if $session == "" then {} else {sessionId: $session} end' >&7
    printf '\0' >&7
    while IFS= read -r -d '' -t 300 said <&8; do
        case $said in
        "{\"id\":$number,"*) return ;;
        *'"Runtime.exceptionThrown"'* | *'"Log.entryAdded"'*'"level":"error"'*) printf '%s\n' "$said" >>"$dir/complaints" ;;
        esac
    done
    cp "$dir/browser" "$dir/err"
    fail "the browser does not answer to $1"
    exit 1
}

# value EXPRESSION: what it is in the page, as text.
value() {
    call Runtime.evaluate "$(jq -nc --arg e "$1" '{expression: $e, awaitPromise: true, returnByValue: true}')"
    jq -r 'if .result.exceptionDetails then "EXCEPTION: " + .result.exceptionDetails.exception.description else .result.result.value | if type == "string" then . else tojson end end' <<<"$said"
}
# holds EXPRESSION: it is true now. comes EXPRESSION: it becomes so.
is_so() { [ "$(value "!!($1)")" = true ]; }
holds() { [ "$(value "$1")" = true ] || fail "in the page this does not hold: $1: $(value "$2")"; }
comes() {
    await_from "$browser" is_so "$1" && return
    fail "in the page this does not come: $1; it says '$(value 'document.body.innerText')'"
}

# at SELECTOR: "x":.., "y":.. of its middle, in view.
at() { value "(() => { const e = document.querySelector('$1'); e.scrollIntoView({ block: 'center' }); const r = e.getClientRects()[0]; return JSON.stringify({ x: r.x + r.width / 2, y: r.y + r.height / 2 }); })()"; }
# points SELECTOR: with the mouse. clicks SELECTOR. keys KEY. types TEXT.
points() { call Input.dispatchMouseEvent "$(jq -c '. + {type: "mouseMoved"}' <<<"$(at "$1")")"; }
clicks() {
    local where
    where=$(at "$1")
    for type in mousePressed mouseReleased; do
        call Input.dispatchMouseEvent "$(jq -c --arg t $type '. + {type: $t, button: "left", clickCount: 1}' <<<"$where")"
    done
}
keys() {
    local code=0 text=''
    case $1 in Tab) code=9 ;; Enter) code=13 text=$'\r' ;; ArrowLeft) code=37 ;; ArrowRight) code=39 ;; esac
    for type in keyDown keyUp; do
        call Input.dispatchKeyEvent "$(jq -nc --arg t $type --arg k "$1" --argjson c $code --arg x "$text" --argjson m "${2:-0}" \
            '{type: $t, key: $k, code: $k, windowsVirtualKeyCode: $c, modifiers: $m} + if $x == "" or $t == "keyUp" then {} else {text: $x} end')"
    done
}
types() { call Input.insertText "$(jq -nc --arg t "$1" '{text: $t}')"; }
# writes SELECTOR TEXT: in place of what is there.
writes() {
    clicks "$1"
    value "document.querySelector('$1').select()" >/dev/null
    types "$2"
}

# picture FILE
picture() {
    call Page.captureScreenshot '{"format": "png"}'
    jq -r .result.data <<<"$said" | base64 -d >"$1"
}

#!/usr/bin/env bash
# What the documents name is there: links and headings, files, functions, options of commands and of scripts.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
files=$(mktemp)
trap 'rm -f "$files"' EXIT
find . \( -path ./build -o -path ./.git -o -name __pycache__ \) -prune -o -print | sed 's|^\./||' >"$files"
mapfile -t pages < <(grep '\.md$' "$files")
mapfile -t sources < <(grep -E '^(base|kernels|comm|proto|runtime|launch|tests)/.*\.(c|h|cc|cu|sh)$' "$files")
bad=0

# ---- links: the file is there, and the heading (as GitHub makes anchors of them) ----
awk '
    function slug(text) {
        sub(/^#+ +/, "", text)
        text = tolower(text)
        gsub(/[^a-z0-9 _-]/, "", text)
        gsub(/ /, "-", text)
        return text
    }
    function clean(path,    n, part, i, kept, m, out) {
        n = split(path, part, "/")
        for (i = 1; i <= n; i++) {
            if (part[i] == "..") m--
            else kept[++m] = part[i]
        }
        for (i = 1; i <= m; i++) out = out (i > 1 ? "/" : "") kept[i]
        return out
    }
    function say(what) { print FILENAME ":" FNR ": a link to " what ", which is not there"; bad = 1 }
    function follow(target,    path, anchor) {
        if (target ~ /^[a-z]+:/) return
        path = anchor = target
        sub(/#.*/, "", path)
        sub(/^[^#]*/, "", anchor)
        folder = FILENAME
        sub(/[^\/]*$/, "", folder)
        path = path == "" ? FILENAME : clean(folder path)
        sub(/\/$/, "", path)
        if (!(path in there)) say(path)
        else if (anchor != "" && path ~ /\.md$/ && !((path anchor) in heading)) say(path anchor)
    }
    stage == 0 { there[$0]; next }
    FNR == 1 { fenced = 0 }
    /^```/ { fenced = !fenced }
    fenced { next }
    stage == 1 && /^#+ / { heading[FILENAME "#" slug($0)] }
    stage == 2 {
        while (match($0, /\]\([^)]*\)/)) {
            target = substr($0, RSTART + 2, RLENGTH - 3)
            $0 = substr($0, RSTART + RLENGTH)
            follow(target)
        }
    }
    END { exit bad }' stage=0 "$files" stage=1 "${pages[@]}" stage=2 "${pages[@]}" || bad=1

# ---- paths from the root, and names of our kinds of files; * and capitals stand for anything ----
awk '
    function say(what) { print FILENAME ":" FNR ": " what ": no such file"; bad = 1 }
    function any(pattern,    path) {
        gsub(/\./, "\\.", pattern)
        gsub(/\*|NAME/, "[a-z0-9_-]*", pattern)
        for (path in there) if (path ~ "^" pattern "$") return 1
        return 0
    }
    stage == 0 { there[$0]; n = split($0, part, "/"); name[part[n]]; next }
    {
        while (match($0, /[A-Za-z0-9_.*\/-]*[A-Za-z0-9_*\/]/)) {
            word = substr($0, RSTART, RLENGTH)
            $0 = substr($0, RSTART + RLENGTH)
            sub(/\/$/, "", word)
            if (word ~ /^(base|kernels|comm|proto|runtime|launch|configs|models|tests|docs)\// && FILENAME ~ /\.md$/) {
                if (!(word in there) && !any(word)) say(word)
            } else if (word ~ /^docs\/[a-z0-9\/-]+\.md$/) {
                if (!(word in there)) say(word)
            } else if (FILENAME ~ /\.md$/ && word ~ /^[a-z0-9_]+\.(c|h|cc|sh|py|conf|proto|service|mjs|awk|sbatch)$/ && word != "mpi.h") {
                if (!(word in name)) say(word)
            }
        }
    }
    END { exit bad }' stage=0 "$files" stage=1 "${pages[@]}" "${sources[@]}" || bad=1

# ---- functions ----
grep -ohE '\bdgm_[a-z0-9_]+' "${pages[@]}" | sort -u >"$files.named"
grep -ohE '\bdgm_[a-z0-9_]+' "${sources[@]}" | sort -u | comm -23 "$files.named" - >"$files.lost"
sed 's/$/: named in a document, and in no source/' "$files.lost"
[ ! -s "$files.lost" ] || bad=1
rm -f "$files.named" "$files.lost"

# ---- codes and statuses of the protocol ----
while read -r name; do
    grep -q "^| .*\`$name\`" docs/protocol.md || {
        echo "docs/protocol.md: no row for $name of proto/dragoman.proto"
        bad=1
    }
done < <(sed -nE 's/^ +(ERROR|STATUS)_([A-Z_]+) = [1-9].*/\2/p' proto/dragoman.proto)

# ---- options: of the command that stands before them (docs/config.md says who takes which: a test compares it with the program),
# else of some command; letters behind a script are those that it reads. ----
grep -H '^while getopts ' tests/bench/*.sh | sed -E 's|^tests/bench/([a-z_]+\.sh):while getopts ([^ ]*) .*|\1 \2|' >"$files"
awk '
    function say(option, what) { print FILENAME ":" FNR ": " option " is no option of " what; bad = 1 }
    function table(    n, command, key, letter, i) { # a row of docs/config.md
        n = split($0, cell, " [|] ")
        key = cell[1]
        gsub(/^\| `--|`.*/, "", key)
        letter = match(cell[1], /`-[a-z]`/) ? substr(cell[1], RSTART + 1, 2) : "-"
        known["--" key]
        known["--no-" key]
        n = split(cell[2], command, ", ")
        for (i = 1; i <= n; i++) {
            is_command[command[i]]
            takes[command[i], "--" key]
            takes[command[i], letter]
        }
    }
    function words_of(text, command,    n, word, i, option) { # of a command line behind its command
        n = split(text, word, /[ \t]+/)
        for (i = 1; i <= n && word[i] !~ /^[|#;>&]/ && word[i] != "--"; i++) {
            option = word[i]
            sub(/[=.,;:)].*/, "", option)
            sub(/^--no-/, "--", option)
            if (option !~ /^-(-[a-z]|[a-zA-Z]$)/ || option == "--help") continue
            if (command in letters) {
                if (option !~ /^--/ && !index(letters[command], substr(option, 2))) say(option, command)
            } else if (!((command, option) in takes)) say(option, command)
        }
    }
    function line_of(text,    command) { # what may be a command line
        while (match(text, /dragoman(-mpirun( -+[a-z]+ [^ ]+)*( --)?)? [a-z-]+|[a-z_]+\.sh/)) {
            command = substr(text, RSTART, RLENGTH)
            text = substr(text, RSTART + RLENGTH)
            sub(/.* /, "", command)
            if (command in is_command || command in letters) words_of(text, command)
        }
    }
    stage == 0 { letters[$1] = $2; next }
    stage == 1 { if (/^\| `--/) table(); next }
    { while (sub(/\\$/, "") && (getline more) > 0) $0 = $0 more }
    /^    / { line_of($0); next }
    {
        while (match($0, /`[^`]+`/)) {
            span = substr($0, RSTART + 1, RLENGTH - 2)
            $0 = substr($0, RSTART + RLENGTH)
            split(span, word, " ")
            line_of(word[1] in is_command ? "dragoman " span : span)
            # what is not ours: Open MPI, Slurm, CMake, nvcc, scripts that make golden data; and examples of any option
            if (span ~ /^--[a-z][a-z-]+/ && match(span, /^--[a-z-]+/) && !(substr(span, 1, RLENGTH) in known) &&
                span !~ /^--(host|hostfile|mpi=pmix|fmad=false|models|batch-[*]|(no-)?key.*)$/) say(span, "any command")
        }
    }
    END { exit bad }' stage=0 "$files" stage=1 docs/config.md stage=2 "${pages[@]}" || bad=1
exit $bad

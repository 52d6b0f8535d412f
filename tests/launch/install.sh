#!/usr/bin/env bash
# `cmake --install` into a folder of one's own: program, launcher, model, configurations and documents are there, and work
# from there. usage: install.sh DRAGOMAN_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
build=$(cd "$(dirname "$1")" && pwd)
unset DGM_MODEL DGM_CONFIG DRAGOMAN

cmake --install "$build" --prefix "$dir/prefix" >"$dir/out" 2>"$dir/err" || fail "cmake --install: exit code $?"
mv "$dir/prefix" "$dir/moved" # a tree that was moved works too
at=$dir/moved/bin share=$dir/moved/share
cd "$dir" || exit 1
head -n 2 "$here/models/sample/pictures.eng_Latn.txt" >"$dir/in"
"$build/dragoman" translate -m "$here/models/multi30k-token" -s en -t de -i "$dir/in" >"$dir/want" 2>"$dir/err" || fail "the program of the build folder"

"$at/dragoman" translate -s en -t de -i "$dir/in" >"$dir/out" 2>"$dir/err" || fail "translate: exit code $?"
cmp -s "$dir/want" "$dir/out" || fail "translate: another text"
grep -q "demonstration model, $share/dragoman/models/multi30k-token" "$dir/err" || fail "not the model that was installed"
if command -v mpirun >/dev/null && [ "${DGM_COMM:-auto}" != local ]; then # as under sanitizers
    "$at/dragoman-mpirun" -n 2 translate -s en -t de -i "$dir/in" >"$dir/out" 2>"$dir/err" || fail "dragoman-mpirun: exit code $?"
    cmp -s "$dir/want" "$dir/out" || fail "dragoman-mpirun: another text"
    grep -q "$at/dragoman" "$dir/err" || fail "dragoman-mpirun: not the program beside it"
fi
"$at/dragoman" atlas "$here/tests/golden/experts/stats.json" -o atlas.html >"$dir/out" 2>"$dir/err" || fail "atlas: exit code $?"
grep -q 'plotly.js v' atlas.html || fail "atlas: a page without its library"
for conf in "$share"/dragoman/configs/*.conf; do
    case ${conf##*/} in serve-*) command=serve ;; *) command=translate ;; esac
    "$at/dragoman" $command --config "$conf" --print-config >"$dir/out" 2>"$dir/err" || fail "$conf: exit code $?"
    grep -q '# file$' "$dir/out" || fail "$conf: not used"
done
for file in ../lib/systemd/system/dragoman.service ../lib/systemd/system/dragoman.socket doc/dragoman/README.md doc/dragoman/LICENSE doc/dragoman/docs/exit-codes.md dragoman/models/sample/pictures.deu_Latn.txt \
    dragoman/web/page.html dragoman/slurm/translate.sbatch dragoman/grafana/dragoman.json; do
    [ -s "$share/$file" ] || fail "$file is not there"
done
exit $bad

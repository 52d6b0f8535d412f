#!/usr/bin/env bash
# A model that cannot be used: one sentence that names file and cause, nothing on standard output, exit code 3.
# usage: bad_model.sh DRAGOMAN_BINARY
# Every way to break a file has its unit test (tests/runtime); here is one of each kind, through the whole program.
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dragoman=$1
good=$here/models/multi30k-token
cases=0

# fresh: a copy of the good model in $dir/m, to be broken.
fresh() {
    rm -rf "$dir/m"
    mkdir "$dir/m"
    cp "$good"/* "$dir/m"
    chmod u+w "$dir"/m/*
}

# refused PATTERN [COMMAND OPTION...]: so is $dir/m.
refused() {
    local pattern=$1 got
    shift
    [ $# -gt 0 ] || set -- translate -s eng_Latn -t deu_Latn
    cases=$((cases + 1))
    echo "A dog." | timeout 240 "$dragoman" "$@" -m "$dir/m" >"$dir/out" 2>"$dir/err"
    got=$?
    if [ "$got" -ne 3 ]; then
        echo "$pattern: exit code $got, not 3"; bad=1
    elif [ -s "$dir/out" ]; then
        echo "$pattern: standard output is not empty"; bad=1
    elif [ "$(grep -c '^dragoman: ' "$dir/err")" -ne 1 ] || ! grep -Eq -- "$pattern" "$dir/err"; then
        echo "$pattern: not said in one sentence"; cat "$dir/err"; bad=1
    fi
}

# config SED_SCRIPT PATTERN: refused once config.json is edited so.
config() {
    fresh
    sed -i "$1" "$dir/m/config.json"
    cmp -s "$good/config.json" "$dir/m/config.json" && { echo "$1 changed nothing"; bad=1; }
    refused "$2"
}

fresh; rm "$dir/m/config.json"; refused 'config\.json: cannot open: No such file'
fresh; rm "$dir/m/model.safetensors"; refused 'wanted model\.safetensors, pytorch_model\.bin, or the index of shards of either, found none'
fresh; mv "$dir/m/model.safetensors" "$dir/m/pytorch_model.bin"; refused 'pytorch_model\.bin: wanted a zip archive'
fresh; rm "$dir/m/model.safetensors"; cp "$here/tests/golden/torch/call.bin" "$dir/m/pytorch_model.bin"
refused 'found the global posix system \(nothing was executed\)'
fresh; truncate -s 1000000 "$dir/m/model.safetensors"; refused '\(is the file truncated\?\)'
fresh; truncate -s 5 "$dir/m/model.safetensors"; refused 'wanted 8 bytes of header length, found 5'
fresh; printf '\0\0\0\0\0\0\0\200' | dd of="$dir/m/model.safetensors" conv=notrunc status=none
refused 'found a length of 9223372036854775808'
fresh; printf 'pickle' | dd of="$dir/m/model.safetensors" bs=1 seek=8 conv=notrunc status=none; refused 'wanted JSON'
fresh; sed -i '1s/"shape":\[6206,128\]/"shape":[6205,128]/' "$dir/m/model.safetensors"
refused 'shared\.weight: wanted [0-9]+ bytes for its shape and dtype'
fresh; sed -i '1s/"dtype":"BF16"/"dtype": "I16"/' "$dir/m/model.safetensors"; refused 'tensor [a-z._0-9]*: wanted F32, F16 or BF16, found I16'
fresh; echo '{"weight_map":{"x":"y"}}' >"$dir/m/model.safetensors.index.json"; rm "$dir/m/model.safetensors"
refused 'm/y: cannot open'
fresh; echo 'nope' >"$dir/m/generation_config.json"; refused 'generation_config\.json: wanted JSON'

config 's/"relu"/"gelu"/' 'activation_function: wanted relu, found gelu'
config 's/"d_model": 128/"d_model": 64/' 'shared\.weight: wanted shape \[6206, 64\], found \[6206, 128\]'
config 's/"num_experts": 32/"num_experts": 33/' 'router\.classifier\.weight: wanted shape \[33, 128\], found \[32, 128\]'
config 's/"num_experts": 32/"num_experts": 31/' 'router\.classifier\.weight: wanted shape \[31, 128\], found \[32, 128\]'
config 's/"encoder_layers": 4/"encoder_layers": 3/' 'wanted only tensors that config\.json describes'
config 's/"num_experts": 32/"num_experts": 1e9/' 'num_experts: wanted a whole number from 1 to 4096'
config 's/nllb-moe/t5/' 'model_type: wanted nllb-moe or m2m_100, found t5'
config 's/"batch_prioritized_routing": false/"batch_prioritized_routing": true/' '--dropless'
config 's/"second_expert_policy": "all"/"second_expert_policy": "random"/' 'second_expert_policy random makes'
config 's/"moe_eval_capacity_token_fraction": 1.0/"moe_eval_capacity_token_fraction": 0.25/' \
    'moe_eval_capacity_token_fraction 0\.25 makes'

# --dropless runs a batch-dependent configuration as if it were not.
echo "A dog." >"$dir/in"
"$dragoman" translate -m "$good" -s eng_Latn -t deu_Latn <"$dir/in" >"$dir/want" 2>/dev/null
"$dragoman" translate -m "$dir/m" -s eng_Latn -t deu_Latn --dropless <"$dir/in" >"$dir/out" 2>"$dir/err" ||
    { echo "--dropless: exit code $?"; cat "$dir/err"; bad=1; }
if [ ! -s "$dir/want" ] || ! cmp -s "$dir/want" "$dir/out"; then
    echo "--dropless: another translation"; bad=1
fi

echo "bad models: $cases cases"
exit "$bad"

#!/usr/bin/env bash
# The golden frames are what Google's protobuf makes of them.
set -eu
if ! command -v protoc >/dev/null || ! /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null; then
    echo "SKIP proto_golden: protoc or the protobuf package of Python is not installed"
    exit 77
fi
/usr/bin/python3 tests/proto/golden/make.py --check

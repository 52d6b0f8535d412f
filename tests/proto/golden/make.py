#!/usr/bin/env python3
"""Makes NAME.bin, the bytes of a frame, from each NAME.textproto, with Google's protobuf package as the reference.

usage: make.py [--check]     --check: writes nothing and says what would differ, exit 1

Needs protoc and the protobuf package of Python (Debian: protobuf-compiler, python3-protobuf)."""

import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"


def frame_class():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "set"
        subprocess.run(["protoc", f"--proto_path={PROTO}", f"--descriptor_set_out={path}", "dragoman.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    descriptor = pool.FindMessageTypeByName("dragoman.v1.Frame")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def main():
    check, frame, bad = sys.argv[1:] == ["--check"], frame_class(), 0
    for source in sorted(HERE.glob("*.textproto")):
        body = text_format.Parse(source.read_text(), frame()).SerializeToString(deterministic=True)
        want, path = len(body).to_bytes(4, "big") + body, source.with_suffix(".bin")
        if not check:
            path.write_bytes(want)
        elif not path.exists() or path.read_bytes() != want:
            print(f"{path.name}: not what protobuf makes of {source.name}")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())

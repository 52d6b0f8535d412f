// Messages of protobuf as plain objects, by a descriptor set as `protoc --include_imports --descriptor_set_out` makes it: as much of
// proto3 as dragoman.proto needs, on Node alone. Who has protobufjs (npm) can do with its Root and lookupType what is done here.
//
//   const { encode, decode, enums } = load(readFileSync("dragoman.desc"));
//   encode("dragoman.v1.Frame", { id: 1n, health_request: {} })   // a Buffer
//   decode("dragoman.v1.Frame", buffer)                           // { id: 1n, health: { state: 2, ... } }
//
// 64-bit numbers are BigInt, `bytes` are Buffers. What is absent has its default when it is decoded: 0, 0n, false, "", [], an empty
// Buffer; an absent message is not there. Fields that the descriptors do not know are skipped.

// Types of FieldDescriptorProto: how each is written (wire type), its default, and how it is put and got.
const TYPES = {
  1: { wire: 1, zero: 0, put: (v) => number(8, (b) => b.writeDoubleLE(v)), get: (r) => r.fixed(8).readDoubleLE() }, // double
  2: { wire: 5, zero: 0, put: (v) => number(4, (b) => b.writeFloatLE(v)), get: (r) => r.fixed(4).readFloatLE() }, // float
  4: { wire: 0, zero: 0n, put: varint, get: (r) => r.varint() }, // uint64
  5: { wire: 0, zero: 0, put: varint, get: (r) => Number(BigInt.asIntN(32, r.varint())) }, // int32
  6: { wire: 1, zero: 0n, put: (v) => number(8, (b) => b.writeBigUInt64LE(v)), get: (r) => r.fixed(8).readBigUInt64LE() }, // fixed64
  8: { wire: 0, zero: false, put: (v) => varint(v ? 1 : 0), get: (r) => r.varint() !== 0n }, // bool
  9: { wire: 2, zero: "", put: (v) => chunk(Buffer.from(v)), get: (r) => r.chunk().toString() }, // string
  11: { wire: 2, put: (v, field, types) => chunk(write(types, field.of, v)), get: (r, field, types) => read(types, field.of, r.chunk()) }, // message
  12: { wire: 2, zero: Buffer.alloc(0), put: (v) => chunk(Buffer.from(v)), get: (r) => r.chunk() }, // bytes
  13: { wire: 0, zero: 0, put: varint, get: (r) => Number(BigInt.asUintN(32, r.varint())) }, // uint32
  14: { wire: 0, zero: 0, put: varint, get: (r) => Number(BigInt.asIntN(32, r.varint())) }, // enum
};

function number(bytes, fill) {
  const b = Buffer.alloc(bytes);
  fill(b);
  return b;
}

function varint(value) {
  const bytes = [];
  let v = BigInt.asUintN(64, BigInt(value));
  for (; v > 127n; v >>= 7n) bytes.push(Number(v & 127n) | 128);
  bytes.push(Number(v));
  return Buffer.from(bytes);
}

function chunk(bytes) {
  return Buffer.concat([varint(bytes.length), bytes]);
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get more() {
    return this.at < this.bytes.length;
  }
  fixed(n) {
    if (this.at + n > this.bytes.length) throw new RangeError("a message that ends too early");
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const [byte] = this.fixed(1);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw new RangeError("a number of more than ten bytes");
  }
  chunk() {
    return this.fixed(Number(this.varint()));
  }
  skip(wire) {
    if (wire === 0) this.varint();
    else if (wire === 1) this.fixed(8);
    else if (wire === 2) this.chunk();
    else if (wire === 5) this.fixed(4);
    else throw new RangeError(`no message: wire type ${wire}`);
  }
}

function write(types, name, object) {
  const parts = [];
  for (const field of types.get(name).values()) {
    const value = object[field.name];
    if (value === undefined) continue;
    const { wire, put } = TYPES[field.type];
    const key = (w) => varint((field.number << 3) | w);
    if (field.repeated && wire !== 2) parts.push(key(2), chunk(Buffer.concat(value.map((v) => put(v))))); // packed
    else for (const v of field.repeated ? value : [value]) parts.push(key(wire), put(v, field, types));
  }
  return Buffer.concat(parts);
}

function read(types, name, bytes) {
  const fields = types.get(name), object = {}, r = new Reader(bytes);
  for (const field of fields.values()) {
    if (field.repeated) object[field.name] = [];
    else if (field.type !== 11) object[field.name] = TYPES[field.type].zero;
  }
  while (r.more) {
    const key = Number(r.varint()), field = fields.get(key >>> 3), wire = key & 7;
    const type = field && TYPES[field.type];
    if (type && wire === type.wire) {
      const value = type.get(r, field, types);
      if (field.repeated) object[field.name].push(value);
      else object[field.name] = value;
    } else if (type && wire === 2 && field.repeated) {
      for (const packed = new Reader(r.chunk()); packed.more; ) object[field.name].push(type.get(packed));
    } else {
      r.skip(wire);
    }
  }
  return object;
}

// The descriptors' own messages, as far as they are read here.
const field = (number, name, type, repeated = false, of = "") => [number, { number, name, type, repeated, of }];
const DESCRIPTORS = new Map([
  ["FileDescriptorSet", new Map([field(1, "file", 11, true, "FileDescriptorProto")])],
  ["FileDescriptorProto", new Map([field(2, "package", 9), field(4, "messages", 11, true, "DescriptorProto"), field(5, "enums", 11, true, "EnumDescriptorProto")])],
  ["DescriptorProto", new Map([field(1, "name", 9), field(2, "fields", 11, true, "FieldDescriptorProto")])],
  ["FieldDescriptorProto", new Map([field(1, "name", 9), field(3, "number", 5), field(4, "label", 14), field(5, "type", 14), field(6, "of", 9)])],
  ["EnumDescriptorProto", new Map([field(1, "name", 9), field(2, "values", 11, true, "EnumValueDescriptorProto")])],
  ["EnumValueDescriptorProto", new Map([field(1, "name", 9), field(2, "number", 5)])],
]);
const REPEATED = 3;

export function load(descriptorSet) {
  const types = new Map(), enums = {};
  for (const file of read(DESCRIPTORS, "FileDescriptorSet", descriptorSet).file) {
    for (const m of file.messages) {
      const fields = m.fields.map((f) => field(f.number, f.name, f.type, f.label === REPEATED, f.of.slice(1)));
      types.set(`${file.package}.${m.name}`, new Map(fields.sort((a, b) => a[0] - b[0])));
    }
    for (const e of file.enums) enums[e.name] = Object.fromEntries(e.values.map((v) => [v.name, v.number]));
  }
  return { encode: (name, object) => write(types, name, object), decode: (name, bytes) => read(types, name, bytes), enums };
}

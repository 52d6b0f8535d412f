#!/usr/bin/env node
// A worked example: a client of `dragoman serve` in Node, without any package. docs/protocol.md tells what is spoken.
//
//   node dragoman_client.mjs unix:PATH|tcp:HOST:PORT SRC TGT < in > out
//
// One line in, one line out, in order. $DRAGOMAN_TOKEN: what the server asks for; $DRAGOMAN_TLS_CA: TLS, with a server whose certificate is by one of
// those in this file (PEM); $DRAGOMAN_DEADLINE_MS: a line that takes longer is given up. Exit codes as of `dragoman`: 1 some lines have no translation,
// 2 refused, 6 the connection is lost and does not come again. A connection that was there and is lost is made again, with growing pauses, and what
// was not answered is sent again.
import { existsSync, readFileSync } from "node:fs";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { pathToFileURL } from "node:url";
import { load } from "./protobuf.mjs";

const MAX_BODY = 4 << 20, FRAME_SEGMENTS = 64, TRIES = 5;
const ATTEMPTS = 8; // to connect again: some ten seconds
const desc = ["./dragoman.desc", "../python/dragoman.desc"].map((p) => new URL(p, import.meta.url)).find((p) => existsSync(p));
const { encode, decode, enums } = load(readFileSync(desc));
const { Status, ErrorCode } = enums;
const WAITS = ["BUSY", "DRAINING", "NOT_READY", "CREDIT"].map((n) => ErrorCode["ERROR_" + n]); // not the segment's fault, however often

export class DragomanError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

export class Client {
  // Resolves when the server has said Welcome.
  static async connect(address, { token = "", ca } = {}) {
    const client = new Client(address, token, ca);
    await client.#greeted;
    return client;
  }

  #address; #to; #token; #ca; #socket; #greeted; #greet; #failed;
  #attempts = 0; // in a row that failed
  #pause; // before the next
  #answered = false; // something, on this connection
  #parting; // why the server ends this connection: it reads nothing more there
  #received = Buffer.alloc(0);
  #waiting = []; // items: { segment, resolve, reject, tries }
  #sent = new Map(); // id of a request -> its items, by place; undefined where answered
  #credits = 0;
  #id = 0n;
  #pausedUntil = 0;

  constructor(address, token, ca) {
    const [, kind, rest] = /^(unix|tcp):(.+)$/.exec(address) ?? [];
    const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(rest ?? "") ?? [];
    if (!rest || (kind === "tcp" && !port)) throw new DragomanError(`want unix:PATH or tcp:HOST:PORT, found '${address}'`, 2);
    this.#to = kind === "unix" ? { path: rest } : { host, port: Number(port), noDelay: true };
    if (ca && kind === "tcp") this.#ca = { ca, servername: net.isIP(host) ? "" : host };
    this.#address = address;
    this.#token = token;
    this.#greeted = new Promise((resolve, reject) => (this.#greet = { resolve, reject }));
    this.#open();
  }

  #open() {
    const socket = this.#ca ? tls.connect({ ...this.#to, ...this.#ca }) : net.connect(this.#to);
    const lost = (what, exitCode) => this.#socket === socket && this.#lost(this.#parting ?? new DragomanError(`${this.#address}: ${what}`, exitCode));
    this.#socket = socket;
    this.#parting = undefined;
    this.#received = Buffer.alloc(0);
    socket.on("data", (bytes) => this.#socket === socket && this.#receive(bytes));
    socket.on("error", (e) => lost(e.message, e.exitCode ?? (e.syscall || e.code === "ECONNRESET" ? 6 : 2))); // 2: TLS's
    socket.on("close", () => lost("the server closed the connection", 6));
    this.#send({ hello: { version: 1, token: this.#token, client: "dragoman_client.mjs" } });
  }

  // A Segment: { text (a Buffer or string), src, tgt, options, ... }. Resolves to its Answer when that comes, in whatever order they do; what
  // there are no credits for waits here.
  translate(segment) {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed);
      this.#waiting.push({ segment, resolve, reject, tries: 0 });
      if (!this.#socket && !this.#pause) this.#open();
      else if (this.#waiting.length === 1) setImmediate(() => this.#pump()); // what is asked in one breath shares frames
    });
  }

  close() {
    this.#failed ??= new DragomanError("closed", 6);
    this.#socket?.end();
  }

  // ---- out ----

  #send(frame) {
    const body = encode("dragoman.v1.Frame", frame), head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    this.#socket.write(Buffer.concat([head, body]));
  }

  // As many segments as there are credits, some in each request: so several requests are in flight.
  #pump() {
    if (this.#waiting.length === 0) return;
    const pause = this.#pausedUntil - Date.now();
    if (pause > 0) return void setTimeout(() => this.#pump(), pause);
    const most = Math.min(this.welcome.limits.request_segments || FRAME_SEGMENTS, FRAME_SEGMENTS);
    while (this.#waiting.length > 0 && this.#credits > 0 && this.#socket && !this.#parting && !this.#failed) {
      const items = [];
      for (let bytes = 0; items.length < Math.min(most, this.#credits) && this.#waiting.length > 0 && bytes < MAX_BODY / 16; bytes += items.at(-1).segment.text.length)
        items.push(this.#waiting.shift());
      this.#credits -= items.length;
      this.#sent.set(++this.#id, items);
      this.#send({ id: this.#id, translate: { segments: items.map((i) => i.segment) } });
    }
  }

  // ---- in ----

  #receive(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    let at = 0;
    for (; this.#received.length >= at + 4; ) {
      const n = this.#received.readUInt32BE(at);
      if (n > MAX_BODY) return void this.#socket.destroy(new DragomanError(`a frame has at most ${MAX_BODY} bytes, this one says ${n}`, 6));
      if (this.#received.length < at + 4 + n) break;
      this.#take(decode("dragoman.v1.Frame", this.#received.subarray(at + 4, at + 4 + n)));
      at += 4 + n;
    }
    this.#received = this.#received.subarray(at);
    if (this.welcome) this.#pump();
  }

  #take({ id, welcome, answer, error, credit }) {
    if (welcome) {
      const { model_hash, option_hash } = (this.welcome ??= welcome);
      if (model_hash !== welcome.model_hash || option_hash !== welcome.option_hash)
        return this.#fail(new DragomanError("the server came back with another model or other options: its answers would not go with those before", 2));
      this.#credits = welcome.credits;
      this.#attempts = 0;
      this.#greet.resolve();
    } else if (credit) {
      this.#credits += credit.credits;
    } else if (answer) {
      this.#credits += answer.credits;
      const items = this.#sent.get(id), item = items?.[answer.segment];
      if (!item) return;
      items[answer.segment] = undefined;
      this.#answered = true;
      if (answer.last) this.#sent.delete(id);
      const failed = answer.status === Status.STATUS_FAILED && answer.retry;
      if (!failed || !this.#again([item], answer)) item.resolve(answer);
    } else if (error) {
      this.#credits += error.credits;
      const why = new DragomanError(`the server says: ${error.message}`, error.retry ? 8 : 2);
      if (id === 0n) { // about the connection; otherwise it ends what is left of a request. What was asked before may still be answered
        if (!error.closing) return this.#lost(why);
        this.#parting ??= why;
        return;
      }
      const items = (this.#sent.get(id) ?? []).filter((i) => i);
      this.#sent.delete(id);
      if (!error.retry || !this.#again(items, error)) items.forEach((i) => i.reject(why));
    } // Health with id 0 is news, and what this client does not know does no harm
  }

  // The same again, after the time that the server names.
  #again(items, { code, retry_after_ms }) {
    if (!WAITS.includes(code)) items.forEach((i) => i.tries++);
    if (items.some((i) => i.tries >= TRIES)) return false;
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + (retry_after_ms || 50));
    this.#waiting.unshift(...items);
    return true;
  }

  // What was not answered waits again, but for what ended each connection that it was sent on, and another connection is made where somebody waits.
  #lost(error) {
    this.#socket.destroy();
    this.#socket = undefined;
    this.#credits = 0;
    this.#id = 0n;
    if (this.#failed) return;
    if (error.exitCode === 2 || !this.welcome || this.#attempts >= ATTEMPTS) return this.#fail(error);
    const items = [...this.#sent.values()].flat().filter((i) => i);
    this.#sent.clear();
    if (!this.#answered) items.forEach((i) => ++i.tries >= TRIES && i.reject(error));
    this.#answered = false;
    this.#waiting.unshift(...items.filter((i) => i.tries < TRIES));
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (this.#waiting.length > 0 && !this.#failed) this.#open();
    }, 100 * 2 ** this.#attempts++ * (0.5 + Math.random() / 2));
  }

  #fail(error) {
    if (this.#failed) return;
    this.#failed = error;
    this.#socket?.destroy();
    this.#greet.reject(error);
    for (const item of [...this.#waiting, ...[...this.#sent.values()].flat()]) item?.reject(error);
  }
}

// ---- the filter ----

// Lines as bytes: one that is not UTF-8 is the server's to flag.
async function* lines(stream) {
  let rest = Buffer.alloc(0);
  for await (const bytes of stream) {
    rest = Buffer.concat([rest, bytes]);
    let at = 0;
    for (let end; (end = rest.indexOf(10, at)) >= 0; at = end + 1) yield rest.subarray(at, end);
    rest = rest.subarray(at);
  }
  if (rest.length > 0) yield rest;
}

function die(error) {
  process.stderr.write(`dragoman_client.mjs: ${error.message}\n`);
  process.exit(error.exitCode ?? 7);
}

async function main([address, src, tgt, ...more]) {
  if (!tgt || more.length > 0) throw new DragomanError("usage: dragoman_client.mjs unix:PATH|tcp:HOST:PORT SRC TGT < in > out", 2);
  const ca = process.env.DRAGOMAN_TLS_CA, deadline_ms = Number(process.env.DRAGOMAN_DEADLINE_MS ?? 0);
  const client = await Client.connect(address, { token: process.env.DRAGOMAN_TOKEN, ca: ca && readFileSync(ca) });
  const good = ["OK", "EMPTY", "SPLIT", "COPIED", "LOOPED", "WRONG_SCRIPT"].map((n) => Status["STATUS_" + n]);
  const window = 2 * client.welcome.credits; // lines that wait here, so that memory is bounded and credits are spent
  let number = 0, open = 0, flagged = 0, wake = () => {}, written = Promise.resolve();
  const put = async (n, answer) => {
    if (!good.includes(answer.status)) {
      flagged++;
      const status = Object.keys(Status).find((k) => Status[k] === answer.status) ?? "unknown";
      process.stderr.write(`line ${n}: ${status.slice("STATUS_".length).toLowerCase()} ${answer.message}\n`);
    }
    if (!process.stdout.write(`${answer.hypotheses[0]?.text ?? ""}\n`)) await once(process.stdout, "drain");
    open--;
    wake();
  };
  for await (const line of lines(process.stdin)) {
    while (open >= window) await new Promise((resolve) => (wake = resolve));
    const n = ++number;
    open++;
    const answer = client.translate({ text: line, src, tgt, number: n, options: { deadline_ms } });
    answer.catch(() => {}); // it is told in its turn, behind the lines before it
    written = written.then(async () => put(n, await answer));
    written.catch(die);
  }
  await written;
  client.close();
  process.exitCode = flagged > 0 ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) main(process.argv.slice(2)).catch(die);

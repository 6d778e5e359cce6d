// Say a line from JavaScript: npm install && node plain_javascript.mjs "hello"
import { decode, encode } from "@msgpack/msgpack";
import { Dealer } from "zeromq";

const { KOED_RUNTIME_DIR, XDG_RUNTIME_DIR } = process.env;
const socket = new Dealer({ linger: 0, receiveTimeout: 5000 });
socket.connect(`ipc://${KOED_RUNTIME_DIR || `${XDG_RUNTIME_DIR}/koed`}/control`);
await socket.send(encode({ op: "say", id: 1, text: process.argv[2] }));
const [reply] = await socket.receive();
console.log(JSON.stringify(decode(reply)));
socket.close();
